package core

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

// serviceAllocator knows which cluster addresses and node ports are in use. It
// lives in memory: the services themselves are the record, from which load
// rebuilds it.
type serviceAllocator struct {
	mu        sync.Mutex
	families  []corev1.IPFamily // configured ones, the default first
	addresses map[corev1.IPFamily]addressPool
	ports     portPool
}

func newServiceAllocator(cidrs []netip.Prefix, ports net.PortRange) *serviceAllocator {
	a := &serviceAllocator{addresses: map[corev1.IPFamily]addressPool{}, ports: newPortPool(ports)}
	for _, c := range cidrs {
		family := corev1.IPv4Protocol
		if c.Addr().Is6() {
			family = corev1.IPv6Protocol
		}
		if _, twice := a.addresses[family]; !twice {
			a.families = append(a.families, family)
			a.addresses[family] = newAddressPool(c)
		}
	}
	return a
}

// load marks what the services use. Conflicts among them stay as they are: the
// first one owns, and nothing is taken from running services.
func (a *serviceAllocator) load(services []corev1.Service) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range services {
		ips, ports := allocations(&services[i])
		for _, ip := range ips {
			_ = a.addresses[addrFamily(ip)].tryAllocate(ip)
		}
		for _, port := range ports {
			_ = a.ports.allocate(port)
		}
	}
}

func (a addressPool) tryAllocate(ip netip.Addr) error {
	if a.pool == nil {
		return nil // the cluster had this family once
	}
	return a.allocate(ip)
}

func addrFamily(ip netip.Addr) corev1.IPFamily {
	if ip.Is6() {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

// allocations lists what a service holds.
func allocations(s *corev1.Service) (ips []netip.Addr, ports []int32) {
	if s.Spec.Type != corev1.ServiceTypeExternalName && !isHeadless(s) {
		for _, text := range s.Spec.ClusterIPs {
			if ip, ok := parseAddr(text); ok {
				ips = append(ips, ip)
			}
		}
	}
	ports = nodePorts(s).UnsortedList()
	if needsHealthCheck(s) && s.Spec.HealthCheckNodePort > 0 {
		ports = append(ports, s.Spec.HealthCheckNodePort)
	}
	slices.Sort(ports)
	return ips, slices.Compact(ports)
}

// parseAddr reads addresses as old objects may hold them (leading zeros).
func parseAddr(text string) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(text))
	return ip.Unmap(), ok
}

// release gives back what a deleted service held.
func (a *serviceAllocator) release(s *corev1.Service) {
	ips, ports := allocations(s)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveBack(ips, ports)
}

func (a *serviceAllocator) giveBack(ips []netip.Addr, ports []int32) {
	for _, ip := range ips {
		if p := a.addresses[addrFamily(ip)]; p.pool != nil {
			p.release(ip)
		}
	}
	for _, port := range ports {
		a.ports.release(port)
	}
}

// allocate fills the service's addresses and node ports; old is nil on create.
// The returned function must be called with whether the write succeeded.
func (a *serviceAllocator) allocate(s, old *corev1.Service, dryRun bool) (finish func(success bool), err error) {
	if err := a.initFamilies(s, old); err != nil {
		return nil, err
	}
	t := &allocation{a: a}
	if old != nil {
		t.heldIPs, t.heldPorts = allocations(old)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := t.fill(s); err != nil {
		a.giveBack(t.newIPs, t.newPorts)
		return nil, err
	}
	if dryRun {
		a.giveBack(t.newIPs, t.newPorts)
		return func(bool) {}, nil
	}
	nowIPs, nowPorts := allocations(s)
	return func(success bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !success {
			a.giveBack(t.newIPs, t.newPorts)
			return
		}
		a.giveBack(
			slices.DeleteFunc(t.heldIPs, func(ip netip.Addr) bool { return slices.Contains(nowIPs, ip) }),
			slices.DeleteFunc(t.heldPorts, func(p int32) bool { return slices.Contains(nowPorts, p) }))
	}, nil
}

// allocation is one write's share: what the service held and what it gets anew.
type allocation struct {
	a         *serviceAllocator
	heldIPs   []netip.Addr
	heldPorts []int32
	newIPs    []netip.Addr
	newPorts  []int32
}

func (t *allocation) fill(s *corev1.Service) error {
	if err := t.fillAddresses(s); err != nil {
		return err
	}
	if s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		if err := t.fillNodePorts(s); err != nil {
			return err
		}
	}
	if !needsHealthCheck(s) {
		return nil
	}
	if want := s.Spec.HealthCheckNodePort; want != 0 {
		if err := t.port(want); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %v: %w", want, err))
		}
		return nil
	}
	port, err := t.nextPort()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort %v: %w", port, err))
	}
	s.Spec.HealthCheckNodePort = port
	return nil
}

func (t *allocation) fillAddresses(s *corev1.Service) error {
	if s.Spec.Type == corev1.ServiceTypeExternalName || isHeadless(s) {
		return nil
	}
	path := field.NewPath("spec", "clusterIPs")
	for i, family := range s.Spec.IPFamilies {
		pool, ok := t.a.addresses[family]
		if !ok {
			continue
		}
		if i < len(s.Spec.ClusterIPs) && s.Spec.ClusterIPs[i] != "" {
			want := s.Spec.ClusterIPs[i]
			ip, ok := parseAddr(want)
			if !ok || slices.Contains(t.heldIPs, ip) {
				continue // validation refuses what is no address
			}
			if err := pool.allocate(ip); err != nil {
				return serviceInvalid(s, field.Invalid(path, s.Spec.ClusterIPs, fmt.Sprintf("failed to allocate IP %v: %v", want, err)))
			}
			t.newIPs = append(t.newIPs, ip)
			continue
		}
		ip, err := pool.allocateNext()
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", s.Name, err))
		}
		t.newIPs = append(t.newIPs, ip)
		if i < len(s.Spec.ClusterIPs) {
			s.Spec.ClusterIPs[i] = ip.String()
		} else {
			s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, ip.String())
		}
		if i == 0 {
			s.Spec.ClusterIP = ip.String()
		}
	}
	return nil
}

func (t *allocation) fillNodePorts(s *corev1.Service) error {
	path := field.NewPath("spec", "ports")
	// Ports of one number and several protocols share a node port.
	byPort := map[int32]int32{}
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; p.NodePort != 0 {
			if err := t.port(p.NodePort); err != nil {
				return serviceInvalid(s, field.Invalid(path.Index(i).Child("nodePort"), p.NodePort, err.Error()))
			}
			byPort[p.Port] = p.NodePort
		}
	}
	if !allocatesNodePorts(s) {
		return nil
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort != 0 {
			continue
		}
		if shared, ok := byPort[p.Port]; ok {
			p.NodePort = shared
			continue
		}
		port, err := t.nextPort()
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
		}
		p.NodePort, byPort[p.Port] = port, port
	}
	return nil
}

// port takes a certain node port, unless this service has it already.
func (t *allocation) port(n int32) error {
	if slices.Contains(t.heldPorts, n) || slices.Contains(t.newPorts, n) {
		return nil
	}
	if err := t.a.ports.allocate(n); err != nil {
		return err
	}
	t.newPorts = append(t.newPorts, n)
	return nil
}

func (t *allocation) nextPort() (int32, error) {
	n, err := t.a.ports.allocateNext()
	if err == nil {
		t.newPorts = append(t.newPorts, n)
	}
	return n, err
}

func serviceInvalid(s *corev1.Service, errs ...*field.Error) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, errs)
}

var errNoServiceCIDR = errors.New("no service CIDR is configured")

// initFamilies completes ipFamilyPolicy and ipFamilies from what the client
// said, what the service had, and what the cluster offers (KEP-563).
func (a *serviceAllocator) initFamilies(s, old *corev1.Service) error {
	if s.Spec.Type == corev1.ServiceTypeExternalName || unchangedPreferDual(s, old) {
		return nil
	}
	if len(a.families) == 0 {
		return apierrors.NewInternalError(errNoServiceCIDR)
	}
	selectorless := s.Spec.ClusterIP == corev1.ClusterIPNone && len(s.Spec.Selector) == 0
	if s.Spec.IPFamilyPolicy == nil {
		switch {
		case old != nil && old.Spec.IPFamilyPolicy != nil:
			s.Spec.IPFamilyPolicy = old.Spec.IPFamilyPolicy
		case selectorless:
			s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
		default:
			s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
		}
	}
	before := old
	if before == nil {
		before = &corev1.Service{}
	}
	spec := field.NewPath("spec")
	if errs := validateClusterIPs(s, before, spec); len(errs) > 0 {
		return serviceInvalid(s, errs...)
	}
	if errs := a.checkPolicy(s, old, spec); len(errs) > 0 {
		return serviceInvalid(s, errs...)
	}
	if selectorless {
		a.completeFamilies(s, true)
		return nil
	}
	var errs field.ErrorList
	if familyPolicy(s) == corev1.IPFamilyPolicyRequireDualStack && len(a.families) < 2 {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), s.Spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range s.Spec.IPFamilies {
		if !slices.Contains(a.families, f) {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if len(errs) > 0 {
		return serviceInvalid(s, errs...)
	}
	a.completeFamilies(s, len(a.families) == 2)
	return nil
}

// checkPolicy compares the policy with the addresses and families given, and
// infers families from addresses.
func (a *serviceAllocator) checkPolicy(s, old *corev1.Service, spec *field.Path) (errs field.ErrorList) {
	policy, path := familyPolicy(s), spec.Child("ipFamilyPolicy")
	single := policy == corev1.IPFamilyPolicySingleStack
	refuse := func(msg string) { errs = append(errs, field.Invalid(path, s.Spec.IPFamilyPolicy, msg)) }
	if old != nil {
		if single {
			if slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) && len(s.Spec.ClusterIPs) > 1 {
				s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1]
			}
			if slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies) && len(s.Spec.IPFamilies) > 1 {
				s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
			}
		} else {
			if n := len(s.Spec.ClusterIPs); n > 0 && n < len(old.Spec.ClusterIPs) {
				refuse("must be 'SingleStack' to release the secondary cluster IP")
			}
			if n := len(s.Spec.IPFamilies); n > 0 && n < len(old.Spec.IPFamilies) {
				refuse("must be 'SingleStack' to release the secondary IP family")
			}
		}
	}
	if single && len(s.Spec.ClusterIPs) == 2 {
		refuse("must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified")
	}
	if single && len(s.Spec.IPFamilies) == 2 {
		refuse("must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")
	}
	for i, ip := range s.Spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			break
		}
		if i < len(s.Spec.IPFamilies) {
			continue
		}
		if f := familyOf(ip); slices.Contains(a.families, f) {
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, f)
		} else {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(i), s.Spec.ClusterIPs, fmt.Sprintf("%s is not configured on this cluster", f)))
		}
	}
	return errs
}

// completeFamilies adds the cluster's default family if there is none, and the
// other one if two are wanted and possible.
func (a *serviceAllocator) completeFamilies(s *corev1.Service, two bool) {
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = []corev1.IPFamily{a.families[0]}
	}
	if !two || len(s.Spec.IPFamilies) > 1 || familyPolicy(s) == corev1.IPFamilyPolicySingleStack {
		return
	}
	other := corev1.IPv6Protocol
	if s.Spec.IPFamilies[0] == corev1.IPv6Protocol {
		other = corev1.IPv4Protocol
	}
	s.Spec.IPFamilies = append(s.Spec.IPFamilies, other)
}

// unchangedPreferDual: a service that prefers two families is not upgraded only
// because the cluster now has them.
func unchangedPreferDual(s, old *corev1.Service) bool {
	return old != nil && old.Spec.Type == s.Spec.Type && hasCluster(s.Spec.Type) &&
		familyPolicy(s) == corev1.IPFamilyPolicyPreferDualStack &&
		(old.Spec.IPFamilyPolicy == nil || familyPolicy(old) == corev1.IPFamilyPolicyPreferDualStack) &&
		slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) &&
		slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies)
}
