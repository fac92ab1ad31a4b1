package core

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	endpointsliceutil "k8s.io/endpointslice/util"
	"k8s.io/utils/clock"
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
	endpointsManagedBy = "endpoints.kubernetes.io/managed-by"
	endpointsManager   = "endpoint-controller"
)

// Endpoints keeps the Endpoints object of every service with a selector.
type Endpoints struct {
	Client   client.Client
	Recorder record.EventRecorder
	triggers *endpointsliceutil.TriggerTimeTracker
	pacer    *control.Pacer
}

// NewEndpoints returns the reconciler.
func NewEndpoints(c client.Client, recorder record.EventRecorder, clk clock.PassiveClock) *Endpoints {
	return &Endpoints{Client: c, Recorder: recorder, triggers: endpointsliceutil.NewTriggerTimeTracker(), pacer: control.NewPacer(clk)}
}

// SetupEndpoints registers the controller.
func SetupEndpoints(env *control.Env) error {
	r := NewEndpoints(env.Client(), env.Recorder("endpoint-controller"), env.Clock)
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("endpoints").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&corev1.Service{}).
		Watches(&corev1.Pod{}, control.ServicesOfPods(env.Client())).
		// At the start, ours that lost their service; later, those that were deleted.
		Watches(&corev1.Endpoints{}, &handler.EnqueueRequestForObject{}, withPredicate(predicate.Funcs{ //nolint:staticcheck // Endpoints are what is kept here
			CreateFunc:  func(e event.CreateEvent) bool { return e.Object.GetLabels()[endpointsManagedBy] == endpointsManager },
			UpdateFunc:  func(event.UpdateEvent) bool { return false },
			GenericFunc: func(event.GenericEvent) bool { return false },
		})).
		Complete(r)
}

// Reconcile brings one service's Endpoints to its pods.
func (r *Endpoints) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var current corev1.Endpoints //nolint:staticcheck // Endpoints are what is kept here
	err := r.Client.Get(ctx, req.NamespacedName, &current)
	exists := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return reconcile.Result{}, err
	}
	var svc corev1.Service
	if err := r.Client.Get(ctx, req.NamespacedName, &svc); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		r.pacer.Forget(req.NamespacedName)
		r.triggers.DeleteService(req.Namespace, req.Name)
		if !exists {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(r.Client.Delete(ctx, current.DeepCopy()))
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.Selector == nil {
		return reconcile.Result{}, nil
	}
	if wait := r.pacer.Due(req.NamespacedName); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	pods, err := control.PodsOfService(ctx, r.Client, &svc)
	if err != nil {
		return reconcile.Result{}, err
	}
	r.pacer.Note(req.NamespacedName, len(pods))
	trigger := r.triggers.ComputeEndpointLastChangeTriggerTime(svc.Namespace, &svc, pods)

	next := current.DeepCopy()
	next.Namespace, next.Name = req.Namespace, req.Name
	next.Subsets = endpointSubsets(&svc, pods)
	truncated := truncate(next.Subsets, maxEndpoints)
	next.Labels = endpointsLabels(&svc)
	if exists && equality.Semantic.DeepEqual(current.Subsets, next.Subsets) && maps.Equal(current.Labels, next.Labels) &&
		(current.Annotations[corev1.EndpointsOverCapacity] != "") == truncated {
		return reconcile.Result{}, nil
	}
	set := func(key, value string) {
		if value == "" {
			delete(next.Annotations, key)
			return
		}
		if next.Annotations == nil {
			next.Annotations = map[string]string{}
		}
		next.Annotations[key] = value
	}
	at, over := "", ""
	if !trigger.IsZero() {
		at = trigger.UTC().Format(time.RFC3339Nano)
	}
	if truncated {
		over = "truncated"
	}
	set(corev1.EndpointsLastChangeTriggerTime, at)
	set(corev1.EndpointsOverCapacity, over)
	return r.write(ctx, &svc, next, exists)
}

func (r *Endpoints) write(ctx context.Context, svc *corev1.Service, next *corev1.Endpoints, exists bool) (reconcile.Result, error) { //nolint:staticcheck // Endpoints are what is kept here
	var err error
	if exists {
		err = r.Client.Update(ctx, next)
	} else {
		next.ObjectMeta = metav1.ObjectMeta{Namespace: next.Namespace, Name: next.Name, Labels: next.Labels, Annotations: next.Annotations}
		err = r.Client.Create(ctx, next)
	}
	switch {
	case err == nil, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return reconcile.Result{}, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		// The cache is behind our own last write.
		return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil
	case exists:
		r.Recorder.Eventf(next, corev1.EventTypeWarning, "FailedToUpdateEndpoint", "Failed to update endpoint %v/%v: %v", svc.Namespace, svc.Name, err)
	default:
		r.Recorder.Eventf(next, corev1.EventTypeWarning, "FailedToCreateEndpoint", "Failed to create endpoint for service %v/%v: %v", svc.Namespace, svc.Name, err)
	}
	return reconcile.Result{}, fmt.Errorf("endpoints %s/%s: %w", svc.Namespace, svc.Name, err)
}

// endpointsLabels are the service's, who keeps the object, and whether it is headless.
func endpointsLabels(svc *corev1.Service) map[string]string {
	out := maps.Clone(svc.Labels)
	if out == nil {
		out = map[string]string{}
	}
	delete(out, corev1.IsHeadlessService)
	if svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == corev1.ClusterIPNone {
		out[corev1.IsHeadlessService] = ""
	}
	out[endpointsManagedBy] = endpointsManager
	return out
}
