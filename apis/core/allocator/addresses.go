package allocator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// ManagedBy labels the IPAddress objects that belong to services.
const ManagedBy = "ipallocator.k8s.io"

// Why an address or a port cannot be had.
var (
	ErrFull       = errors.New("range is full")
	ErrAllocated  = errors.New("provided IP is already allocated")
	ErrNoSuchCIDR = errors.New("the provided network does not match the current range")
)

// Store is what is known of ServiceCIDRs, IPAddresses and Services. Objects are
// shared: they are never changed. A fresh read asks etcd; another one may lag.
type Store interface {
	ServiceCIDRs(ctx context.Context, fresh bool) ([]*networkingv1.ServiceCIDR, error)
	// IPAddress and Service return nil for what does not exist.
	IPAddress(ctx context.Context, name string, fresh bool) (*networkingv1.IPAddress, error)
	Service(ctx context.Context, namespace, name string, fresh bool) (*corev1.Service, error)
}

// Writer creates and deletes IPAddress objects (client-go's IPAddressInterface).
type Writer interface {
	Create(ctx context.Context, ip *networkingv1.IPAddress, opts metav1.CreateOptions) (*networkingv1.IPAddress, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// Addresses allocates cluster IPs.
type Addresses struct {
	Store   Store
	Writer  Writer
	Metrics *Metrics
	Clock   clock.PassiveClock
}

// Allocate takes a certain address for a service: ErrNoSuchCIDR if no ready
// ServiceCIDR offers it, ErrAllocated if it is in use. With adopt, an address
// that is recorded for this very service counts as taken by it. A dry run takes
// nothing.
func (a *Addresses) Allocate(ctx context.Context, svc *corev1.Service, ip netip.Addr, adopt, dryRun bool) error {
	start := a.Clock.Now()
	r, err := a.rangeOf(ctx, ip, dryRun)
	if err != nil {
		return err
	}
	if dryRun {
		taken, err := a.Store.IPAddress(ctx, ip.String(), false)
		if err == nil && taken != nil && (!adopt || !belongsTo(taken, svc)) {
			err = ErrAllocated
		}
		return err
	}
	err = a.create(ctx, svc, ip)
	if errors.Is(err, ErrAllocated) && adopt {
		if taken, readErr := a.Store.IPAddress(ctx, ip.String(), true); readErr == nil && taken != nil && belongsTo(taken, svc) {
			return nil
		}
	}
	a.Metrics.allocated(r, "static", a.Clock.Since(start), err)
	return err
}

// AllocateNext takes any address of a family for a service; ErrFull if there is
// none. A dry run answers with the network's own address, which no service has.
func (a *Addresses) AllocateNext(ctx context.Context, svc *corev1.Service, family corev1.IPFamily, dryRun bool) (netip.Addr, error) {
	start := a.Clock.Now()
	ranges, err := a.ranges(ctx, family)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, r := range ranges {
		if dryRun {
			return r.Network(), nil
		}
		ip, err := a.nextOf(ctx, svc, r)
		a.Metrics.allocated(r, "dynamic", a.Clock.Since(start), err)
		if !errors.Is(err, ErrFull) {
			return ip, err
		}
	}
	return netip.Addr{}, ErrFull
}

func (a *Addresses) nextOf(ctx context.Context, svc *corev1.Service, r Range) (netip.Addr, error) {
	for ip := range r.Candidates() {
		taken, err := a.Store.IPAddress(ctx, ip.String(), false)
		if err != nil {
			return netip.Addr{}, err
		}
		if taken != nil {
			continue
		}
		err = a.create(ctx, svc, ip)
		if errors.Is(err, ErrAllocated) { // another one was faster than the cache
			continue
		}
		return ip, err
	}
	return netip.Addr{}, ErrFull
}

// Release gives an address back. What fails is left to the repair loop.
func (a *Addresses) Release(ctx context.Context, ip netip.Addr) {
	if err := a.Writer.Delete(ctx, ip.String(), metav1.DeleteOptions{}); err != nil {
		if !apierrors.IsNotFound(err) {
			klog.FromContext(ctx).Error(err, "Cannot release a cluster IP; the repair loop will", "ip", ip)
		}
		return
	}
	if cidrs, err := a.Store.ServiceCIDRs(ctx, false); err == nil {
		for _, r := range allRanges(cidrs) {
			if r.Contains(ip) {
				a.Metrics.held(r, -1)
			}
		}
	}
}

// ranges asks once more, past the cache, when the cache knows no range.
func (a *Addresses) ranges(ctx context.Context, family corev1.IPFamily) (ranges []Range, err error) {
	for _, fresh := range [...]bool{false, true} {
		cidrs, err := a.Store.ServiceCIDRs(ctx, fresh)
		if err != nil {
			return nil, err
		}
		if ranges = ReadyRanges(cidrs, family); len(ranges) > 0 {
			break
		}
	}
	return ranges, nil
}

// rangeOf finds the ready range that offers ip. A dry run names a range in its refusal.
func (a *Addresses) rangeOf(ctx context.Context, ip netip.Addr, dryRun bool) (Range, error) {
	refusal := ErrNoSuchCIDR
	for _, fresh := range [...]bool{false, true} {
		cidrs, err := a.Store.ServiceCIDRs(ctx, fresh)
		if err != nil {
			return Range{}, err
		}
		ranges := ReadyRanges(cidrs, Family(ip))
		for _, r := range ranges {
			if r.Contains(ip) {
				return r, nil
			}
		}
		if dryRun && len(ranges) > 0 {
			refusal = fmt.Errorf("the provided IP (%v) is not in the valid range. The range of valid IPs is %s", ip, ranges[0])
		}
	}
	return Range{}, refusal
}

func (a *Addresses) create(ctx context.Context, svc *corev1.Service, ip netip.Addr) error {
	_, err := a.Writer.Create(ctx, NewIPAddress(ip, svc), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return ErrAllocated
	}
	return err
}

// NewIPAddress is the record that a service has a cluster IP.
func NewIPAddress(ip netip.Addr, svc *corev1.Service) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: ip.String(),
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(Family(ip)),
				networkingv1.LabelManagedBy:       ManagedBy,
			},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: svc.Namespace, Name: svc.Name,
		}},
	}
}

func belongsTo(ip *networkingv1.IPAddress, svc *corev1.Service) bool {
	return refersToService(ip) && ip.Spec.ParentRef.Namespace == svc.Namespace && ip.Spec.ParentRef.Name == svc.Name
}

func refersToService(ip *networkingv1.IPAddress) bool {
	p := ip.Spec.ParentRef
	return p != nil && p.Group == "" && p.Resource == "services"
}
