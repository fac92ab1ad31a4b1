package core

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"
	"k8s.io/klog/v2"

	"proa/apis/kind"
)

// serviceHooks allocate while services are written.
type serviceHooks struct {
	deps  *kind.Deps
	store *genericregistry.Store
	alloc *serviceAllocator

	// The allocator is filled from the stored services before its first use.
	mu     sync.Mutex
	loaded bool
}

func extendService(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
	h := &serviceHooks{deps: d, store: r.Store, alloc: newServiceAllocator(d.ServiceCIDRs, d.NodePorts)}
	r.Store.BeginCreate = h.beginCreate
	r.Store.BeginUpdate = h.beginUpdate
	r.Store.AfterDelete = h.afterDelete
	return nil, map[string]rest.Storage{"proxy": &serviceProxyREST{services: r, deps: d}}, nil
}

// ready fills the allocator once.
func (h *serviceHooks) ready(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loaded {
		return nil
	}
	all := request.WithNamespace(ctx, metav1.NamespaceAll)
	// A consistent read from etcd: what another server wrote before is there.
	obj, err := h.store.List(all, &internalversion.ListOptions{})
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("cannot list the services that hold cluster addresses and node ports: %w", err))
	}
	list, ok := obj.(*corev1.ServiceList)
	if !ok {
		return apierrors.NewInternalError(fmt.Errorf("service storage lists a %T", obj))
	}
	h.alloc.load(list.Items)
	h.loaded = true
	return nil
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
	keepAllocated(s, old)
	syncClusterIPs(s, old)
	return h.begin(ctx, s, old, options.DryRun)
}

func (h *serviceHooks) begin(ctx context.Context, s, old *corev1.Service, dry []string) (genericregistry.FinishFunc, error) {
	if err := h.ready(ctx); err != nil {
		return nil, err
	}
	finish, err := h.alloc.allocate(s, old, dryrun.IsDryRun(dry))
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
	// A new service of this name must not find the old one's endpoints.
	if endpoints := h.deps.StoreOf(corev1.Resource("endpoints")); endpoints != nil {
		ctx := request.WithNamespace(request.NewContext(), s.Namespace)
		_, _, err := endpoints.Delete(ctx, s.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			klog.FromContext(ctx).Error(err, "Cannot delete the endpoints of a deleted service", "service", klog.KObj(s))
		}
	}
	h.alloc.release(s)
}
