package core

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/klog/v2"

	"proa/apis/core/allocator"
)

// serviceAllocator gives services their cluster IPs and node ports while they
// are written. The records are other objects (package allocator): what a failed
// write leaves behind is given back, and if that fails too, the repair loop does it.
type serviceAllocator struct {
	families  []corev1.IPFamily // configured ones, the default first
	addresses *allocator.Addresses
	ports     portRecord
}

// portRecord is allocator.Ports.
type portRecord interface {
	Update(ctx context.Context, change func(*allocator.PortSet) error) error
	View(ctx context.Context) (*allocator.PortSet, error)
}

// familiesOf lists the families of the service ranges, in their order.
func familiesOf(cidrs []netip.Prefix) (families []corev1.IPFamily) {
	for _, c := range cidrs {
		if f := allocator.Family(c.Addr()); !slices.Contains(families, f) {
			families = append(families, f)
		}
	}
	return families
}

// allocate fills the service's addresses and node ports; old is nil on create.
// The returned function must be called with whether the write succeeded.
func (a *serviceAllocator) allocate(ctx context.Context, s, old *corev1.Service, dryRun bool) (finish func(success bool), err error) {
	if err := a.initFamilies(s, old); err != nil {
		return nil, err
	}
	// What was begun is finished even if the client is gone.
	t := &allocation{a: a, ctx: context.WithoutCancel(ctx), dryRun: dryRun}
	err = t.addresses(s, old)
	if err == nil {
		err = t.nodePorts(s, old)
	}
	if err != nil {
		t.giveBack(t.newIPs, nil)
		return nil, err
	}
	return func(success bool) {
		if success {
			t.giveBack(t.oldIPs, t.oldPorts)
		} else {
			t.giveBack(t.newIPs, t.newPorts)
		}
	}, nil
}

// release gives back what a deleted service held.
func (a *serviceAllocator) release(ctx context.Context, s *corev1.Service) {
	t := &allocation{a: a, ctx: ctx}
	var ips []netip.Addr
	if s.Spec.Type != corev1.ServiceTypeExternalName && !isHeadless(s) {
		ips = addrsOf(s.Spec.ClusterIPs)
	}
	t.giveBack(ips, heldPorts(s))
}

func addrsOf(texts []string) (ips []netip.Addr) {
	for _, text := range texts {
		if ip, ok := allocator.ParseAddr(text); ok {
			ips = append(ips, ip)
		}
	}
	return ips
}

// heldPorts are a service's node ports, the one for health checks among them.
// Numbers that an update leaves in a service of another type are cleared later
// (dropTypeDependent) and do not count.
func heldPorts(s *corev1.Service) []int32 {
	ports := sets.New[int32]()
	if onNodes(s) {
		ports = nodePorts(s)
	}
	if needsHealthCheck(s) && s.Spec.HealthCheckNodePort > 0 {
		ports.Insert(s.Spec.HealthCheckNodePort)
	}
	return ports.UnsortedList()
}

// allocation is one write's share: what it takes, to be given back if it fails,
// and what it no longer needs, to be given back if it succeeds.
type allocation struct {
	a      *serviceAllocator
	ctx    context.Context // of one request
	dryRun bool

	newIPs, oldIPs     []netip.Addr
	newPorts, oldPorts []int32
}

func (t *allocation) giveBack(ips []netip.Addr, ports []int32) {
	if t.dryRun {
		return
	}
	for _, ip := range ips {
		t.a.addresses.Release(t.ctx, ip)
	}
	if len(ports) == 0 {
		return
	}
	err := t.a.ports.Update(t.ctx, func(set *allocator.PortSet) error {
		for _, port := range ports {
			set.Free(port)
		}
		return nil
	})
	if err != nil {
		klog.FromContext(t.ctx).Error(err, "Cannot release node ports; the repair loop will", "ports", ports)
	}
}

// addresses allocates what the service has not, and notes what it gives up.
func (t *allocation) addresses(s, old *corev1.Service) error {
	named := func(s *corev1.Service) bool { return s.Spec.Type == corev1.ServiceTypeExternalName }
	switch {
	case old == nil || named(old) && !named(s):
		if named(s) || isHeadless(s) {
			return nil
		}
		return t.allocateFamilies(s, old, 0)
	case isHeadless(old) || unchangedPreferDual(s, old):
		return nil
	case !named(old) && named(s):
		t.oldIPs = addrsOf(old.Spec.ClusterIPs)
	case len(old.Spec.IPFamilies) == 1 && len(s.Spec.IPFamilies) == 2:
		return t.allocateFamilies(s, old, 1)
	case len(old.Spec.IPFamilies) == 2 && len(s.Spec.IPFamilies) == 1 && len(old.Spec.ClusterIPs) == 2:
		t.oldIPs = addrsOf(old.Spec.ClusterIPs[1:])
	}
	return nil
}

// allocateFamilies allocates an address of each family from the given one on.
func (t *allocation) allocateFamilies(s, old *corev1.Service, from int) error {
	path := field.NewPath("spec", "clusterIPs")
	given := slices.Clone(s.Spec.ClusterIPs)
	for i := from; i < len(s.Spec.IPFamilies); i++ {
		if i < len(given) && given[i] != "" {
			ip, ok := allocator.ParseAddr(given[i])
			if !ok {
				return apierrors.NewInternalError(fmt.Errorf("failed to parse service IP %q", given[i]))
			}
			// A retried update finds what it took before. A creation must not: the
			// one that took it may be another of the same name.
			if err := t.a.addresses.Allocate(t.ctx, s, ip, old != nil, t.dryRun); err != nil {
				return serviceInvalid(s, field.Invalid(path, given, fmt.Sprintf("failed to allocate IP %v: %v", given[i], err)))
			}
			t.newIPs = append(t.newIPs, ip)
			continue
		}
		ip, err := t.a.addresses.AllocateNext(t.ctx, s, s.Spec.IPFamilies[i], t.dryRun)
		if errors.Is(err, allocator.ErrFull) {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", s.Name, err))
		}
		if err != nil {
			return serviceInvalid(s, field.Invalid(path, given, fmt.Sprintf("failed to allocate IP: %v", err)))
		}
		t.newIPs = append(t.newIPs, ip)
		for len(s.Spec.ClusterIPs) <= i {
			s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, "")
		}
		s.Spec.ClusterIPs[i] = ip.String()
	}
	if len(s.Spec.ClusterIPs) > 0 {
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	return nil
}

func serviceInvalid(s *corev1.Service, errs ...*field.Error) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, errs)
}
