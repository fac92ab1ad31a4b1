package node

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestCIDRSetAllocatesEverySubnetOnce(t *testing.T) {
	for _, tc := range []struct {
		cluster     string
		mask        int
		count       int
		first, last string
	}{
		{"10.42.0.0/16", 24, 256, "10.42.0.0/24", "10.42.255.0/24"},
		{"10.42.0.0/24", 24, 1, "10.42.0.0/24", "10.42.0.0/24"},
		{"10.0.0.0/8", 24, 65536, "10.0.0.0/24", "10.255.255.0/24"},
		{"192.168.4.0/22", 25, 8, "192.168.4.0/25", "192.168.7.128/25"},
		{"fd00:42::/48", 64, 65536, "fd00:42::/64", "fd00:42:0:ffff::/64"},
		{"fd00:42::/56", 59, 8, "fd00:42::/59", "fd00:42:0:e0::/59"},
	} {
		t.Run(fmt.Sprintf("%s into /%d", tc.cluster, tc.mask), func(t *testing.T) {
			s, err := newCIDRSet(netip.MustParsePrefix(tc.cluster), tc.mask)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[netip.Prefix]bool{}
			var all []netip.Prefix
			for {
				p, err := s.allocate()
				if err != nil {
					break
				}
				if seen[p] || !s.cluster.Contains(p.Addr()) || p.Bits() != tc.mask {
					t.Fatalf("allocated %s after %d others: seen before, outside or of wrong length", p, len(all))
				}
				seen[p] = true
				all = append(all, p)
			}
			if len(all) != tc.count || all[0].String() != tc.first || all[len(all)-1].String() != tc.last {
				t.Fatalf("got %d subnets from %s to %s, want %d from %s to %s", len(all), all[0], all[len(all)-1], tc.count, tc.first, tc.last)
			}
			mid := all[len(all)/2]
			if err := s.release(mid); err != nil {
				t.Fatal(err)
			}
			if p, err := s.allocate(); err != nil || p != mid {
				t.Fatalf("after releasing %s allocated %v, %v", mid, p, err)
			}
		})
	}
}

func TestCIDRSetReusesLate(t *testing.T) {
	s, err := newCIDRSet(netip.MustParsePrefix("10.0.0.0/22"), 24)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := s.allocate()
	if err := s.release(a); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 4 {
		p, err := s.allocate()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.String())
	}
	want := []string{"10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24", "10.0.0.0/24"}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

func TestCIDRSetOccupiesAndReleasesSpans(t *testing.T) {
	s, err := newCIDRSet(netip.MustParsePrefix("10.0.0.0/20"), 24)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		do   func(netip.Prefix) error
		cidr string
		used int
		fail bool
	}{
		{s.occupy, "10.0.0.0/24", 1, false},
		{s.occupy, "10.0.0.0/24", 1, false},   // twice
		{s.occupy, "10.0.1.128/25", 2, false}, // smaller than a subnet takes it whole
		{s.occupy, "10.0.4.0/22", 6, false},   // larger takes four
		{s.occupy, "10.0.16.0/24", 6, true},   // outside
		{s.occupy, "fd00::/64", 6, true},      // wrong family
		{s.release, "10.0.1.0/24", 5, false},
		{s.release, "10.0.1.0/24", 5, false},
		{s.release, "192.168.0.0/24", 5, true},
		{s.occupy, "10.0.0.0/8", 16, false}, // all of it
		{s.release, "10.0.0.0/20", 0, false},
	}
	for i, st := range steps {
		if err := st.do(netip.MustParsePrefix(st.cidr)); (err != nil) != st.fail || s.used != st.used {
			t.Fatalf("step %d (%s): err %v, used %d, want %d", i, st.cidr, err, s.used, st.used)
		}
	}
}

func TestNewIPAMRefuses(t *testing.T) {
	for _, tc := range []struct {
		cidrs []netip.Prefix
		masks []int
		want  string
	}{
		{nil, nil, "no cluster CIDR"},
		{prefixes("10.0.0.0/16", "10.1.0.0/16"), nil, "one of each IP family"},
		{prefixes("10.0.0.0/16"), []int{24, 64}, "at most one each"},
		{prefixes("10.0.0.0/25"), nil, "use a value from 25 to 32"},
		{prefixes("10.0.0.0/8"), []int{28}, "use a value up to 24"},
		{prefixes("10.0.0.0/16"), []int{33}, "use a value from 16 to 32"},
		{[]netip.Prefix{{}}, nil, "not a valid prefix"},
	} {
		if _, err := NewIPAM(nil, tc.cidrs, tc.masks...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("NewIPAM(%v, %v) = %v, want an error with %q", tc.cidrs, tc.masks, err, tc.want)
		}
	}
}

func newNode(name string, cidrs ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if len(cidrs) > 0 {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = cidrs[0], cidrs
	}
	return n
}

func reconcile(t *testing.T, r *IPAM, name string) error {
	t.Helper()
	_, err := r.Reconcile(context.Background(), ctrl.Request{NamespacedName: types.NamespacedName{Name: name}})
	return err
}

func TestIPAMAdoptsAllocatesAndReleases(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(
		newNode("new1"), newNode("new2"), newNode("new3"),
		newNode("old", "10.0.0.0/24", "fd00::/64"), newNode("foreign", "172.16.0.0/24"),
	).Build()
	r, err := NewIPAM(c, prefixes("10.0.0.0/22", "fd00::/56"))
	if err != nil {
		t.Fatal(err)
	}
	recorder := events.NewFakeRecorder(10)
	r.recorder = recorder
	ctx := context.Background()
	cidrs := func(name string) []string {
		var n corev1.Node
		if err := c.Get(ctx, client.ObjectKey{Name: name}, &n); err != nil {
			t.Fatal(err)
		}
		if len(n.Spec.PodCIDRs) > 0 && n.Spec.PodCIDR != n.Spec.PodCIDRs[0] {
			t.Fatalf("node %s: podCIDR %q is not the first of %v", name, n.Spec.PodCIDR, n.Spec.PodCIDRs)
		}
		return n.Spec.PodCIDRs
	}
	for _, n := range []string{"new1", "old", "foreign", "new2", "new3", "new1"} {
		if err := reconcile(t, r, n); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]string{}
	for _, n := range []string{"old", "foreign", "new1", "new2", "new3"} {
		got[n] = cidrs(n)
	}
	want := map[string][]string{
		"old":     {"10.0.0.0/24", "fd00::/64"},
		"foreign": {"172.16.0.0/24"},
		"new1":    {"10.0.1.0/24", "fd00:0:0:1::/64"},
		"new2":    {"10.0.2.0/24", "fd00:0:0:2::/64"},
		"new3":    {"10.0.3.0/24", "fd00:0:0:3::/64"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}

	// The cluster CIDR is full now: an event, an error that asks again.
	if err := c.Create(ctx, newNode("late")); err != nil {
		t.Fatal(err)
	}
	if err := reconcile(t, r, "late"); err == nil || !strings.Contains(err.Error(), "--cluster-cidr") {
		t.Fatalf("allocation in a full cluster CIDR: %v", err)
	}
	if e := <-recorder.Events; e != "Normal CIDRNotAvailable Node late status is now: CIDRNotAvailable" {
		t.Fatalf("event %q", e)
	}
	// Nothing of the other family leaked by the failed try.
	if used := r.pools.sets[1].used; used != 4 {
		t.Fatalf("%d IPv6 subnets are taken, want 4", used)
	}

	if err := c.Delete(ctx, newNode("old")); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"old", "late"} {
		if err := reconcile(t, r, n); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"10.0.0.0/24", "fd00:0:0:4::/64"}, cidrs("late")); d != "" {
		t.Fatal(d)
	}
}

// A write whose outcome is unknown must not lead to a second subnet.
func TestIPAMRepeatsTheSameAllocation(t *testing.T) {
	fail := true
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(newNode("a"), newNode("b")).
		WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, opts ...client.PatchOption) error {
				if fail {
					return apierrors.NewTimeoutError("slow", 1)
				}
				return c.Patch(ctx, obj, p, opts...)
			},
		}).Build()
	r, err := NewIPAM(c, prefixes("10.0.0.0/16"), 26)
	if err != nil {
		t.Fatal(err)
	}
	if err := reconcile(t, r, "a"); !apierrors.IsTimeout(err) {
		t.Fatalf("want the timeout, got %v", err)
	}
	fail = false
	for _, n := range []string{"b", "a"} {
		if err := reconcile(t, r, n); err != nil {
			t.Fatal(err)
		}
	}
	var a, b corev1.Node
	if err := c.Get(context.Background(), client.ObjectKey{Name: "a"}, &a); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(context.Background(), client.ObjectKey{Name: "b"}, &b); err != nil {
		t.Fatal(err)
	}
	if a.Spec.PodCIDR != "10.0.0.0/26" || b.Spec.PodCIDR != "10.0.0.64/26" {
		t.Fatalf("a has %s, b has %s", a.Spec.PodCIDR, b.Spec.PodCIDR)
	}
}
