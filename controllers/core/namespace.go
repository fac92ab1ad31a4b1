package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	// namespaceSettle is waited after a namespace's deletion before its
	// content is deleted, so that every API server knows of the deletion and
	// admits no new content.
	namespaceSettle = 250 * time.Millisecond
	// finalizerEstimate is the guess, in seconds, of how long other finalizers take.
	finalizerEstimate = 15
)

// Namespace empties namespaces that are being deleted, kind by kind, pods
// first, and then removes the kubernetes finalizer from their spec. What is in
// the way is told in the NamespaceDeletion… conditions.
type Namespace struct {
	Client   client.Client
	Live     client.Reader
	Metadata metadata.Interface
	// Resources lists the namespaced resources the API server serves, in
	// preferred versions. An error may come with a part of the list.
	Resources func() ([]*metav1.APIResourceList, error)
	// Finalize writes the spec.finalizers of a namespace.
	Finalize func(context.Context, *corev1.Namespace) error
	Clock    clock.PassiveClock
}

// SetupNamespace registers the controller.
func SetupNamespace(env *control.Env) error {
	r := &Namespace{
		Client:    env.Client(),
		Live:      env.Live(),
		Metadata:  env.Metadata,
		Resources: env.Discovery.ServerPreferredNamespacedResources,
		Finalize: func(ctx context.Context, ns *corev1.Namespace) error {
			_, err := env.Kube.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
			return err
		},
		Clock: env.Clock,
	}
	deleting := predicate.NewPredicateFuncs(func(obj client.Object) bool { return obj.GetDeletionTimestamp() != nil })
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("namespace").
		WithOptions(controller.Options{MaxConcurrentReconciles: 10}).
		For(&corev1.Namespace{}, withPredicate(deleting)).
		// The last pod's end lets the rest of its namespace be deleted at once.
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.terminatingNamespaceOf), withPredicate(predicate.Funcs{
			CreateFunc:  func(event.CreateEvent) bool { return false },
			UpdateFunc:  func(event.UpdateEvent) bool { return false },
			GenericFunc: func(event.GenericEvent) bool { return false },
		})).
		Complete(r)
}

func (r *Namespace) terminatingNamespaceOf(ctx context.Context, pod client.Object) []reconcile.Request {
	key := types.NamespacedName{Name: pod.GetNamespace()}
	var ns corev1.Namespace
	if err := r.Client.Get(ctx, key, &ns); err != nil || ns.DeletionTimestamp == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// Reconcile takes one namespace as far as it goes now.
func (r *Namespace) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	// Read live: the cache may not show the conditions we wrote last.
	var ns corev1.Namespace
	if err := r.Live.Get(ctx, req.NamespacedName, &ns); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp == nil || len(ns.Spec.Finalizers) == 0 {
		return reconcile.Result{}, nil
	}
	if wait := ns.DeletionTimestamp.Add(namespaceSettle).Sub(r.Clock.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	if ns.Status.Phase != corev1.NamespaceTerminating {
		ns.Status.Phase = corev1.NamespaceTerminating
		if err := r.Client.Status().Update(ctx, &ns); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	}

	found, estimate := r.deleteContent(ctx, &ns)
	conditions, changed := namespaceConditions(ns.Status.Conditions, found, metav1.NewTime(r.Clock.Now()))
	if changed {
		ns.Status.Conditions = conditions
		if err := r.Client.Status().Update(ctx, &ns); err != nil && !apierrors.IsNotFound(err) {
			klog.FromContext(ctx).Error(err, "Could not update the conditions of the namespace", "namespace", ns.Name)
		}
	}
	if err := errors.Join(slices.Concat(found.contentErrs, []error{found.discoveryErr, found.groupErr})...); err != nil {
		return reconcile.Result{}, err
	}
	if len(found.remaining) > 0 {
		return reconcile.Result{RequeueAfter: time.Duration(estimate/2+1) * time.Second}, nil
	}
	return reconcile.Result{}, r.finalize(ctx, ns.Name, ns.UID)
}

func (r *Namespace) finalize(ctx context.Context, name string, uid types.UID) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var ns corev1.Namespace
		if err := r.Live.Get(ctx, types.NamespacedName{Name: name}, &ns); err != nil {
			return err
		}
		if ns.UID != uid {
			return nil
		}
		ns.Spec.Finalizers = slices.DeleteFunc(ns.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
		return r.Finalize(ctx, &ns)
	})
	return client.IgnoreNotFound(err)
}

// deleteContent deletes all that can be deleted in the namespace and returns
// what is left and the estimate in seconds until it is gone. While pods are
// left nothing else is deleted: they may still need it (KEP-5080).
func (r *Namespace) deleteContent(ctx context.Context, ns *corev1.Namespace) (deletionFindings, int64) {
	found := deletionFindings{remaining: map[string]int{}, finalizers: map[string]int{}}
	lists, err := r.Resources()
	found.discoveryErr = err
	resources, err := deletable(lists)
	found.groupErr = err

	var estimate int64
	for _, res := range resources {
		e, err := r.deleteResource(ctx, res, ns, &found)
		if err != nil {
			if res.isPods() {
				err = fmt.Errorf("failed to delete pods for namespace: %s, err: %w", ns.Name, err)
			}
			found.contentErrs = append(found.contentErrs, err)
		}
		estimate = max(estimate, e)
		if res.isPods() && len(found.remaining) > 0 {
			break
		}
	}
	return found, estimate
}

// deletableResource is one resource that can be deleted, and how.
type deletableResource struct {
	schema.GroupVersionResource
	list, deleteCollection bool
}

func (r deletableResource) isPods() bool { return r.Group == "" && r.Resource == "pods" }

// deletable picks the resources with the delete verb, pods first, the others by name.
func deletable(lists []*metav1.APIResourceList) ([]deletableResource, error) {
	var out []deletableResource
	var errs []error
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i := range list.APIResources {
			verbs := list.APIResources[i].Verbs
			if !slices.Contains(verbs, "delete") {
				continue
			}
			out = append(out, deletableResource{
				GroupVersionResource: gv.WithResource(list.APIResources[i].Name),
				list:                 slices.Contains(verbs, "list"),
				deleteCollection:     slices.Contains(verbs, "deletecollection"),
			})
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].isPods() != out[j].isPods() {
			return out[i].isPods()
		}
		return out[i].String() < out[j].String()
	})
	return out, errors.Join(errs...)
}

// deleteResource deletes all objects of one resource in the namespace and adds
// what is left to found. It returns the seconds until the rest may be gone.
func (r *Namespace) deleteResource(ctx context.Context, res deletableResource, ns *corev1.Namespace, found *deletionFindings) (int64, error) {
	objects := r.Metadata.Resource(res.GroupVersionResource).Namespace(ns.Name)
	background := metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}
	if !res.list {
		if res.deleteCollection {
			return 0, ignoreUnsupported(objects.DeleteCollection(ctx, background, metav1.ListOptions{}))
		}
		return 0, nil
	}
	items, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil || len(items.Items) == 0 {
		return 0, ignoreUnsupported(err)
	}
	var estimate int64
	if res.isPods() {
		if estimate, err = r.gracePeriod(ctx, ns); err != nil {
			return 0, err
		}
	}
	if res.deleteCollection {
		if err := ignoreUnsupported(objects.DeleteCollection(ctx, background, metav1.ListOptions{})); err != nil {
			return estimate, err
		}
	} else {
		for i := range items.Items {
			if err := ignoreUnsupported(objects.Delete(ctx, items.Items[i].Name, background)); err != nil {
				return estimate, err
			}
		}
	}
	items, err = objects.List(ctx, metav1.ListOptions{})
	if err != nil || len(items.Items) == 0 {
		return 0, ignoreUnsupported(err)
	}
	found.remaining[res.Resource+"."+res.Group] += len(items.Items)
	finalizers := 0
	for i := range items.Items {
		for _, f := range items.Items[i].Finalizers {
			found.finalizers[f]++
			finalizers++
		}
	}
	switch {
	case estimate > 0:
		return estimate, nil
	case finalizers > 0:
		return finalizerEstimate, nil
	}
	return 0, fmt.Errorf("unexpected items still remain in namespace: %s for gvr: %v", ns.Name, res.GroupVersionResource)
}

// gracePeriod is the longest grace period of the namespace's running pods, in
// seconds, or 0 if that much time has passed since the deletion.
func (r *Namespace) gracePeriod(ctx context.Context, ns *corev1.Namespace) (int64, error) {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(ns.Name)); err != nil {
		return 0, err
	}
	var longest int64
	for i := range pods.Items {
		if !control.PodTerminal(&pods.Items[i]) {
			longest = max(longest, ptr.Deref(pods.Items[i].Spec.TerminationGracePeriodSeconds, 0))
		}
	}
	if r.Clock.Since(ns.DeletionTimestamp.Time) >= time.Duration(longest)*time.Second {
		return 0, nil
	}
	return longest, nil
}

func ignoreUnsupported(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil
	}
	return err
}
