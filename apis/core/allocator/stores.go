package allocator

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/apis/kind"
)

// Stores is a [Source] over the kinds' storages in this process: what it reads is
// their watch caches' own, without another copy.
type Stores struct {
	Of    func(schema.GroupResource) *kind.REST
	Clock clock.Clock
}

var (
	services    = corev1.Resource("services")
	ipAddresses = networkingv1.Resource("ipaddresses")
	cidrs       = networkingv1.Resource("servicecidrs")
)

// cached is the resource version that asks for what the watch cache has.
const cached = "0"

func version(fresh bool) string {
	if fresh {
		return ""
	}
	return cached
}

func (s Stores) store(of schema.GroupResource) (*kind.REST, error) {
	if r := s.Of(of); r != nil {
		return r, nil
	}
	return nil, apierrors.NewInternalError(fmt.Errorf("services need %s, which this API server does not serve", of))
}

func (s Stores) get(ctx context.Context, of schema.GroupResource, namespace, name string, fresh bool) (runtime.Object, error) {
	r, err := s.store(of)
	if err != nil {
		return nil, err
	}
	obj, err := r.Store.Get(request.WithNamespace(ctx, namespace), name, &metav1.GetOptions{ResourceVersion: version(fresh)})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return obj, err
}

// IPAddress implements Store.
func (s Stores) IPAddress(ctx context.Context, name string, fresh bool) (*networkingv1.IPAddress, error) {
	obj, err := s.get(ctx, ipAddresses, "", name, fresh)
	ip, _ := obj.(*networkingv1.IPAddress)
	return ip, err
}

// Service implements Store.
func (s Stores) Service(ctx context.Context, namespace, name string, fresh bool) (*corev1.Service, error) {
	obj, err := s.get(ctx, services, namespace, name, fresh)
	svc, _ := obj.(*corev1.Service)
	return svc, err
}

func list[T any](ctx context.Context, s Stores, of schema.GroupResource, fresh bool) (out []T, err error) {
	r, err := s.store(of)
	if err != nil {
		return nil, err
	}
	obj, err := r.Store.List(request.WithNamespace(ctx, metav1.NamespaceAll), &internalversion.ListOptions{ResourceVersion: version(fresh)})
	if err != nil {
		return nil, err
	}
	err = meta.EachListItem(obj, func(item runtime.Object) error {
		if t, ok := item.(T); ok {
			out = append(out, t)
		}
		return nil
	})
	return out, err
}

// ServiceCIDRs implements Store.
func (s Stores) ServiceCIDRs(ctx context.Context, fresh bool) ([]*networkingv1.ServiceCIDR, error) {
	return list[*networkingv1.ServiceCIDR](ctx, s, cidrs, fresh)
}

// Services implements Source.
func (s Stores) Services(ctx context.Context, fresh bool) ([]*corev1.Service, error) {
	return list[*corev1.Service](ctx, s, services, fresh)
}

// IPAddresses implements Source.
func (s Stores) IPAddresses(ctx context.Context, fresh bool) ([]*networkingv1.IPAddress, error) {
	return list[*networkingv1.IPAddress](ctx, s, ipAddresses, fresh)
}

// watchRetry is the pause before a broken watch is begun again.
const watchRetry = time.Second

// Watch implements Source.
func (s Stores) Watch(ctx context.Context, of schema.GroupResource, changed func(namespace, name string)) {
	for ctx.Err() == nil {
		if err := s.watchOnce(ctx, of, changed); err != nil {
			klog.FromContext(ctx).V(2).Info("Watch ended", "resource", of, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-s.Clock.After(watchRetry):
		}
	}
}

func (s Stores) watchOnce(ctx context.Context, of schema.GroupResource, changed func(namespace, name string)) error {
	r, err := s.store(of)
	if err != nil {
		return err
	}
	w, err := r.Store.Watch(request.WithNamespace(ctx, metav1.NamespaceAll), &internalversion.ListOptions{ResourceVersion: cached})
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			if e.Type == watch.Error {
				return apierrors.FromObject(e.Object)
			}
			if m, err := meta.Accessor(e.Object); err == nil && e.Type != watch.Bookmark {
				changed(m.GetNamespace(), m.GetName())
			}
		}
	}
}
