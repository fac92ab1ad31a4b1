package apps

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// burstReplicas is how many pods one reconciliation creates or deletes at most.
const burstReplicas = 500

// podEventDelay collects the events of pods that change together into one
// reconciliation, which lists them all.
const podEventDelay = 5 * time.Millisecond

// Kinds of the owners in this package.
var (
	replicaSetKind  = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
	deploymentKind  = appsv1.SchemeGroupVersion.WithKind("Deployment")
	daemonSetKind   = appsv1.SchemeGroupVersion.WithKind("DaemonSet")
	statefulSetKind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")
)

// ReplicaSet keeps as many active pods of each ReplicaSet as its spec says.
type ReplicaSet struct {
	// Kind of the owner references that it writes and follows. Other than
	// ReplicaSet, Client and Live must translate objects of that kind.
	Kind         schema.GroupVersionKind
	Client       client.Client
	Live         client.Reader
	Pods         *control.Pods
	Expectations *control.Expectations
	Clock        clock.PassiveClock
	pacer        *control.Pacer
}

// NewReplicaSet returns the reconciler.
func NewReplicaSet(c client.Client, live client.Reader, recorder record.EventRecorder, clk clock.PassiveClock) *ReplicaSet {
	return &ReplicaSet{
		Kind:         replicaSetKind,
		Client:       c,
		Live:         live,
		Pods:         &control.Pods{Client: c, Recorder: recorder},
		Expectations: control.NewExpectations(clk),
		Clock:        clk,
		pacer:        control.NewPacer(clk),
	}
}

// SetupReplicaSet registers the controller.
func SetupReplicaSet(env *control.Env) error {
	r := NewReplicaSet(env.Client(), env.Live(), env.Recorder("replicaset-controller"), env.Clock)
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("replicaset").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&appsv1.ReplicaSet{}).
		Watches(&corev1.Pod{}, r.PodEvents()).
		Complete(r)
}

// PodEvents returns the handler of pod events, which queues their owners.
func (r *ReplicaSet) PodEvents() handler.EventHandler {
	return control.PodEvents{
		Kind: r.Kind.Kind, Expectations: r.Expectations, Adopters: r.adopters,
		Enqueue: func(owner types.NamespacedName, q control.Queue) {
			q.AddAfter(reconcile.Request{NamespacedName: owner}, podEventDelay)
		},
	}.Handler()
}

// adopters lists the ReplicaSets whose selector matches an orphan.
func (r *ReplicaSet) adopters(ctx context.Context, pod *corev1.Pod) []types.NamespacedName {
	var list appsv1.ReplicaSetList
	if err := r.Client.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list replica sets for an orphan", "pod", klog.KObj(pod))
		return nil
	}
	var out []types.NamespacedName
	for i := range list.Items {
		if control.SelectorMatches(list.Items[i].Spec.Selector, pod.Labels) {
			out = append(out, control.Key(&list.Items[i]))
		}
	}
	return out
}

// Reconcile brings one ReplicaSet's pods to its spec and its status to its pods.
func (r *ReplicaSet) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var rs appsv1.ReplicaSet
	if err := r.Client.Get(ctx, req.NamespacedName, &rs); err != nil {
		if apierrors.IsNotFound(err) {
			r.Expectations.Forget(req.NamespacedName)
			r.pacer.Forget(req.NamespacedName)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, err
	}
	satisfied, retryIn := r.Expectations.Satisfied(req.NamespacedName)
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		// Validation refuses such selectors; nothing to retry.
		klog.FromContext(ctx).Error(err, "Invalid selector: correct spec.selector", "replicaSet", req.NamespacedName)
		return reconcile.Result{}, nil
	}
	all, err := control.PodsOf(ctx, r.Client, rs.Namespace, rs.UID, true)
	if err != nil {
		return reconcile.Result{}, err
	}
	terminating := 0
	for _, p := range all {
		if control.PodTerminating(p) && control.OwnedBy(p, &rs) && control.SelectorMatches(rs.Spec.Selector, p.Labels) {
			terminating++
		}
	}
	claimer := &control.Claimer{Client: r.Client, Live: r.Live, Owner: &rs, Kind: r.Kind, Selector: selector}
	active, err := control.Claim(ctx, claimer, control.Filter(all, control.PodActive), nil)
	if err != nil {
		return reconcile.Result{}, err
	}

	var manageErr error
	if satisfied && rs.DeletionTimestamp == nil {
		manageErr = r.manage(ctx, &rs, active)
		retryIn = 0
	}
	now := r.Clock.Now()
	status := replicaSetStatus(&rs, active, terminating, manageErr, now)
	if r.Kind != replicaSetKind {
		status.TerminatingReplicas = nil // a ReplicationController does not have it
	}
	if !equality.Semantic.DeepEqual(rs.Status, status) {
		if onlyProgress(&rs, status) {
			if wait := r.pacer.Due(req.NamespacedName); wait > 0 {
				return reconcile.Result{RequeueAfter: soonest(retryIn, wait)}, manageErr
			}
		}
		r.pacer.Note(req.NamespacedName, len(active))
		if err := r.writeStatus(ctx, &rs, status); err != nil {
			return reconcile.Result{}, err
		}
	}
	if manageErr != nil {
		return reconcile.Result{}, manageErr
	}
	if status.ReadyReplicas != status.AvailableReplicas {
		if wait, ok := control.NextAvailability(active, rs.Spec.MinReadySeconds, now); ok {
			retryIn = soonest(retryIn, wait)
		}
	}
	return reconcile.Result{RequeueAfter: retryIn}, nil
}

// soonest of two waits, where 0 means none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// onlyProgress reports whether the status is just a further count on the way to
// all replicas being available, which may wait for the next one.
func onlyProgress(rs *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) bool {
	return status.AvailableReplicas != ptr.Deref(rs.Spec.Replicas, 1) &&
		status.ObservedGeneration == rs.Status.ObservedGeneration &&
		len(status.Conditions) == len(rs.Status.Conditions)
}

func (r *ReplicaSet) writeStatus(ctx context.Context, rs *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) error {
	next := rs.DeepCopy()
	next.Status = status
	err := r.Client.Status().Update(ctx, next)
	if !apierrors.IsConflict(err) {
		return client.IgnoreNotFound(err)
	}
	// One try with the object as it is now; the generation we acted on stays.
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(rs), next); err != nil {
		return client.IgnoreNotFound(err)
	}
	if next.UID != rs.UID {
		return fmt.Errorf("replica set %s was replaced while its status was computed", klog.KObj(rs))
	}
	next.Status = status
	return client.IgnoreNotFound(r.Client.Status().Update(ctx, next))
}

// manage creates or deletes pods towards spec.replicas.
func (r *ReplicaSet) manage(ctx context.Context, rs *appsv1.ReplicaSet, active []*corev1.Pod) error {
	diff := len(active) - int(ptr.Deref(rs.Spec.Replicas, 1))
	switch {
	case diff < 0:
		return r.create(ctx, rs, min(-diff, burstReplicas))
	case diff > 0:
		return r.delete(ctx, rs, active, min(diff, burstReplicas))
	}
	return nil
}

func (r *ReplicaSet) create(ctx context.Context, rs *appsv1.ReplicaSet, n int) error {
	klog.FromContext(ctx).V(2).Info("Too few replicas", "replicaSet", klog.KObj(rs), "need", ptr.Deref(rs.Spec.Replicas, 1), "creating", n)
	owner := control.Key(rs)
	r.Expectations.ExpectCreations(owner, n)
	created, err := control.SlowStart(n, control.SlowStartInitialBatchSize, func(int) error {
		err := r.Pods.Create(ctx, control.PodFromTemplate(&rs.Spec.Template, rs, r.Kind), rs)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			// No pod can be created there any more. The expectation stays open,
			// which keeps us from trying again.
			return nil
		}
		return err
	})
	r.Expectations.CreationsObserved(owner, n-created)
	return err
}

func (r *ReplicaSet) delete(ctx context.Context, rs *appsv1.ReplicaSet, active []*corev1.Pod, n int) error {
	klog.FromContext(ctx).V(2).Info("Too many replicas", "replicaSet", klog.KObj(rs), "need", ptr.Deref(rs.Spec.Replicas, 1), "deleting", n)
	if n < len(active) {
		related, err := r.siblingPods(ctx, rs)
		if err != nil {
			return err
		}
		control.RankForDeletion(active, related, r.Clock.Now())
	}
	doomed := active[:n]
	owner := control.Key(rs)
	for _, p := range doomed {
		r.Expectations.ExpectDeletions(owner, p.UID)
	}
	return control.Parallel(len(doomed), func(i int) error {
		err := r.Pods.Delete(ctx, doomed[i], rs)
		if err != nil {
			r.Expectations.DeletionObserved(owner, doomed[i].UID)
		}
		return client.IgnoreNotFound(err)
	})
}

// siblingPods lists the pods of all ReplicaSets with the same controller.
func (r *ReplicaSet) siblingPods(ctx context.Context, rs *appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	uids := []types.UID{rs.UID}
	if ref := metav1.GetControllerOfNoCopy(rs); ref != nil {
		var list appsv1.ReplicaSetList
		if err := r.Client.List(ctx, &list, client.InNamespace(rs.Namespace), client.MatchingFields{control.OwnerIndex: string(ref.UID)}); err != nil {
			return nil, err
		}
		uids = uids[:0]
		for i := range list.Items {
			uids = append(uids, list.Items[i].UID)
		}
	}
	var out []*corev1.Pod
	for _, uid := range uids {
		pods, err := control.PodsOf(ctx, r.Client, rs.Namespace, uid, false)
		if err != nil {
			return nil, err
		}
		out = append(out, pods...)
	}
	return out, nil
}
