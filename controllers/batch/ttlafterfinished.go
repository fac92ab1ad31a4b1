package batch

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// TTLAfterFinished deletes finished jobs spec.ttlSecondsAfterFinished after
// their end (KEP-592).
type TTLAfterFinished struct {
	Client client.Client
	Live   client.Reader
	Clock  clock.PassiveClock
}

// SetupTTLAfterFinished registers the controller.
func SetupTTLAfterFinished(env *control.Env) error {
	r := &TTLAfterFinished{Client: env.Client(), Live: env.Live(), Clock: env.Clock}
	due := predicate.NewPredicateFuncs(func(obj client.Object) bool {
		job, ok := obj.(*batchv1.Job)
		return ok && job.DeletionTimestamp == nil && job.Spec.TTLSecondsAfterFinished != nil && finishedJob(job)
	})
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("ttl-after-finished").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&batchv1.Job{}, builder.WithPredicates(due)).
		Complete(r)
}

// Reconcile deletes the job if its time has come.
func (r *TTLAfterFinished) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var job batchv1.Job
	if err := r.Client.Get(ctx, req.NamespacedName, &job); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if wait, ok := expiresIn(&job, r.Clock.Now()); !ok || wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	// The time to live may have been made longer meanwhile.
	var fresh batchv1.Job
	if err := r.Live.Get(ctx, req.NamespacedName, &fresh); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if wait, ok := expiresIn(&fresh, r.Clock.Now()); !ok || wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	klog.FromContext(ctx).V(4).Info("Deleting finished job", "job", req.NamespacedName)
	err := r.Client.Delete(ctx, &fresh,
		client.PropagationPolicy(metav1.DeletePropagationForeground),
		client.Preconditions{UID: &fresh.UID, ResourceVersion: ptr.To(fresh.ResourceVersion)})
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

// expiresIn returns how long the job still lives; ok is false if it does not expire.
func expiresIn(job *batchv1.Job, now time.Time) (wait time.Duration, ok bool) {
	if job.DeletionTimestamp != nil || job.Spec.TTLSecondsAfterFinished == nil {
		return 0, false
	}
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			at := c.LastTransitionTime.Add(time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second)
			return max(0, at.Sub(now)), true
		}
	}
	return 0, false
}
