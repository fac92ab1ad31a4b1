package policy

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// staleDisruption is how long after its DisruptionTarget condition a pod may
// stay without being deleted.
const staleDisruption = 2 * time.Minute

// StaleDisruption takes the DisruptionTarget condition back from pods that were
// to be deleted and were not (KEP-3329).
type StaleDisruption struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// SetupStaleDisruption registers the controller.
func SetupStaleDisruption(env *control.Env) error {
	r := &StaleDisruption{Client: env.Client(), Clock: env.Clock}
	announced := predicate.NewPredicateFuncs(func(obj client.Object) bool {
		pod, ok := obj.(*corev1.Pod)
		return ok && disruptionAnnounced(pod) != nil
	})
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("stale-pod-disruption").
		For(&corev1.Pod{}, builder.WithPredicates(announced)).
		Complete(r)
}

// disruptionAnnounced is the condition that announces a disruption of a running
// pod; nil if there is none. What the node agent announces takes as long as it takes.
func disruptionAnnounced(pod *corev1.Pod) *corev1.PodCondition {
	c := control.PodCondition(pod, corev1.DisruptionTarget)
	if c == nil || c.Status != corev1.ConditionTrue || c.Reason == corev1.PodReasonTerminationByKubelet || !control.PodActive(pod) {
		return nil
	}
	return c
}

// Reconcile takes the condition back when its time is over.
func (r *StaleDisruption) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var pod corev1.Pod
	if err := r.Client.Get(ctx, req.NamespacedName, &pod); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	c := disruptionAnnounced(&pod)
	if c == nil {
		return reconcile.Result{}, nil
	}
	now := r.Clock.Now()
	if wait := c.LastTransitionTime.Add(staleDisruption).Sub(now); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	next := pod.DeepCopy()
	c = control.PodCondition(next, corev1.DisruptionTarget)
	c.Status, c.Reason, c.Message = corev1.ConditionFalse, "", ""
	c.LastTransitionTime = metav1.NewTime(now)
	if c.ObservedGeneration != 0 || next.Status.ObservedGeneration != 0 {
		c.ObservedGeneration = next.Generation
	}
	klog.FromContext(ctx).V(2).Info("Reset stale DisruptionTarget condition to False", "pod", klog.KObj(&pod))
	return reconcile.Result{}, client.IgnoreNotFound(r.Client.Status().Update(ctx, next))
}
