package core

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/net"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"proa/apis/core/allocator"
	"proa/apis/core/allocator/allocatortest"
)

// testAllocator is an allocator and what it writes.
type testAllocator struct {
	*serviceAllocator
	world *allocatortest.World
	ports *allocatortest.Ports
}

func newTestAllocator(cidrs ...string) testAllocator {
	var prefixes []netip.Prefix
	for _, c := range cidrs {
		prefixes = append(prefixes, netip.MustParsePrefix(c))
	}
	w, ports := allocatortest.New(cidrs...), &allocatortest.Ports{Range: net.PortRange{Base: 30000, Size: 4}}
	return testAllocator{world: w, ports: ports, serviceAllocator: &serviceAllocator{
		families:  familiesOf(prefixes),
		addresses: &allocator.Addresses{Store: w, Writer: w, Clock: clocktesting.NewFakeClock(time.Unix(0, 0))},
		ports:     ports,
	}}
}

func (a testAllocator) try(s, old *corev1.Service, dryRun bool) (func(bool), error) {
	return a.allocate(context.Background(), s, old, dryRun)
}

func newService(change func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{}
	s.Name = "web"
	s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	if change != nil {
		change(s)
	}
	defaultService(s)
	syncClusterIPs(s, nil)
	return s
}

func mustAllocate(t *testing.T, a testAllocator, s, old *corev1.Service) {
	t.Helper()
	finish, err := a.try(s, old, false)
	if err != nil {
		t.Fatal(err)
	}
	finish(true)
	if errs := validateService(s, old); len(errs) > 0 {
		t.Fatalf("allocated service is invalid: %v", errs)
	}
}

func TestAllocateClusterIP(t *testing.T) {
	a := newTestAllocator("10.96.0.0/30") // two addresses
	one, two := newService(nil), newService(nil)
	mustAllocate(t, a, one, nil)
	mustAllocate(t, a, two, nil)
	if one.Spec.ClusterIP == two.Spec.ClusterIP || one.Spec.ClusterIP == "" {
		t.Fatalf("addresses %q and %q", one.Spec.ClusterIP, two.Spec.ClusterIP)
	}
	if got := *one.Spec.IPFamilyPolicy; got != corev1.IPFamilyPolicySingleStack || one.Spec.IPFamilies[0] != corev1.IPv4Protocol {
		t.Errorf("families %v %v", got, one.Spec.IPFamilies)
	}
	if _, err := a.try(newService(nil), nil, false); err == nil || !strings.Contains(err.Error(), "range is full") {
		t.Errorf("third address of two: %v", err)
	}
	a.release(context.Background(), one)
	three := newService(nil)
	mustAllocate(t, a, three, nil)
	if three.Spec.ClusterIP != one.Spec.ClusterIP {
		t.Errorf("released address %s was not given again, but %s", one.Spec.ClusterIP, three.Spec.ClusterIP)
	}
}

func TestAllocateRequestedIP(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24")
	for _, c := range []struct{ ip, want string }{
		{"10.96.0.10", ""},
		{"10.96.0.10", "provided IP is already allocated"},
		{"10.97.0.1", "the provided network does not match the current range"},
		{"10.96.0.0", "the provided network does not match the current range"},
		{"10.96.0.255", "the provided network does not match the current range"},
		{"10.96.0.254", ""},
	} {
		s := newService(func(s *corev1.Service) { s.Spec.ClusterIP = c.ip })
		finish, err := a.try(s, nil, false)
		switch {
		case err == nil:
			finish(true)
			if c.want != "" {
				t.Errorf("%s was allocated, want %q", c.ip, c.want)
			}
		case c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", c.ip, err, c.want)
		}
	}
}

func TestDryRunAndFailureHoldNothing(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24")
	ask := func() *corev1.Service {
		return newService(func(s *corev1.Service) {
			s.Spec.ClusterIP = "10.96.0.5"
			s.Spec.Type = corev1.ServiceTypeNodePort
			s.Spec.Ports[0].NodePort = 30001
		})
	}
	if _, err := a.try(ask(), nil, true); err != nil {
		t.Fatal(err)
	}
	finish, err := a.try(ask(), nil, false)
	if err != nil {
		t.Fatalf("after a dry run: %v", err)
	}
	finish(false)
	if finish, err = a.try(ask(), nil, false); err != nil {
		t.Fatalf("after a failed write: %v", err)
	}
	finish(true)
	bad := newService(func(s *corev1.Service) {
		s.Spec.ClusterIP = "10.96.0.6"
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports[0].NodePort = 30001
	})
	if _, err := a.try(bad, nil, false); err == nil || !strings.Contains(err.Error(), "provided port is already allocated") {
		t.Fatalf("taken node port: %v", err)
	}
	again := newService(func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.6" })
	if _, err := a.try(again, nil, false); err != nil {
		t.Errorf("the refused service kept its address: %v", err)
	}
}

func TestNodePorts(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24")
	s := newService(func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports = []corev1.ServicePort{
			{Name: "tcp", Port: 53}, {Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "web", Port: 80}}
	})
	mustAllocate(t, a, s, nil)
	p := s.Spec.Ports
	if p[0].NodePort == 0 || p[0].NodePort != p[1].NodePort || p[2].NodePort == p[0].NodePort {
		t.Fatalf("node ports %d %d %d: the first two share one", p[0].NodePort, p[1].NodePort, p[2].NodePort)
	}

	// The same manifest again keeps what was allocated, without a write.
	again := newService(func(n *corev1.Service) {
		n.Spec.Type = corev1.ServiceTypeNodePort
		n.Spec.Ports = []corev1.ServicePort{
			{Name: "tcp", Port: 53}, {Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "web", Port: 80}}
	})
	keepAllocated(again, s)
	syncClusterIPs(again, s)
	mustAllocate(t, a, again, s)
	if again.Spec.ClusterIP != s.Spec.ClusterIP || again.Spec.Ports[2].NodePort != p[2].NodePort || again.Spec.Ports[1].NodePort != p[1].NodePort {
		t.Errorf("sent again: %s %+v, was %s %+v", again.Spec.ClusterIP, again.Spec.Ports, s.Spec.ClusterIP, p)
	}

	// To ClusterIP: node ports are given back, the address stays.
	// Allocation comes before what the client left in the object is cleared.
	plain := again.DeepCopy()
	plain.Spec.Type = corev1.ServiceTypeClusterIP
	finish, err := a.try(plain, again, false)
	if err != nil {
		t.Fatal(err)
	}
	finish(true)
	dropTypeDependent(plain, again)
	if len(nodePorts(plain)) > 0 || len(a.ports.All()) > 0 || plain.Spec.ClusterIP != s.Spec.ClusterIP {
		t.Errorf("as ClusterIP: %+v, %d node ports still held", plain.Spec, len(a.ports.All()))
	}

	// To ExternalName: nothing is held.
	named := plain.DeepCopy()
	named.Spec.Type, named.Spec.ExternalName, named.Spec.InternalTrafficPolicy = corev1.ServiceTypeExternalName, "example.com", nil
	dropTypeDependent(named, plain)
	mustAllocate(t, a, named, plain)
	if n := len(a.world.IPs); n > 0 || named.Spec.ClusterIP != "" || named.Spec.IPFamilies != nil {
		t.Errorf("as ExternalName: %+v, %d addresses still held", named.Spec, n)
	}
}

func TestHealthCheckNodePort(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24")
	s := newService(func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		s.Spec.AllocateLoadBalancerNodePorts = ptr.To(false)
	})
	mustAllocate(t, a, s, nil)
	if s.Spec.HealthCheckNodePort == 0 || s.Spec.Ports[0].NodePort != 0 {
		t.Fatalf("health check port %d, node port %d", s.Spec.HealthCheckNodePort, s.Spec.Ports[0].NodePort)
	}
	a.release(context.Background(), s)
	if len(a.ports.All()) > 0 {
		t.Error("the health check port is still held")
	}
}

func TestDualStack(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24", "fd00:96::/112")
	s := newService(func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack) })
	mustAllocate(t, a, s, nil)
	if len(s.Spec.ClusterIPs) != 2 || familyOf(s.Spec.ClusterIPs[1]) != corev1.IPv6Protocol {
		t.Fatalf("addresses %v", s.Spec.ClusterIPs)
	}
	single := s.DeepCopy()
	single.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
	mustAllocate(t, a, single, s)
	if len(single.Spec.ClusterIPs) != 1 || len(single.Spec.IPFamilies) != 1 || len(a.world.IPs) != 1 {
		t.Errorf("downgraded: %v %v", single.Spec.ClusterIPs, single.Spec.IPFamilies)
	}

	one := newTestAllocator("10.96.0.0/24")
	demand := newService(func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack) })
	if _, err := one.try(demand, nil, false); err == nil || !strings.Contains(err.Error(), "this cluster is not configured for dual-stack services") {
		t.Errorf("two families of one: %v", err)
	}
	headless := newService(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	mustAllocate(t, one, headless, nil)
	if len(headless.Spec.IPFamilies) != 2 || headless.Spec.ClusterIPs[0] != corev1.ClusterIPNone {
		t.Errorf("headless without selector: %+v", headless.Spec)
	}
}

func TestAddressRecord(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24", "fd00:96::/112")
	s := newService(func(s *corev1.Service) {
		s.Namespace = "shop"
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.7", []string{"10.96.0.7", "fd00:96::7"}
		s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
	})
	mustAllocate(t, a, s, nil)
	ip := a.world.IPs["fd00:96::7"]
	if ip == nil || ip.Labels["ipaddress.kubernetes.io/ip-family"] != "IPv6" || ip.Labels["ipaddress.kubernetes.io/managed-by"] != "ipallocator.k8s.io" ||
		ip.Spec.ParentRef.Resource != "services" || ip.Spec.ParentRef.Namespace != "shop" || ip.Spec.ParentRef.Name != "web" {
		t.Errorf("record %+v", ip)
	}

	// A write that fails after its allocation leaves nothing.
	other := newService(nil)
	finish, err := a.try(other, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	finish(false)
	if len(a.world.IPs) != 2 {
		t.Errorf("after a failed write: %v", a.world.Log)
	}
	// And one whose second address cannot be had gives the first back.
	clash := newService(func(s *corev1.Service) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.8", []string{"10.96.0.8", "fd00:96::7"}
		s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
	})
	if _, err := a.try(clash, nil, false); err == nil || !strings.Contains(err.Error(), "failed to allocate IP fd00:96::7: provided IP is already allocated") {
		t.Errorf("taken second address: %v", err)
	}
	if a.world.IPs["10.96.0.8"] != nil {
		t.Errorf("the first address is still held: %v", a.world.Log)
	}
	a.release(context.Background(), s)
	if len(a.world.IPs) > 0 {
		t.Errorf("after deletion: %v", a.world.Log)
	}
}

func TestUpgradeOfARetriedUpdate(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24", "fd00:96::/112")
	s := newService(nil)
	mustAllocate(t, a, s, nil)
	up := func() *corev1.Service {
		n := s.DeepCopy()
		n.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack)
		n.Spec.ClusterIPs = append(n.Spec.ClusterIPs, "fd00:96::9")
		return n
	}
	mustAllocate(t, a, up(), s)
	mustAllocate(t, a, up(), s) // the store had a newer object: once more from the start
	if len(a.world.IPs) != 2 {
		t.Errorf("held: %v", a.world.Log)
	}
	theirs := newService(func(s *corev1.Service) { s.Name, s.Spec.ClusterIP = "other", "fd00:96::9" })
	if _, err := a.try(theirs, nil, false); err == nil {
		t.Error("the address was given twice")
	}
}

func TestDryRun(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24")
	s := newService(func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports = []corev1.ServicePort{{Name: "a", Port: 80}, {Name: "b", Port: 81}}
	})
	if _, err := a.try(s, nil, true); err != nil {
		t.Fatal(err)
	}
	if s.Spec.ClusterIP != "10.96.0.0" || s.Spec.Ports[0].NodePort != 32769 || s.Spec.Ports[1].NodePort != 32770 {
		t.Errorf("placeholders: %s %+v", s.Spec.ClusterIP, s.Spec.Ports)
	}
	if len(a.world.Log) > 0 || len(a.ports.All()) > 0 {
		t.Errorf("written: %v %v", a.world.Log, a.ports.All())
	}
}

func TestConflictOfTheRecordOfPorts(t *testing.T) {
	a := newTestAllocator("10.96.0.0/24")
	a.ports.Retries = 3
	s := newService(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort })
	mustAllocate(t, a, s, nil)
	if held := a.ports.All(); len(held) != 1 || held[0] != s.Spec.Ports[0].NodePort {
		t.Errorf("held %v, the service has %d", held, s.Spec.Ports[0].NodePort)
	}
}

func TestNodePortChoice(t *testing.T) {
	tcp, udp := corev1.ProtocolTCP, corev1.ProtocolUDP
	port := func(name string, n int32, p corev1.Protocol, nodePort int32) corev1.ServicePort {
		return corev1.ServicePort{Name: name, Port: n, Protocol: p, NodePort: nodePort}
	}
	for name, c := range map[string]struct {
		ports []corev1.ServicePort
		want  []int32 // 0: any
		err   string
	}{
		"asked for at the second": {ports: []corev1.ServicePort{port("a", 53, tcp, 0), port("b", 53, udp, 30001)}, want: []int32{30001, 30001}},
		"same for both":           {ports: []corev1.ServicePort{port("a", 53, tcp, 30001), port("b", 53, udp, 30001)}, want: []int32{30001, 30001}},
		"different ones":          {ports: []corev1.ServicePort{port("a", 53, tcp, 30001), port("b", 53, udp, 30002)}, want: []int32{30001, 30002}},
		"one for two ports":       {ports: []corev1.ServicePort{port("a", 53, tcp, 30001), port("b", 54, udp, 30001)}, err: "spec.ports[1].nodePort: Invalid value: 30001: provided port is already allocated"},
		"held by another":         {ports: []corev1.ServicePort{port("a", 53, tcp, 30003)}, err: "spec.ports[0].nodePort: Invalid value: 30003: provided port is already allocated"},
		"not in the range":        {ports: []corev1.ServicePort{port("a", 53, tcp, 80)}, err: "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30003"},
		"any":                     {ports: []corev1.ServicePort{port("a", 53, tcp, 0)}, want: []int32{0}},
		"more than there are":     {ports: []corev1.ServicePort{port("a", 1, tcp, 0), port("b", 2, tcp, 0), port("c", 3, tcp, 0), port("d", 4, tcp, 0)}, err: "failed to allocate a nodePort: range is full"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestAllocator("10.96.0.0/24")
			mustAllocate(t, a, newService(func(s *corev1.Service) {
				s.Spec.Type, s.Spec.Ports = corev1.ServiceTypeNodePort, []corev1.ServicePort{port("", 80, tcp, 30003)}
			}), nil)
			s := newService(func(s *corev1.Service) { s.Name, s.Spec.Type, s.Spec.Ports = "x", corev1.ServiceTypeNodePort, c.ports })
			_, err := a.try(s, nil, false)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				if held := a.ports.All(); !slices.Equal(held, []int32{30003}) || len(a.world.IPs) != 1 {
					t.Errorf("after the refusal ports %v and addresses %v are held", held, a.world.Log)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.want {
				if got := s.Spec.Ports[i].NodePort; got == 0 || want != 0 && got != want {
					t.Errorf("port %d: %d, want %d", i, got, want)
				}
			}
		})
	}
}

func TestServicesOfOldVersions(t *testing.T) {
	both := []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	for name, c := range map[string]struct {
		spec     corev1.ServiceSpec
		families []corev1.IPFamily
		policy   corev1.IPFamilyPolicy
	}{
		"address":               {corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "fd00::1"}, both[1:], corev1.IPFamilyPolicySingleStack},
		"headless":              {corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "None", Selector: map[string]string{"a": "b"}}, both[:1], corev1.IPFamilyPolicySingleStack},
		"headless, no selector": {corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "None"}, both, corev1.IPFamilyPolicyRequireDualStack},
		"external name":         {corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster)}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &corev1.Service{Spec: c.spec}
			completeService(s, both[:1])
			if !slices.Equal(s.Spec.IPFamilies, c.families) || familyPolicy(s) != c.policy {
				t.Errorf("%v %s", s.Spec.IPFamilies, familyPolicy(s))
			}
			if s.Spec.ClusterIP != "" && !slices.Equal(s.Spec.ClusterIPs, []string{s.Spec.ClusterIP}) || s.Spec.InternalTrafficPolicy != nil {
				t.Errorf("%+v", s.Spec)
			}
		})
	}
}
