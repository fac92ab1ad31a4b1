package batch

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// JobOrphans takes the job tracking finalizer off pods that no unfinished job
// counts any more: without a controller, or whose job is gone or finished.
// Otherwise such pods could never be deleted. Requests are pods.
type JobOrphans struct {
	Client client.Client
}

// SetupJobOrphans registers the controller.
func SetupJobOrphans(env *control.Env) error {
	r := &JobOrphans{Client: env.Client()}
	held := predicate.NewPredicateFuncs(func(obj client.Object) bool {
		p, ok := obj.(*corev1.Pod)
		return ok && tracked(p)
	})
	done := func(obj client.Object) bool {
		job, ok := obj.(*batchv1.Job)
		return ok && finishedJob(job)
	}
	ended := predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return done(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return done(e.ObjectNew) },
	}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("job-orphans").
		For(&corev1.Pod{}, builder.WithPredicates(held)).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(r.podsOf), builder.WithPredicates(ended)).
		Complete(r)
}

// podsOf lists the pods of a job that still have the finalizer.
func (r *JobOrphans) podsOf(ctx context.Context, job client.Object) []reconcile.Request {
	pods, err := control.PodsOf(ctx, r.Client, job.GetNamespace(), job.GetUID(), false)
	if err != nil {
		return nil
	}
	var out []reconcile.Request
	for _, p := range pods {
		if tracked(p) {
			out = append(out, reconcile.Request{NamespacedName: control.Key(p)})
		}
	}
	return out
}

// Reconcile looks at one pod.
func (r *JobOrphans) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var p corev1.Pod
	if err := r.Client.Get(ctx, req.NamespacedName, &p); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !tracked(&p) {
		return reconcile.Result{}, nil
	}
	if ref := metav1.GetControllerOfNoCopy(&p); ref != nil {
		if ref.Kind != jobKind.Kind || ref.APIVersion != batchv1.SchemeGroupVersion.String() {
			return reconcile.Result{}, nil
		}
		var job batchv1.Job
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: ref.Name}, &job)
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, err
		}
		if err == nil && job.UID == ref.UID && (managedByOther(&job) || !finishedJob(&job)) {
			return reconcile.Result{}, nil
		}
	}
	return reconcile.Result{}, client.IgnoreNotFound(removeTracking(ctx, r.Client, &p))
}
