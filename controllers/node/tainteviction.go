package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"proa/controllers/control"
)

// TaintEviction deletes pods from nodes with NoExecute taints: at once where a
// taint is not tolerated, after the shortest tolerationSeconds otherwise.
type TaintEviction struct {
	client   client.Client
	clock    clock.PassiveClock
	recorder record.EventRecorder

	mu sync.Mutex
	// due has, for every node with NoExecute taints, the pods that are to be
	// deleted, and when.
	due map[string]map[types.UID]eviction
}

type eviction struct {
	pod types.NamespacedName
	at  time.Time
}

// NewTaintEviction returns the controller. The client reads from a cache with
// control.NodeIndex; the recorder's source should be taint-eviction-controller.
func NewTaintEviction(c client.Client, clock clock.PassiveClock, recorder record.EventRecorder) *TaintEviction {
	return &TaintEviction{client: c, clock: clock, recorder: recorder, due: map[string]map[types.UID]eviction{}}
}

// SetupTaintEviction registers the controller.
func SetupTaintEviction(env *control.Env) error {
	return NewTaintEviction(env.Client(), env.Clock, env.Recorder("taint-eviction-controller")).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller under the name taint-eviction.
func (r *TaintEviction) SetupWithManager(mgr ctrl.Manager) error {
	changed := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, ok1 := e.ObjectOld.(*corev1.Node)
		node, ok2 := e.ObjectNew.(*corev1.Node)
		return !ok1 || !ok2 || !equality.Semantic.DeepEqual(executeTaints(old), executeTaints(node))
	}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("taint-eviction").
		For(&corev1.Node{}, builder.WithPredicates(changed)).
		Watches(&corev1.Pod{}, r.podHandler()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(r)
}

// podHandler queues the node of a pod that was bound to a tainted node, or
// whose tolerations changed there.
func (r *TaintEviction) podHandler() handler.EventHandler {
	enqueue := func(pod *corev1.Pod, q control.Queue) {
		r.mu.Lock()
		_, tainted := r.due[pod.Spec.NodeName]
		r.mu.Unlock()
		if tainted {
			q.Add(ctrl.Request{NamespacedName: types.NamespacedName{Name: pod.Spec.NodeName}})
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) {
			if pod, ok := e.Object.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
				enqueue(pod, q)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			old, ok1 := e.ObjectOld.(*corev1.Pod)
			pod, ok2 := e.ObjectNew.(*corev1.Pod)
			if ok1 && ok2 && pod.Spec.NodeName != "" && (old.Spec.NodeName != pod.Spec.NodeName ||
				!equality.Semantic.DeepEqual(old.Spec.Tolerations, pod.Spec.Tolerations)) {
				enqueue(pod, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) {
			if pod, ok := e.Object.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
				enqueue(pod, q)
			}
		},
	}
}

func executeTaints(node *corev1.Node) []corev1.Taint {
	var out []corev1.Taint
	for _, t := range node.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute {
			out = append(out, t)
		}
	}
	return out
}

// tolerates returns how long the pod may stay on a node with the taints;
// forever is true when there is no end.
func tolerates(pod *corev1.Pod, taints []corev1.Taint) (stay time.Duration, forever bool) {
	forever = true
	for i := range taints {
		k := slices.IndexFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
			return corev1helpers.TolerationsTolerateTaint(klog.Background(), []corev1.Toleration{t}, &taints[i], false)
		})
		if k < 0 {
			return 0, false
		}
		seconds := pod.Spec.Tolerations[k].TolerationSeconds
		if seconds == nil {
			continue
		}
		d := time.Duration(max(0, *seconds)) * time.Second
		if forever || d < stay {
			stay = d
		}
		forever = false
	}
	return stay, forever
}

// Reconcile deletes the pods of one node that are due, and sleeps until the next is.
func (r *TaintEviction) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var node corev1.Node
	if err := r.client.Get(ctx, req.NamespacedName, &node); err != nil {
		if !apierrors.IsNotFound(err) {
			return ctrl.Result{}, fmt.Errorf("taint eviction: get node %s: %w", req.Name, err)
		}
		r.mu.Lock()
		delete(r.due, req.Name)
		r.mu.Unlock()
		return ctrl.Result{}, nil
	}
	taints := executeTaints(&node)
	r.mu.Lock()
	due, known := r.due[node.Name]
	switch {
	case len(taints) == 0:
		delete(r.due, node.Name)
	case !known:
		due = map[types.UID]eviction{}
		r.due[node.Name] = due
	}
	r.mu.Unlock()
	if len(taints) == 0 {
		for _, e := range due {
			r.event(e.pod, "Cancelling deletion of Pod "+e.pod.String())
		}
		return ctrl.Result{}, nil
	}

	// The node is known as tainted from here on, so no pod bound later is missed.
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, client.MatchingFields{control.NodeIndex: node.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("taint eviction: list pods of node %s: %w", node.Name, err)
	}
	now := r.clock.Now()
	var next time.Time
	var errs []error
	left := map[types.UID]bool{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.DeletionTimestamp != nil {
			continue
		}
		left[pod.UID] = true
		at, ok := r.decide(due, pod, taints, now)
		if !ok {
			continue
		}
		if at.After(now) {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		if err := r.evict(ctx, pod); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(due, pod.UID)
	}
	for uid := range due {
		if !left[uid] {
			delete(due, uid)
		}
	}
	if len(errs) > 0 {
		return ctrl.Result{}, errors.Join(errs...)
	}
	if next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: next.Sub(now)}, nil
}

// decide returns when the pod is to be deleted; ok is false for never. What was
// decided stays, unless the pod may now stay forever or must go at once: a
// second taint does not give it more time, nor less. due is only touched by
// the one reconciliation of its node.
func (r *TaintEviction) decide(due map[types.UID]eviction, pod *corev1.Pod, taints []corev1.Taint, now time.Time) (at time.Time, ok bool) {
	stay, forever := tolerates(pod, taints)
	key := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	decided, was := due[pod.UID]
	switch {
	case forever:
		if was {
			delete(due, pod.UID)
			r.event(key, "Cancelling deletion of Pod "+key.String())
		}
		return time.Time{}, false
	case stay == 0:
		return now, true
	case was:
		return decided.at, true
	}
	due[pod.UID] = eviction{pod: key, at: now.Add(stay)}
	return now.Add(stay), true
}

// evict marks the pod as disrupted (KEP-3329) and deletes it.
func (r *TaintEviction) evict(ctx context.Context, cached *corev1.Pod) error {
	key := types.NamespacedName{Namespace: cached.Namespace, Name: cached.Name}
	klog.FromContext(ctx).Info("Deleting pod", "controller", "taint-eviction-controller", "pod", key)
	r.event(key, "Marking for deletion Pod "+key.String())
	pod := cached.DeepCopy()
	condition := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation,
		Reason: "DeletionByTaintManager", Message: "Taint manager: deleting due to NoExecute taint",
		LastTransitionTime: metav1.NewTime(r.clock.Now()),
	}
	if old := control.PodCondition(pod, corev1.DisruptionTarget); old == nil {
		pod.Status.Conditions = append(pod.Status.Conditions, condition)
	} else if old.Status != corev1.ConditionTrue || old.Reason != condition.Reason {
		*old = condition
	}
	if !equality.Semantic.DeepEqual(pod.Status, cached.Status) {
		if err := r.client.Status().Patch(ctx, pod, client.StrategicMergeFrom(cached)); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("taint eviction: set condition of pod %s: %w", key, err)
		}
	}
	if err := r.client.Delete(ctx, pod, client.Preconditions{UID: &cached.UID}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("taint eviction: delete pod %s: %w", key, err)
	}
	return nil
}

func (r *TaintEviction) event(pod types.NamespacedName, message string) {
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}
	r.recorder.Event(ref, corev1.EventTypeNormal, "TaintManagerEviction", message)
}
