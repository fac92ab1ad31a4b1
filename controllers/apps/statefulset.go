package apps

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// StatefulSet keeps the pods of each StatefulSet, which have names and claims
// of their own, and rolls them from one revision to the next.
type StatefulSet struct {
	Client       client.Client
	Live         client.Reader
	Recorder     record.EventRecorder
	Expectations *control.Expectations
	Clock        clock.PassiveClock
}

// NewStatefulSet returns the reconciler.
func NewStatefulSet(c client.Client, live client.Reader, recorder record.EventRecorder, clk clock.PassiveClock) *StatefulSet {
	return &StatefulSet{Client: c, Live: live, Recorder: recorder, Clock: clk, Expectations: control.NewExpectations(clk)}
}

// SetupStatefulSet registers the controller.
func SetupStatefulSet(env *control.Env) error {
	r := NewStatefulSet(env.Client(), env.Live(), env.Recorder("statefulset-controller"), env.Clock)
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("statefulset").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&appsv1.StatefulSet{}).
		Watches(&corev1.Pod{}, r.podEvents()).
		Complete(r)
}

func (r *StatefulSet) podEvents() handler.EventHandler {
	return control.PodEvents{Kind: statefulSetKind.Kind, Expectations: r.Expectations, Adopters: r.adopters}.Handler()
}

// adopters lists the StatefulSets whose selector matches an orphan.
func (r *StatefulSet) adopters(ctx context.Context, pod *corev1.Pod) []types.NamespacedName {
	var list appsv1.StatefulSetList
	if err := r.Client.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list stateful sets for an orphan", "pod", klog.KObj(pod))
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

// Reconcile takes one StatefulSet one step further.
func (r *StatefulSet) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var set appsv1.StatefulSet
	if err := r.Client.Get(ctx, req.NamespacedName, &set); err != nil {
		if apierrors.IsNotFound(err) {
			r.Expectations.Forget(req.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	// What was done last must be seen before the next step is chosen.
	if ok, wait := r.Expectations.Satisfied(req.NamespacedName); !ok {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Invalid selector: correct spec.selector", "statefulSet", req.NamespacedName)
		return reconcile.Result{}, nil
	}
	history, err := r.revisions(ctx, &set, selector)
	if err != nil {
		return reconcile.Result{}, err
	}
	all, err := control.PodsOf(ctx, r.Client, set.Namespace, set.UID, true)
	if err != nil {
		return reconcile.Result{}, err
	}
	member := func(p *corev1.Pod) bool {
		parent, _ := podOrdinal(p)
		return parent == set.Name
	}
	pods, err := control.Claim(ctx, &control.Claimer{Client: r.Client, Live: r.Live, Owner: &set, Kind: statefulSetKind, Selector: selector}, all, member)
	if err != nil {
		return reconcile.Result{}, err
	}
	current, update, collisions, err := r.currentAndUpdate(ctx, &set, history)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("revisions of stateful set %s: %w", req.NamespacedName, err)
	}
	now := r.Clock.Now()
	state, err := newStatefulState(&set, current, update, pods, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	status, err := r.sync(ctx, state, pods, collisions)
	state.complete(&status)
	err = errors.Join(err, r.writeStatus(ctx, &set, status), r.truncateHistory(ctx, &set, pods, history, current, update))
	if err != nil {
		return reconcile.Result{}, err
	}
	var wait time.Duration
	if set.Spec.MinReadySeconds > 0 && status.ReadyReplicas != status.AvailableReplicas {
		wait = time.Duration(set.Spec.MinReadySeconds) * time.Second
		if next, ok := control.NextAvailability(pods, set.Spec.MinReadySeconds, now); ok {
			wait = next
		}
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// statefulStatusDiffers compares what counts as a change; the collision count
// alone does not.
func statefulStatusDiffers(old, now *appsv1.StatefulSetStatus) bool {
	return now.ObservedGeneration > old.ObservedGeneration ||
		now.Replicas != old.Replicas ||
		now.CurrentReplicas != old.CurrentReplicas ||
		now.ReadyReplicas != old.ReadyReplicas ||
		now.UpdatedReplicas != old.UpdatedReplicas ||
		now.AvailableReplicas != old.AvailableReplicas ||
		now.CurrentRevision != old.CurrentRevision ||
		now.UpdateRevision != old.UpdateRevision
}

func (r *StatefulSet) writeStatus(ctx context.Context, set *appsv1.StatefulSet, status appsv1.StatefulSetStatus) error {
	if !statefulStatusDiffers(&set.Status, &status) {
		return nil
	}
	next := set.DeepCopy()
	next.Status = status
	err := r.Client.Status().Update(ctx, next)
	if !apierrors.IsConflict(err) {
		return client.IgnoreNotFound(err)
	}
	next = &appsv1.StatefulSet{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(set), next); err != nil {
		return client.IgnoreNotFound(err)
	}
	if next.UID != set.UID {
		return nil
	}
	next.Status = status
	return client.IgnoreNotFound(r.Client.Status().Update(ctx, next))
}
