package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"
	"k8s.io/klog/v2"

	"proa/apis/core/allocator"
	"proa/apis/kind"
)

// serviceHooks allocate while services are written.
type serviceHooks struct {
	deps  *kind.Deps
	alloc *serviceAllocator

	// checked is closed when the records of addresses and ports have been
	// compared with the stored services: before, nothing is allocated.
	checked chan struct{}
}

func extendService(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
	metrics := allocator.NewMetrics(d.Metrics)
	ports, err := allocator.NewPorts(d.RESTOptions, d.NodePorts, metrics)
	if err != nil {
		return nil, nil, err
	}
	stores := allocator.Stores{Of: d.StoreOf, Clock: d.Clock}
	writer := d.Client.NetworkingV1().IPAddresses()
	h := &serviceHooks{deps: d, checked: make(chan struct{}), alloc: &serviceAllocator{
		families:  familiesOf(d.ServiceCIDRs),
		addresses: &allocator.Addresses{Store: stores, Writer: writer, Metrics: metrics, Clock: d.Clock},
		ports:     ports,
	}}
	r.Store.BeginCreate = h.beginCreate
	r.Store.BeginUpdate = h.beginUpdate
	r.Store.AfterDelete = h.afterDelete
	r.Store.Decorator = h.completeOnRead
	loops := allocator.NewLoops(
		&allocator.Repair{Source: stores, Writer: writer, Ports: ports, Metrics: metrics, Clock: d.Clock},
		&allocator.DefaultCIDR{Ranges: d.ServiceCIDRs, Client: d.Client.NetworkingV1().ServiceCIDRs(), Clock: d.Clock},
		d.Client, func() { close(h.checked) })
	d.AfterStart("start-kubernetes-service-cidr-controller", loops.StartDefaultCIDR)
	d.AfterStart("start-service-ip-repair-controllers", loops.StartRepair)
	return nil, map[string]rest.Storage{"proxy": &serviceProxyREST{services: r, deps: d}}, nil
}

// startLimit is how long a write waits for the records to be compared.
const startLimit = 30 * time.Second

func (h *serviceHooks) ready(ctx context.Context) error {
	select {
	case <-h.checked:
		return nil
	default:
	}
	select {
	case <-h.checked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.deps.Clock.After(startLimit):
		return apierrors.NewInternalError(errors.New("the records of cluster IPs and node ports are not checked yet; try again"))
	}
}

func (h *serviceHooks) beginCreate(ctx context.Context, obj runtime.Object, options *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	s, ok := obj.(*corev1.Service)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("service storage was given a %T", obj))
	}
	syncClusterIPs(s, nil)
	return h.begin(ctx, s, nil, options.DryRun)
}

func (h *serviceHooks) beginUpdate(ctx context.Context, obj, oldObj runtime.Object, options *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
	s, ok := obj.(*corev1.Service)
	old, ok2 := oldObj.(*corev1.Service)
	if !ok || !ok2 {
		return nil, apierrors.NewInternalError(fmt.Errorf("service storage was given a %T and a %T", obj, oldObj))
	}
	h.completeOnRead(old)
	keepAllocated(s, old)
	syncClusterIPs(s, old)
	return h.begin(ctx, s, old, options.DryRun)
}

func (h *serviceHooks) begin(ctx context.Context, s, old *corev1.Service, dry []string) (genericregistry.FinishFunc, error) {
	if err := h.ready(ctx); err != nil {
		return nil, err
	}
	finish, err := h.alloc.allocate(ctx, s, old, dryrun.IsDryRun(dry))
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, success bool) { finish(success) }, nil
}

func (h *serviceHooks) afterDelete(obj runtime.Object, options *metav1.DeleteOptions) {
	s, ok := obj.(*corev1.Service)
	if !ok || options != nil && dryrun.IsDryRun(options.DryRun) {
		return
	}
	h.completeOnRead(s)
	ctx := request.WithNamespace(request.NewContext(), s.Namespace)
	// A new service of this name must not find the old one's endpoints.
	if endpoints := h.deps.StoreOf(corev1.Resource("endpoints")); endpoints != nil {
		_, _, err := endpoints.Delete(ctx, s.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			klog.FromContext(ctx).Error(err, "Cannot delete the endpoints of a deleted service", "service", klog.KObj(s))
		}
	}
	h.alloc.release(ctx, s)
}

// completeOnRead fills what services of old versions lack.
func (h *serviceHooks) completeOnRead(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Service:
		completeService(o, h.alloc.families)
	case *corev1.ServiceList:
		for i := range o.Items {
			completeService(&o.Items[i], h.alloc.families)
		}
	}
}
