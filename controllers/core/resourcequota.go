package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiquota "k8s.io/apiserver/pkg/quota/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"proa/controllers/control"
	"proa/quota"
)

// quotaResync is how often the usage is counted afresh, for what no event tells.
const quotaResync = 5 * time.Minute

// ResourceQuota keeps status.hard and status.used of ResourceQuotas. The
// admission of new objects adds to the usage; this controller takes back what is
// gone and counts from scratch when the limits change.
type ResourceQuota struct {
	Client client.Client
	Clock  clock.PassiveClock
	// Mapper finds the kinds of the resources whose objects are counted.
	Mapper meta.RESTMapper
	Scheme *runtime.Scheme
	// Typed are the kinds that the cache holds whole; of others it holds the metadata.
	Typed map[schema.GroupVersionResource]client.Object
	// Watch calls gone with the namespace of every object of the kind of obj that
	// is deleted from now on.
	Watch func(ctx context.Context, obj client.Object, gone func(namespace string)) error

	mu      sync.Mutex
	queue   control.Queue
	watched map[string]bool
}

// SetupResourceQuota registers the controller. typed are the kinds that the
// shared cache holds whole.
func SetupResourceQuota(env *control.Env, typed map[schema.GroupVersionResource]client.Object) error {
	r := &ResourceQuota{
		Client: env.Client(), Clock: env.Clock, Mapper: env.Manager.GetRESTMapper(), Scheme: env.Manager.GetScheme(),
		Typed: typed, Watch: watchCount(env.Manager.GetCache()),
	}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("resourcequota").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&corev1.ResourceQuota{}, builder.WithPredicates(limitsChanged())).
		Watches(&corev1.Pod{}, r.events("pods")).
		Watches(&corev1.Service{}, r.events("services")).
		Watches(&corev1.PersistentVolumeClaim{}, r.events("persistentvolumeclaims")).
		WatchesRawSource(source.Func(func(_ context.Context, q control.Queue) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.queue = q
			return nil
		})).
		Complete(r)
}

// limitsChanged accepts quotas that are new or whose limits changed. What admission
// charges must not start a count: the object that it charged for is made after
// that, and a count without it would undo the charge.
func limitsChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, hasOld := e.ObjectOld.(*corev1.ResourceQuota)
		now, ok := e.ObjectNew.(*corev1.ResourceQuota)
		return !ok || !hasOld || !apiquota.Equals(old.Spec.Hard, now.Spec.Hard)
	}}
}

// watchCount watches deletions through the shared cache.
func watchCount(informers cache.Informers) func(context.Context, client.Object, func(string)) error {
	return func(ctx context.Context, obj client.Object, gone func(string)) error {
		informer, err := informers.GetInformer(ctx, obj)
		if err != nil {
			return err
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{DeleteFunc: func(obj any) {
			if t, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = t.Obj
			}
			if m, err := meta.Accessor(obj); err == nil {
				gone(m.GetNamespace())
			}
		}})
		return err
	}
}

// events queues the quotas of a resource when one of its objects is gone or
// uses something else than before. New objects were charged at their admission.
func (r *ResourceQuota) events(measured string) handler.EventHandler {
	return handler.Funcs{
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q control.Queue) {
			r.replenish(ctx, measured, e.Object.GetNamespace(), q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) {
			if len(r.quotas(ctx, e.ObjectNew.GetNamespace())) == 0 {
				return
			}
			now := r.Clock.Now()
			if !apiquota.Equals(quota.Usage(measured, e.ObjectOld, now), quota.Usage(measured, e.ObjectNew, now)) || scopesChanged(e.ObjectOld, e.ObjectNew) {
				r.replenish(ctx, measured, e.ObjectNew.GetNamespace(), q)
			}
		},
	}
}

// scopesChanged reports whether an update may have moved the object from one
// quota's scope to another's.
func scopesChanged(old, now client.Object) bool {
	switch now := now.(type) {
	case *corev1.Pod:
		o, ok := old.(*corev1.Pod)
		return ok && (o.Spec.ActiveDeadlineSeconds == nil) != (now.Spec.ActiveDeadlineSeconds == nil)
	case *corev1.PersistentVolumeClaim:
		o, ok := old.(*corev1.PersistentVolumeClaim)
		return ok && !equality.Semantic.DeepEqual(quota.AttributesClasses(o), quota.AttributesClasses(now))
	}
	return false
}

func (r *ResourceQuota) quotas(ctx context.Context, namespace string) []corev1.ResourceQuota {
	var list corev1.ResourceQuotaList
	if err := r.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list the quotas of a namespace", "namespace", namespace)
	}
	return list.Items
}

// replenish queues the namespace's quotas that limit the resource.
func (r *ResourceQuota) replenish(ctx context.Context, measured, namespace string, q control.Queue) {
	quotas := r.quotas(ctx, namespace)
	for i := range quotas {
		for name := range quotas[i].Status.Hard {
			if concerns(name, measured) {
				q.Add(reconcile.Request{NamespacedName: control.Key(&quotas[i])})
				break
			}
		}
	}
}

// Reconcile counts what one quota limits.
func (r *ResourceQuota) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var q corev1.ResourceQuota
	if err := r.Client.Get(ctx, req.NamespacedName, &q); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	used, err := r.usage(ctx, &q)
	hard := apiquota.Add(corev1.ResourceList{}, q.Spec.Hard)
	// What could not be counted keeps its last value.
	all := apiquota.Add(corev1.ResourceList{}, q.Status.Used)
	for name, n := range used {
		all[name] = n
	}
	all = apiquota.Mask(all, apiquota.ResourceNames(hard))
	if q.Status.Hard == nil || q.Status.Used == nil ||
		!equality.Semantic.DeepEqual(q.Spec.Hard, q.Status.Hard) || !apiquota.Equals(all, q.Status.Used) {
		next := q.DeepCopy()
		next.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: all}
		updateErr := r.Client.Status().Update(ctx, next)
		if apierrors.IsConflict(updateErr) {
			// Admission charged something meanwhile: its event brings us back.
			return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
		}
		err = errors.Join(err, client.IgnoreNotFound(updateErr))
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: quotaResync}, nil
}

// usage counts the objects of each resource that the quota limits. Limits of
// unknown resources are left out.
func (r *ResourceQuota) usage(ctx context.Context, q *corev1.ResourceQuota) (corev1.ResourceList, error) {
	classes, err := r.deviceClasses(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("listing device classes: %w", err)
	}
	limits := map[string][]corev1.ResourceName{}
	for name := range q.Spec.Hard {
		for _, measured := range quota.Measured(name, classes) {
			limits[measured] = append(limits[measured], name)
		}
	}
	scopes := quota.Scopes(q)
	now := r.Clock.Now()
	total := corev1.ResourceList{}
	var errs []error
	for measured, names := range limits {
		used := corev1.ResourceList{}
		for _, name := range names {
			used[name] = resource.Quantity{Format: resource.DecimalSI}
		}
		known, err := r.each(ctx, measured, q.Namespace, func(obj client.Object) {
			if quota.InScopes(scopes, obj) {
				used = apiquota.Add(used, quota.Usage(measured, obj, now))
				if claim, ok := obj.(*resourcev1.ResourceClaim); ok {
					used = apiquota.Add(used, quota.DeviceUsage(claim, classes, r.chargedWithPod(ctx, claim, now)))
				}
			}
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("counting %s in namespace %s: %w", measured, q.Namespace, err))
			continue
		}
		if known {
			total = apiquota.Add(total, apiquota.Mask(used, names))
		}
	}
	return total, errors.Join(errs...)
}

// each calls fn for the objects of a resource in a namespace. known is false if
// the API server does not serve it.
func (r *ResourceQuota) each(ctx context.Context, measured, namespace string, fn func(client.Object)) (known bool, err error) {
	gr := schema.ParseGroupResource(measured)
	gvk, err := r.kindOf(gr)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var list client.ObjectList
	var obj client.Object
	if typed := r.Typed[gr.WithVersion(gvk.Version)]; typed != nil {
		made, err := r.Scheme.New(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		if err != nil {
			return false, err
		}
		list, _ = made.(client.ObjectList)
		obj = typed
	}
	if list == nil {
		l := &metav1.PartialObjectMetadataList{}
		l.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		o := &metav1.PartialObjectMetadata{}
		o.SetGroupVersionKind(gvk)
		list, obj = l, o
	}
	if err := r.watch(ctx, measured, obj); err != nil {
		return false, err
	}
	if err := r.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return false, err
	}
	return true, meta.EachListItem(list, func(o runtime.Object) error {
		if obj, ok := o.(client.Object); ok {
			fn(obj)
		}
		return nil
	})
}

// kindOf is the kind of a resource of exactly this group: the mapper alone takes
// an empty group for any, such as that of pods.metrics.k8s.io.
func (r *ResourceQuota) kindOf(gr schema.GroupResource) (schema.GroupVersionKind, error) {
	kinds, err := r.Mapper.KindsFor(gr.WithVersion(""))
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	for _, k := range kinds {
		if k.Group == gr.Group {
			return k, nil
		}
	}
	return schema.GroupVersionKind{}, &meta.NoResourceMatchError{PartialResource: gr.WithVersion("")}
}

// watch begins to replenish the quotas of a resource that a quota limits for
// the first time. Those with events of their own have them from the start.
func (r *ResourceQuota) watch(ctx context.Context, measured string, obj client.Object) error {
	if measured == "pods" || measured == "services" || measured == "persistentvolumeclaims" || r.Watch == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watched[measured] {
		return nil
	}
	err := r.Watch(ctx, obj, func(namespace string) {
		r.mu.Lock()
		q := r.queue
		r.mu.Unlock()
		if q != nil {
			r.replenish(context.WithoutCancel(ctx), measured, namespace, q)
		}
	})
	if err != nil {
		return err
	}
	if r.watched == nil {
		r.watched = map[string]bool{}
	}
	r.watched[measured] = true
	return nil
}
