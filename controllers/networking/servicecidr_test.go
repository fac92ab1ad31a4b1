package networking

import (
	"context"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	networkingv1apply "k8s.io/client-go/applyconfigurations/networking/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control/controltest"
)

func cidr(name string, ranges ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: ranges}}
}

func address(ip string) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: ip, Labels: map[string]string{networkingv1.LabelManagedBy: allocatorLabel}}}
}

func TestNeeded(t *testing.T) {
	c := cidr("c", "10.0.0.0/24", "fd00::/112")
	for name, tc := range map[string]struct {
		others    []*networkingv1.ServiceCIDR
		addresses []string
		want      bool
	}{
		"no address":               {},
		"an address":               {addresses: []string{"10.0.0.5"}, want: true},
		"of the second family":     {addresses: []string{"fd00::5"}, want: true},
		"elsewhere":                {addresses: []string{"10.1.0.5", "fd01::5"}},
		"network and broadcast":    {addresses: []string{"10.0.0.0", "10.0.0.255", "fd00::"}},
		"last of IPv6":             {addresses: []string{"fd00::ffff"}, want: true},
		"the same twice":           {others: []*networkingv1.ServiceCIDR{cidr("d", "10.0.0.0/24")}, addresses: []string{"10.0.0.5"}},
		"a larger one":             {others: []*networkingv1.ServiceCIDR{cidr("d", "10.0.0.0/16")}, addresses: []string{"10.0.0.5"}},
		"in a smaller one":         {others: []*networkingv1.ServiceCIDR{cidr("d", "10.0.0.0/28")}, addresses: []string{"10.0.0.5"}},
		"not in the smaller one":   {others: []*networkingv1.ServiceCIDR{cidr("d", "10.0.0.0/28")}, addresses: []string{"10.0.0.5", "10.0.0.50"}, want: true},
		"broadcast of the smaller": {others: []*networkingv1.ServiceCIDR{cidr("d", "10.0.0.0/28")}, addresses: []string{"10.0.0.15"}, want: true},
		"one family only":          {others: []*networkingv1.ServiceCIDR{cidr("d", "10.0.0.0/16")}, addresses: []string{"10.0.0.5", "fd00::5"}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			var list []networkingv1.IPAddress
			for _, ip := range tc.addresses {
				list = append(list, *address(ip))
			}
			if got := needed(c, append(tc.others, c), list); got != tc.want {
				t.Errorf("needed: %v", got)
			}
		})
	}
}

func TestServiceCIDRLife(t *testing.T) {
	w := controltest.New(t)
	apply := func(ctx context.Context, c *networkingv1apply.ServiceCIDRApplyConfiguration, o metav1.ApplyOptions) (*networkingv1.ServiceCIDR, error) {
		return nil, w.Client.Status().Apply(ctx, c, client.FieldOwner(o.FieldManager), client.ForceOwnership)
	}
	r := &ServiceCIDR{Client: w.Client, Recorder: w.Recorder(), Clock: w.Clock, ApplyStatus: apply}
	w.Watch(&networkingv1.ServiceCIDR{}, r.CIDREvents())
	w.Watch(&networkingv1.IPAddress{}, r.AddressEvents())
	condition := func() string {
		c := controltest.Get(w, "", "c", &networkingv1.ServiceCIDR{})
		ready := meta.FindStatusCondition(c.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
		if ready == nil {
			return strings.Join(c.Finalizers, " ")
		}
		return strings.TrimSpace(strings.Join(c.Finalizers, " ") + " " + string(ready.Status) + " " + ready.Reason + " " + ready.Message)
	}
	create := func(obj client.Object) {
		w.Do(func() {
			if err := w.Client.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
		})
	}
	c := cidr("c", "10.0.0.0/24")
	create(c)
	create(address("10.0.0.5"))
	w.Run(r)
	if got, want := condition(), "networking.k8s.io/service-cidr-finalizer True  Kubernetes Service CIDR is ready"; got != want {
		t.Errorf("created: %s, want %s", got, want)
	}
	w.Delete(c)
	w.Run(r)
	if got, want := condition(), "networking.k8s.io/service-cidr-finalizer False Terminating There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"; got != want {
		t.Errorf("being deleted: %s, want %s", got, want)
	}
	// Another range for the address frees it, when the allocators have seen that it goes.
	create(cidr("larger", "10.0.0.0/16"))
	deleted := controltest.Get(w, "", "c", &networkingv1.ServiceCIDR{}).DeletionTimestamp.Time // of the real clock
	r.Clock = clocktesting.NewFakePassiveClock(deleted.Add(5 * time.Second))
	w.Run(r)
	gone := func() bool {
		return client.IgnoreNotFound(w.Client.Get(t.Context(), client.ObjectKeyFromObject(c), &networkingv1.ServiceCIDR{})) == nil &&
			w.Client.Get(t.Context(), client.ObjectKeyFromObject(c), &networkingv1.ServiceCIDR{}) != nil
	}
	if gone() {
		t.Error("deleted without a delay")
	}
	r.Clock = clocktesting.NewFakePassiveClock(deleted.Add(10 * time.Second))
	w.Advance(5 * time.Second)
	w.Run(r)
	if !gone() {
		t.Errorf("still there: %s", condition())
	}
}
