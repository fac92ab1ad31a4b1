// Package allocatortest is a store of services and their records in memory.
package allocatortest

import (
	"context"
	"fmt"
	"slices"
	"sort"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/net"

	"proa/apis/core/allocator"
)

// World holds objects; it is an allocator.Source and Writer for one goroutine.
type World struct {
	CIDRs []*networkingv1.ServiceCIDR
	IPs   map[string]*networkingv1.IPAddress
	// Svcs are keyed "namespace/name".
	Svcs map[string]*corev1.Service
	// Stale, if set, hides an address from reads that are not fresh.
	Stale func(name string) bool
	// Log is what was written: "create 10.0.0.1 ns/name", "delete 10.0.0.1".
	Log []string
	// Fail, if set, is what creations answer.
	Fail error
}

// New returns a world with one ready ServiceCIDR of the given ranges.
func New(ranges ...string) *World {
	w := &World{IPs: map[string]*networkingv1.IPAddress{}, Svcs: map[string]*corev1.Service{}}
	if len(ranges) > 0 {
		w.CIDRs = append(w.CIDRs, CIDR("kubernetes", ranges...))
	}
	return w
}

// CIDR returns a ServiceCIDR without conditions.
func CIDR(name string, ranges ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: ranges}}
}

// ServiceCIDRs implements allocator.Store.
func (w *World) ServiceCIDRs(context.Context, bool) ([]*networkingv1.ServiceCIDR, error) {
	return w.CIDRs, nil
}

// IPAddress implements allocator.Store.
func (w *World) IPAddress(_ context.Context, name string, fresh bool) (*networkingv1.IPAddress, error) {
	if !fresh && w.Stale != nil && w.Stale(name) {
		return nil, nil
	}
	return w.IPs[name], nil
}

// Service implements allocator.Store.
func (w *World) Service(_ context.Context, namespace, name string, _ bool) (*corev1.Service, error) {
	return w.Svcs[namespace+"/"+name], nil
}

// Services implements allocator.Source.
func (w *World) Services(context.Context, bool) (list []*corev1.Service, err error) {
	for _, key := range sorted(w.Svcs) {
		list = append(list, w.Svcs[key])
	}
	return list, nil
}

// IPAddresses implements allocator.Source.
func (w *World) IPAddresses(context.Context, bool) (list []*networkingv1.IPAddress, err error) {
	for _, key := range sorted(w.IPs) {
		list = append(list, w.IPs[key])
	}
	return list, nil
}

// Watch implements allocator.Source: nothing changes by itself.
func (w *World) Watch(ctx context.Context, _ schema.GroupResource, _ func(namespace, name string)) {
	<-ctx.Done()
}

// Create implements allocator.Writer.
func (w *World) Create(_ context.Context, ip *networkingv1.IPAddress, _ metav1.CreateOptions) (*networkingv1.IPAddress, error) {
	if w.Fail != nil {
		return nil, w.Fail
	}
	if w.IPs[ip.Name] != nil {
		return nil, apierrors.NewAlreadyExists(networkingv1.Resource("ipaddresses"), ip.Name)
	}
	ip = ip.DeepCopy()
	ip.UID = types.UID(fmt.Sprint(len(w.Log)))
	w.IPs[ip.Name] = ip
	w.Log = append(w.Log, fmt.Sprintf("create %s %s/%s", ip.Name, ip.Spec.ParentRef.Namespace, ip.Spec.ParentRef.Name))
	return ip, nil
}

// Delete implements allocator.Writer.
func (w *World) Delete(_ context.Context, name string, options metav1.DeleteOptions) error {
	have := w.IPs[name]
	if have == nil {
		return apierrors.NewNotFound(networkingv1.Resource("ipaddresses"), name)
	}
	if p := options.Preconditions; p != nil && p.UID != nil && *p.UID != have.UID {
		return apierrors.NewConflict(networkingv1.Resource("ipaddresses"), name, fmt.Errorf("UID %s", have.UID))
	}
	delete(w.IPs, name)
	w.Log = append(w.Log, "delete "+name)
	return nil
}

func sorted[T any](m map[string]T) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Ports is a record of node ports in memory.
type Ports struct {
	Range net.PortRange
	Data  []byte
	// Retries is how many more times an update is tried once more, as after a conflict.
	Retries int
}

// Update is allocator.Ports.Update.
func (p *Ports) Update(_ context.Context, change func(*allocator.PortSet) error) error {
	for ; p.Retries > 0; p.Retries-- {
		if err := change(allocator.NewPortSet(p.Range, slices.Clone(p.Data))); err != nil {
			return err
		}
	}
	set := allocator.NewPortSet(p.Range, slices.Clone(p.Data))
	if err := change(set); err != nil {
		return err
	}
	p.Data = set.Data()
	return nil
}

// View is allocator.Ports.View.
func (p *Ports) View(context.Context) (*allocator.PortSet, error) {
	return allocator.NewPortSet(p.Range, slices.Clone(p.Data)), nil
}

// All are the ports in use.
func (p *Ports) All() []int32 { return allocator.NewPortSet(p.Range, p.Data).All() }

// Rebuild is allocator.Ports.Rebuild.
func (p *Ports) Rebuild(_ context.Context, rebuild func(*allocator.PortSet, net.PortRange) (*allocator.PortSet, error)) error {
	set, err := rebuild(allocator.NewPortSet(p.Range, p.Data), p.Range)
	if err == nil {
		p.Data = set.Data()
	}
	return err
}
