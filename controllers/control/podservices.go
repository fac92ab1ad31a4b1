package control

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	endpointsliceutil "k8s.io/endpointslice/util"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// ServicesOfPods queues the services whose endpoints a pod's event changes.
// Events that change nothing of an endpoint (address, readiness, labels,
// hostname) queue none.
func ServicesOfPods(reader client.Reader) handler.EventHandler {
	services := Services{Reader: reader}
	queue := func(ctx context.Context, old, pod any, q Queue) {
		key := endpointsliceutil.GetPodUpdateProjectionKey(old, pod)
		if key == nil {
			return
		}
		names, err := endpointsliceutil.GetServicesToUpdate(services, key)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Could not list the services of a pod")
			return
		}
		for name := range names {
			q.Add(reconcile.Request{NamespacedName: splitKey(name)})
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) { queue(ctx, nil, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) { queue(ctx, e.ObjectOld, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q Queue) { queue(ctx, e.Object, nil, q) },
	}
}

func splitKey(key string) types.NamespacedName {
	for i := range key {
		if key[i] == '/' {
			return types.NamespacedName{Namespace: key[:i], Name: key[i+1:]}
		}
	}
	return types.NamespacedName{Name: key}
}

// PodsOfService lists the pods that the service selects. They point into the cache.
func PodsOfService(ctx context.Context, r client.Reader, svc *corev1.Service) ([]*corev1.Pod, error) {
	var list corev1.PodList
	selector := labels.SelectorFromValidatedSet(svc.Spec.Selector)
	if err := r.List(ctx, &list, client.InNamespace(svc.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, err
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}
