package core

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/utils/ptr"
)

func testAllocator(cidrs ...string) *serviceAllocator {
	var prefixes []netip.Prefix
	for _, c := range cidrs {
		prefixes = append(prefixes, netip.MustParsePrefix(c))
	}
	return newServiceAllocator(prefixes, net.PortRange{Base: 30000, Size: 4})
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

func mustAllocate(t *testing.T, a *serviceAllocator, s, old *corev1.Service) {
	t.Helper()
	finish, err := a.allocate(s, old, false)
	if err != nil {
		t.Fatal(err)
	}
	finish(true)
	if errs := validateService(s, old); len(errs) > 0 {
		t.Fatalf("allocated service is invalid: %v", errs)
	}
}

func TestAllocateClusterIP(t *testing.T) {
	a := testAllocator("10.96.0.0/30") // two addresses
	one, two := newService(nil), newService(nil)
	mustAllocate(t, a, one, nil)
	mustAllocate(t, a, two, nil)
	if one.Spec.ClusterIP == two.Spec.ClusterIP || one.Spec.ClusterIP == "" {
		t.Fatalf("addresses %q and %q", one.Spec.ClusterIP, two.Spec.ClusterIP)
	}
	if got := *one.Spec.IPFamilyPolicy; got != corev1.IPFamilyPolicySingleStack || one.Spec.IPFamilies[0] != corev1.IPv4Protocol {
		t.Errorf("families %v %v", got, one.Spec.IPFamilies)
	}
	if _, err := a.allocate(newService(nil), nil, false); err == nil || !strings.Contains(err.Error(), "range is full") {
		t.Errorf("third address of two: %v", err)
	}
	a.release(one)
	three := newService(nil)
	mustAllocate(t, a, three, nil)
	if three.Spec.ClusterIP != one.Spec.ClusterIP {
		t.Errorf("released address %s was not given again, but %s", one.Spec.ClusterIP, three.Spec.ClusterIP)
	}
}

func TestAllocateRequestedIP(t *testing.T) {
	a := testAllocator("10.96.0.0/24")
	for _, c := range []struct{ ip, want string }{
		{"10.96.0.10", ""},
		{"10.96.0.10", "provided IP is already allocated"},
		{"10.97.0.1", "is not in the valid range. The range of valid IPs is 10.96.0.0/24"},
		{"10.96.0.0", "is not in the valid range"},
		{"10.96.0.255", "is not in the valid range"},
		{"10.96.0.254", ""},
	} {
		s := newService(func(s *corev1.Service) { s.Spec.ClusterIP = c.ip })
		finish, err := a.allocate(s, nil, false)
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
	a := testAllocator("10.96.0.0/24")
	ask := func() *corev1.Service {
		return newService(func(s *corev1.Service) {
			s.Spec.ClusterIP = "10.96.0.5"
			s.Spec.Type = corev1.ServiceTypeNodePort
			s.Spec.Ports[0].NodePort = 30001
		})
	}
	if _, err := a.allocate(ask(), nil, true); err != nil {
		t.Fatal(err)
	}
	finish, err := a.allocate(ask(), nil, false)
	if err != nil {
		t.Fatalf("after a dry run: %v", err)
	}
	finish(false)
	if finish, err = a.allocate(ask(), nil, false); err != nil {
		t.Fatalf("after a failed write: %v", err)
	}
	finish(true)
	bad := newService(func(s *corev1.Service) {
		s.Spec.ClusterIP = "10.96.0.6"
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports[0].NodePort = 30001
	})
	if _, err := a.allocate(bad, nil, false); err == nil || !strings.Contains(err.Error(), "provided port is already allocated") {
		t.Fatalf("taken node port: %v", err)
	}
	again := newService(func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.6" })
	if _, err := a.allocate(again, nil, false); err != nil {
		t.Errorf("the refused service kept its address: %v", err)
	}
}

func TestNodePorts(t *testing.T) {
	a := testAllocator("10.96.0.0/24")
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

	// The same manifest again keeps what was allocated.
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
	plain := again.DeepCopy()
	plain.Spec.Type = corev1.ServiceTypeClusterIP
	dropTypeDependent(plain, again)
	mustAllocate(t, a, plain, again)
	if len(nodePorts(plain)) > 0 || len(a.ports.used) > 0 || plain.Spec.ClusterIP != s.Spec.ClusterIP {
		t.Errorf("as ClusterIP: %+v, %d node ports still held", plain.Spec, len(a.ports.used))
	}

	// To ExternalName: nothing is held.
	named := plain.DeepCopy()
	named.Spec.Type, named.Spec.ExternalName, named.Spec.InternalTrafficPolicy = corev1.ServiceTypeExternalName, "example.com", nil
	dropTypeDependent(named, plain)
	mustAllocate(t, a, named, plain)
	if n := len(a.addresses[corev1.IPv4Protocol].used); n > 0 || named.Spec.ClusterIP != "" || named.Spec.IPFamilies != nil {
		t.Errorf("as ExternalName: %+v, %d addresses still held", named.Spec, n)
	}
}

func TestHealthCheckNodePort(t *testing.T) {
	a := testAllocator("10.96.0.0/24")
	s := newService(func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		s.Spec.AllocateLoadBalancerNodePorts = ptr.To(false)
	})
	mustAllocate(t, a, s, nil)
	if s.Spec.HealthCheckNodePort == 0 || s.Spec.Ports[0].NodePort != 0 {
		t.Fatalf("health check port %d, node port %d", s.Spec.HealthCheckNodePort, s.Spec.Ports[0].NodePort)
	}
	a.release(s)
	if len(a.ports.used) > 0 {
		t.Error("the health check port is still held")
	}
}

func TestDualStack(t *testing.T) {
	a := testAllocator("10.96.0.0/24", "fd00:96::/112")
	s := newService(func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack) })
	mustAllocate(t, a, s, nil)
	if len(s.Spec.ClusterIPs) != 2 || familyOf(s.Spec.ClusterIPs[1]) != corev1.IPv6Protocol {
		t.Fatalf("addresses %v", s.Spec.ClusterIPs)
	}
	single := s.DeepCopy()
	single.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
	mustAllocate(t, a, single, s)
	if len(single.Spec.ClusterIPs) != 1 || len(single.Spec.IPFamilies) != 1 || len(a.addresses[corev1.IPv6Protocol].used) > 0 {
		t.Errorf("downgraded: %v %v", single.Spec.ClusterIPs, single.Spec.IPFamilies)
	}

	one := testAllocator("10.96.0.0/24")
	demand := newService(func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack) })
	if _, err := one.allocate(demand, nil, false); err == nil || !strings.Contains(err.Error(), "this cluster is not configured for dual-stack services") {
		t.Errorf("two families of one: %v", err)
	}
	headless := newService(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	mustAllocate(t, one, headless, nil)
	if len(headless.Spec.IPFamilies) != 2 || headless.Spec.ClusterIPs[0] != corev1.ClusterIPNone {
		t.Errorf("headless without selector: %+v", headless.Spec)
	}
}

func TestLoadTakesWhatServicesHold(t *testing.T) {
	a := testAllocator("10.96.0.0/24")
	held := newService(func(s *corev1.Service) {
		s.Spec.ClusterIP, s.Spec.Type = "10.96.0.1", corev1.ServiceTypeNodePort
		s.Spec.Ports[0].NodePort = 30000
	})
	other := newService(func(s *corev1.Service) { s.Spec.ClusterIPs = []string{"fd00::1"}; s.Spec.ClusterIP = "fd00::1" })
	a.load([]corev1.Service{*held, *held, *other})
	if _, err := a.allocate(newService(func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.1" }), nil, false); err == nil {
		t.Error("an address that a stored service has was given again")
	}
	for range 3 {
		mustAllocate(t, a, newService(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }), nil)
	}
	if _, err := a.allocate(newService(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }), nil, false); err == nil {
		t.Error("a fifth node port of four")
	}
}

func TestLowerBandIsKeptForRequests(t *testing.T) {
	p := newAddressPool(netip.MustParsePrefix("10.96.0.0/24"))
	for range int(p.size - p.band) {
		ip, err := p.allocateNext()
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := p.offset(ip); n < p.band {
			t.Fatalf("%s is of the lower band while the upper is not used up", ip)
		}
	}
	if ip, err := p.allocateNext(); err != nil {
		t.Errorf("the lower band is not used when the upper is full: %v %v", ip, err)
	}
}
