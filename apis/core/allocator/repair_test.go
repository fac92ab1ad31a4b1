package allocator_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/net"
	networkingv1apply "k8s.io/client-go/applyconfigurations/networking/v1"
	networkingv1client "k8s.io/client-go/kubernetes/typed/networking/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	"proa/apis/core/allocator"
	"proa/apis/core/allocator/allocatortest"
)

var now = time.Unix(1_000_000, 0)

func service(name string, ips ...string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}}
	s.Spec.Type, s.Spec.ClusterIPs = corev1.ServiceTypeClusterIP, ips
	if len(ips) > 0 {
		s.Spec.ClusterIP = ips[0]
	}
	return s
}

func record(ip, name string, age time.Duration) *networkingv1.IPAddress {
	r := allocator.NewIPAddress(netip.MustParseAddr(ip), service(name))
	r.CreationTimestamp = metav1.NewTime(now.Add(-age))
	return r
}

func TestRepairAddresses(t *testing.T) {
	foreign := record("10.0.0.5", "a", time.Hour)
	foreign.Spec.ParentRef = &networkingv1.ParentReference{Group: "gateway.networking.k8s.io", Resource: "gateways", Namespace: "ns", Name: "g"}
	others := foreign.DeepCopy()
	others.Labels = nil
	unlabelled := record("10.0.0.5", "a", time.Hour)
	delete(unlabelled.Labels, networkingv1.LabelIPAddressFamily)
	named := service("a")
	named.Spec.Type = corev1.ServiceTypeExternalName
	young := service("a", "10.0.0.9")
	young.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute))

	for name, c := range map[string]struct {
		services []*corev1.Service
		records  []*networkingv1.IPAddress
		events   []string
		writes   []string
	}{
		"in order":               {services: []*corev1.Service{service("a", "10.0.0.5", "fd00::5")}, records: []*networkingv1.IPAddress{record("10.0.0.5", "a", 0), record("fd00::5", "a", 0)}},
		"headless and by name":   {services: []*corev1.Service{service("a", "None"), named}},
		"no record":              {services: []*corev1.Service{service("a", "10.0.0.5")}, events: []string{"Warning ClusterIPNotAllocated Cluster IP [IPv4]: 10.0.0.5 is not allocated; repairing"}, writes: []string{"create 10.0.0.5 ns/a"}},
		"leading zeros":          {services: []*corev1.Service{service("a", "010.000.000.005")}, records: []*networkingv1.IPAddress{record("10.0.0.5", "a", 0)}},
		"out of range":           {services: []*corev1.Service{service("a", "10.1.0.5")}, events: []string{"Warning ClusterIPOutOfRange Cluster IP [IPv4]: 10.1.0.5 is not within any configured Service CIDR; please recreate service"}},
		"no address":             {services: []*corev1.Service{service("a", "what")}, events: []string{"Warning ClusterIPNotValid Cluster IP what is not a valid IP; please recreate Service"}},
		"of a gateway":           {services: []*corev1.Service{service("a", "10.0.0.5")}, records: []*networkingv1.IPAddress{others}, events: []string{"Warning ClusterIPNotAllocated the ClusterIP [IPv4]: 10.0.0.5 for Service ns/a has a wrong reference; repairing"}, writes: []string{"delete 10.0.0.5", "create 10.0.0.5 ns/a"}},
		"of a service that left": {services: []*corev1.Service{service("a", "10.0.0.5")}, records: []*networkingv1.IPAddress{record("10.0.0.5", "gone", 0)}, events: []string{"Warning ClusterIPNotAllocated the ClusterIP [IPv4]: 10.0.0.5 for Service ns/a has a wrong reference; repairing"}, writes: []string{"delete 10.0.0.5", "create 10.0.0.5 ns/a"}},
		"two services":           {services: []*corev1.Service{service("a", "10.0.0.5"), service("b", "10.0.0.5")}, records: []*networkingv1.IPAddress{record("10.0.0.5", "a", 0)}, events: []string{"Warning ClusterIPAlreadyAllocated Cluster IP [IPv4]:10.0.0.5 was assigned to multiple services; please recreate service"}},
		"label missing":          {services: []*corev1.Service{service("a", "10.0.0.5")}, records: []*networkingv1.IPAddress{unlabelled}, writes: []string{"delete 10.0.0.5", "create 10.0.0.5 ns/a"}},
		"leaked":                 {records: []*networkingv1.IPAddress{record("10.0.0.5", "a", 61*time.Second)}, events: []string{"Warning IPAddressNotAllocated IPAddress: 10.0.0.5 for Service ns/a appears to have leaked: cleaning up"}, writes: []string{"delete 10.0.0.5"}},
		"service to come":        {records: []*networkingv1.IPAddress{record("10.0.0.5", "a", 59*time.Second)}},
		"not ours":               {records: []*networkingv1.IPAddress{others}},
		"not of a service":       {records: []*networkingv1.IPAddress{foreign}, events: []string{"Warning IPAddressNotAllocated IPAddress 10.0.0.5 appears to have been modified, not referencing a Service &ParentReference{Group:gateway.networking.k8s.io,Resource:gateways,Namespace:ns,Name:g,}: cleaning up"}, writes: []string{"delete 10.0.0.5"}},
		"wrong address":          {services: []*corev1.Service{service("a", "10.0.0.9")}, records: []*networkingv1.IPAddress{record("10.0.0.9", "a", 0), record("10.0.0.5", "a", time.Minute)}, events: []string{"Warning IPAddressWrongReference IPAddress: 10.0.0.5 for Service ns/a has a wrong reference; cleaning up"}, writes: []string{"delete 10.0.0.5"}},
		"being added":            {services: []*corev1.Service{young}, records: []*networkingv1.IPAddress{record("10.0.0.9", "a", 0), record("10.0.0.5", "a", 4*time.Second)}},
		"being given a type":     {services: []*corev1.Service{named}, records: []*networkingv1.IPAddress{record("10.0.0.5", "a", 30*time.Second)}},
		"type never given":       {services: []*corev1.Service{named}, records: []*networkingv1.IPAddress{record("10.0.0.5", "a", 61*time.Second)}, events: []string{"Warning IPAddressWrongReference IPAddress: 10.0.0.5 for Service ns/a has a wrong reference; cleaning up"}, writes: []string{"delete 10.0.0.5"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := allocatortest.New("10.0.0.0/24", "fd00::/112")
			for _, s := range c.services {
				w.Svcs[s.Namespace+"/"+s.Name] = s
			}
			for _, r := range c.records {
				w.IPs[r.Name] = r
			}
			recorder := events.NewFakeRecorder(10)
			r := &allocator.Repair{Source: w, Writer: w, Ports: &allocatortest.Ports{}, IPEvents: recorder, Clock: clocktesting.NewFakeClock(now)}
			if err := r.Once(context.Background()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for len(recorder.Events) > 0 {
				got = append(got, <-recorder.Events)
			}
			if !slices.Equal(got, c.events) {
				t.Errorf("events\n %s, want\n %s", strings.Join(got, "\n "), strings.Join(c.events, "\n "))
			}
			if !slices.Equal(w.Log, c.writes) {
				t.Errorf("writes %v, want %v", w.Log, c.writes)
			}
		})
	}
}

// What only the cache does not show yet is no defect.
func TestRepairTrustsEtcd(t *testing.T) {
	w := allocatortest.New("10.0.0.0/24")
	w.Svcs["ns/a"], w.IPs["10.0.0.5"] = service("a", "10.0.0.5"), record("10.0.0.5", "a", 0)
	w.Stale = func(string) bool { return true }
	recorder := events.NewFakeRecorder(10)
	r := &allocator.Repair{Source: w, Writer: w, Ports: &allocatortest.Ports{}, IPEvents: recorder, Clock: clocktesting.NewFakeClock(now)}
	if err := r.Once(context.Background()); err != nil || len(w.Log) > 0 || len(recorder.Events) > 0 {
		t.Errorf("%v, writes %v, %d events", err, w.Log, len(recorder.Events))
	}
}

func TestRebuildPorts(t *testing.T) {
	ports := net.PortRange{Base: 30000, Size: 100}
	on := func(name string, list ...corev1.ServicePort) *corev1.Service {
		s := service(name, "10.0.0.1")
		s.Spec.Type, s.Spec.Ports = corev1.ServiceTypeNodePort, list
		return s
	}
	port := func(n int32, p corev1.Protocol) corev1.ServicePort {
		return corev1.ServicePort{NodePort: n, Protocol: p}
	}
	stored := allocator.NewPortSet(ports, nil)
	for _, p := range []int32{30001, 30005, 30009} {
		if err := stored.Take(p); err != nil {
			t.Fatal(err)
		}
	}
	health := on("d")
	health.Spec.HealthCheckNodePort = 30005
	services := []*corev1.Service{
		on("a", port(30001, corev1.ProtocolTCP), port(30001, corev1.ProtocolUDP)),
		on("b", port(30002, corev1.ProtocolTCP), port(80, corev1.ProtocolTCP)),
		on("c", port(30001, corev1.ProtocolTCP)),
		health,
	}
	want := []string{
		"PortNotAllocated repair Port 30002 is not allocated; repairing",
		"PortOutOfRange outOfRange Port 80 is not within the port range 30000-30099; please recreate service",
		"PortAlreadyAllocated duplicate Port 30001 was assigned to multiple services; please recreate service",
	}
	leaks := map[int32]int{}
	for look := 1; look <= 4; look++ {
		rebuilt, defects := allocator.RebuildPorts(services, stored, ports, leaks)
		var got []string
		for _, d := range defects {
			got = append(got, strings.TrimSpace(fmt.Sprint(d.Reason, " ", d.Type, " ", d.Message)))
		}
		held := []int32{30001, 30002, 30005, 30009}
		switch look {
		case 2:
			want = slices.Delete(want, 0, 1) // was repaired
		case 3:
			want = append(want, "leak the node port 30009 appears to have leaked: cleaning up")
			held = held[:3]
		case 4:
			want, held = want[:2], held[:3]
		}
		if !slices.Equal(got, want) {
			t.Errorf("look %d: %q, want %q", look, got, want)
		}
		if !slices.Equal(rebuilt.All(), held) {
			t.Errorf("look %d: ports %v, want %v", look, rebuilt.All(), held)
		}
		stored = rebuilt
	}
}

func TestReadyRanges(t *testing.T) {
	withReady := func(c *networkingv1.ServiceCIDR, status metav1.ConditionStatus) *networkingv1.ServiceCIDR {
		c.Status.Conditions = []metav1.Condition{{Type: networkingv1.ServiceCIDRConditionReady, Status: status}}
		return c
	}
	leaving := withReady(allocatortest.CIDR("leaving", "10.3.0.0/24"), metav1.ConditionTrue)
	leaving.DeletionTimestamp = &metav1.Time{Time: now}
	oldest := withReady(allocatortest.CIDR("z", "10.9.0.0/24"), metav1.ConditionTrue)
	young := withReady(allocatortest.CIDR("a", "10.1.0.0/24", "fd00::/112"), metav1.ConditionTrue)
	young.CreationTimestamp = metav1.NewTime(now)
	cidrs := []*networkingv1.ServiceCIDR{young, leaving, oldest,
		withReady(allocatortest.CIDR("b", "10.2.0.0/24"), metav1.ConditionFalse),
		withReady(allocatortest.CIDR("c", "10.9.0.0/24"), metav1.ConditionFalse)}
	var got []string
	for _, r := range allocator.ReadyRanges(cidrs, corev1.IPv4Protocol) {
		got = append(got, r.String())
	}
	if want := []string{"10.9.0.0/24", "10.1.0.0/24"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if six := allocator.ReadyRanges(cidrs, corev1.IPv6Protocol); len(six) != 1 || six[0].String() != "fd00::/112" {
		t.Errorf("IPv6: %v", six)
	}
}

// A second range is used when the first is full, and a cache that lags only costs a try.
func TestAllocateNextOfSeveralRanges(t *testing.T) {
	w := allocatortest.New("10.0.0.0/30")
	w.CIDRs = append(w.CIDRs, allocatortest.CIDR("more", "10.0.1.0/30"))
	w.Stale = func(string) bool { return true }
	a := &allocator.Addresses{Store: w, Writer: w, Clock: clocktesting.NewFakeClock(now)}
	for i := range 4 {
		ip, err := a.AllocateNext(context.Background(), service("a"), corev1.IPv4Protocol, false)
		if err != nil || (i < 2) != netip.MustParsePrefix("10.0.0.0/30").Contains(ip) {
			t.Fatalf("address %d: %s, %v", i, ip, err)
		}
	}
	if ip, err := a.AllocateNext(context.Background(), service("a"), corev1.IPv4Protocol, false); err != allocator.ErrFull {
		t.Errorf("fifth of four: %s, %v", ip, err)
	}
	if ip, err := a.AllocateNext(context.Background(), service("a"), corev1.IPv6Protocol, false); err != allocator.ErrFull {
		t.Errorf("IPv6 without a range: %s, %v", ip, err)
	}
}

// cidrClient keeps one ServiceCIDR.
type cidrClient struct {
	networkingv1client.ServiceCIDRInterface
	have *networkingv1.ServiceCIDR
	log  []string
}

func (c *cidrClient) Get(context.Context, string, metav1.GetOptions) (*networkingv1.ServiceCIDR, error) {
	if c.have == nil {
		return nil, apierrors.NewNotFound(networkingv1.Resource("servicecidrs"), "kubernetes")
	}
	return c.have, nil
}

func (c *cidrClient) Create(_ context.Context, o *networkingv1.ServiceCIDR, _ metav1.CreateOptions) (*networkingv1.ServiceCIDR, error) {
	c.have, c.log = o, append(c.log, fmt.Sprintf("create %s %v", o.Name, o.Spec.CIDRs))
	return o, nil
}

func (c *cidrClient) Update(_ context.Context, o *networkingv1.ServiceCIDR, _ metav1.UpdateOptions) (*networkingv1.ServiceCIDR, error) {
	c.have, c.log = o, append(c.log, fmt.Sprintf("update %s %v", o.Name, o.Spec.CIDRs))
	return o, nil
}

func (c *cidrClient) ApplyStatus(_ context.Context, o *networkingv1apply.ServiceCIDRApplyConfiguration, _ metav1.ApplyOptions) (*networkingv1.ServiceCIDR, error) {
	condition := o.Status.Conditions[0]
	c.have.Status.Conditions = []metav1.Condition{{Type: *condition.Type, Status: *condition.Status}}
	c.log = append(c.log, fmt.Sprintf("status %s=%s: %s", *condition.Type, *condition.Status, *condition.Message))
	return c.have, nil
}

func TestDefaultCIDR(t *testing.T) {
	const ready = "status Ready=True: Kubernetes default Service CIDR is ready"
	with := func(status metav1.ConditionStatus, ranges ...string) *networkingv1.ServiceCIDR {
		c := allocatortest.CIDR("kubernetes", ranges...)
		c.Status.Conditions = []metav1.Condition{{Type: networkingv1.ServiceCIDRConditionReady, Status: status}}
		return c
	}
	leaving := allocatortest.CIDR("kubernetes", "10.0.0.0/16")
	leaving.DeletionTimestamp = &metav1.Time{Time: now}
	for name, c := range map[string]struct {
		have   *networkingv1.ServiceCIDR
		ranges []string
		want   []string
	}{
		"first start":      {ranges: []string{"10.0.0.0/16"}, want: []string{"create kubernetes [10.0.0.0/16]", ready}},
		"not masked":       {ranges: []string{"10.0.1.0/16"}, want: []string{"create kubernetes [10.0.0.0/16]", ready}},
		"next start":       {ranges: []string{"10.0.0.0/16"}, have: with(metav1.ConditionTrue, "10.0.0.0/16")},
		"no condition":     {ranges: []string{"10.0.0.0/16"}, have: allocatortest.CIDR("kubernetes", "10.0.0.0/16"), want: []string{ready}},
		"judged not ready": {ranges: []string{"10.0.0.0/16"}, have: with(metav1.ConditionFalse, "10.0.0.0/16")},
		"second family":    {ranges: []string{"10.0.0.0/16", "fd00::/112"}, have: with(metav1.ConditionTrue, "10.0.0.0/16"), want: []string{"update kubernetes [10.0.0.0/16 fd00::/112]"}},
		"another range":    {ranges: []string{"10.1.0.0/16"}, have: with(metav1.ConditionTrue, "10.0.0.0/16")},
		"being deleted":    {ranges: []string{"10.0.0.0/16"}, have: leaving},
		"no range":         {},
	} {
		t.Run(name, func(t *testing.T) {
			client := &cidrClient{have: c.have}
			d := &allocator.DefaultCIDR{Client: client, Clock: clocktesting.NewFakeClock(now)}
			for _, r := range c.ranges {
				d.Ranges = append(d.Ranges, netip.MustParsePrefix(r))
			}
			if err := d.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(client.log, c.want) {
				t.Errorf("%q, want %q", client.log, c.want)
			}
		})
	}
}
