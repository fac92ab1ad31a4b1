package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
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

// Settings are the times and thresholds of the watch over nodes, as
// kube-controller-manager's flags of similar names.
type Settings struct {
	// MonitorPeriod is how often a node that is not ready is looked at again.
	MonitorPeriod time.Duration
	// MonitorGracePeriod is how long a node may be silent (no Lease renewal, no
	// status) before its conditions turn Unknown; StartupGracePeriod holds for
	// one that never reported.
	MonitorGracePeriod time.Duration
	StartupGracePeriod time.Duration
	// EvictionRate is how many nodes per second and zone may be tainted
	// NoExecute; SecondaryEvictionRate holds when UnhealthyZoneThreshold (a
	// share) of the zone is not ready, in clusters of more than
	// LargeClusterSize nodes; smaller ones stop evicting then.
	EvictionRate           float64
	SecondaryEvictionRate  float64
	UnhealthyZoneThreshold float64
	LargeClusterSize       int
}

// DefaultSettings are upstream's.
func DefaultSettings() Settings {
	return Settings{
		MonitorPeriod: 5 * time.Second, MonitorGracePeriod: 50 * time.Second, StartupGracePeriod: time.Minute,
		EvictionRate: 0.1, SecondaryEvictionRate: 0.01, UnhealthyZoneThreshold: 0.55, LargeClusterSize: 50,
	}
}

// Lifecycle watches over nodes: one that is not heard of for the grace period
// gets Unknown conditions and its pods are marked not ready; conditions become
// taints. It sleeps until the next node may turn silent: a Lease's renewal is
// only noted, not acted upon.
type Lifecycle struct {
	client   client.Client
	clock    clock.PassiveClock
	recorder record.EventRecorder
	settings Settings

	mu    sync.Mutex
	nodes map[string]*watched
	// tainted is when a node of the zone was last tainted NoExecute.
	tainted map[string]time.Time
}

// watched is what we remember of a node between looks.
type watched struct {
	uid types.UID
	// heard is when we last saw a sign of life, by our own clock.
	heard     time.Time
	lease     metav1.MicroTime // renewal last seen
	heartbeat metav1.Time      // of the Ready condition, last seen
	// unmarked: its pods have yet to be marked not ready.
	unmarked bool
}

// NewLifecycle returns the controller. The client reads from a cache with
// control.NodeIndex; the recorder's source should be node-controller.
func NewLifecycle(c client.Client, clock clock.PassiveClock, recorder record.EventRecorder, settings Settings) *Lifecycle {
	return &Lifecycle{
		client: c, clock: clock, recorder: recorder, settings: settings,
		nodes: map[string]*watched{}, tainted: map[string]time.Time{},
	}
}

// SetupLifecycle registers the controller with upstream's defaults.
func SetupLifecycle(env *control.Env) error {
	return NewLifecycle(env.Client(), env.Clock, env.Recorder("node-controller"), DefaultSettings()).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller under the name node-lifecycle.
func (r *Lifecycle) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("node-lifecycle").
		For(&corev1.Node{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: r.nodeChanged})).
		Watches(&coordinationv1.Lease{}, r.leaseHandler()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(r)
}

// nodeChanged notes a heartbeat, and reports whether more than that changed.
func (r *Lifecycle) nodeChanged(e event.UpdateEvent) bool {
	old, ok1 := e.ObjectOld.(*corev1.Node)
	node, ok2 := e.ObjectNew.(*corev1.Node)
	if !ok1 || !ok2 {
		return true
	}
	r.mu.Lock()
	r.hear(node, nil)
	r.mu.Unlock()
	return old.UID != node.UID || old.Spec.Unschedulable != node.Spec.Unschedulable ||
		!equality.Semantic.DeepEqual(old.Spec.Taints, node.Spec.Taints) || !maps.Equal(old.Labels, node.Labels) ||
		!slices.EqualFunc(old.Status.Conditions, node.Status.Conditions, func(a, b corev1.NodeCondition) bool {
			return a.Type == b.Type && a.Status == b.Status
		})
}

// leaseHandler notes renewals; nothing is queued, thousands come per second.
func (r *Lifecycle) leaseHandler() handler.EventHandler {
	note := func(obj client.Object) {
		lease, ok := obj.(*coordinationv1.Lease)
		if !ok || lease.Namespace != corev1.NamespaceNodeLease {
			return
		}
		r.mu.Lock()
		if w := r.nodes[lease.Name]; w != nil {
			w.renewed(lease, r.clock.Now())
		}
		r.mu.Unlock()
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ control.Queue) { note(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ control.Queue) { note(e.ObjectNew) },
	}
}

func (w *watched) renewed(lease *coordinationv1.Lease, now time.Time) {
	if t := lease.Spec.RenewTime; t != nil && w.lease.Before(t) {
		w.lease, w.heard = *t, now
	}
}

// hear takes over signs of life, and returns what is known of the node.
func (r *Lifecycle) hear(node *corev1.Node, lease *coordinationv1.Lease) (w *watched, isNew bool) {
	now := r.clock.Now()
	ready := nodeCondition(node, corev1.NodeReady)
	w = r.nodes[node.Name]
	if isNew = w == nil || w.uid != node.UID; isNew {
		// We know it from now on; a node that never reported, from its creation.
		w = &watched{uid: node.UID, heard: now}
		if ready == nil {
			w.heard = node.CreationTimestamp.Time
		} else {
			w.heartbeat = ready.LastHeartbeatTime
			w.unmarked = ready.Status == corev1.ConditionUnknown
		}
		r.nodes[node.Name] = w
	}
	if ready != nil && !ready.LastHeartbeatTime.Equal(&w.heartbeat) {
		w.heartbeat, w.heard = ready.LastHeartbeatTime, now
	}
	if lease != nil {
		w.renewed(lease, now)
	}
	return w, isNew
}

// Reconcile looks after one node.
func (r *Lifecycle) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cached corev1.Node
	if err := r.client.Get(ctx, req.NamespacedName, &cached); err != nil {
		if !apierrors.IsNotFound(err) {
			return ctrl.Result{}, fmt.Errorf("node lifecycle: get node %s: %w", req.Name, err)
		}
		r.forget(req.Name)
		return ctrl.Result{}, nil
	}
	node := cached.DeepCopy()
	var lease *coordinationv1.Lease
	var found coordinationv1.Lease
	switch err := r.client.Get(ctx, types.NamespacedName{Namespace: corev1.NamespaceNodeLease, Name: req.Name}, &found); {
	case err == nil:
		lease = &found
	case !apierrors.IsNotFound(err):
		return ctrl.Result{}, fmt.Errorf("node lifecycle: get lease %s: %w", req.Name, err)
	}

	now := metav1.NewTime(r.clock.Now())
	r.mu.Lock()
	w, isNew := r.hear(node, lease)
	silent := silentSince(node, w.heard, r.settings)
	r.mu.Unlock()
	if isNew {
		r.event(node.Name, node.UID, "RegisteredNode", fmt.Sprintf("Node %s event: Registered Node %s in Controller", node.Name, node.Name))
	}
	if now.After(silent) {
		if err := r.setUnknown(ctx, node, now); err != nil {
			return again(err)
		}
	}
	if err := r.markPods(ctx, node, now); err != nil {
		return again(err)
	}
	if err := r.setTaints(ctx, node, now); err != nil {
		return again(err)
	}
	if ready := nodeCondition(node, corev1.NodeReady); ready != nil && ready.Status != corev1.ConditionTrue {
		return ctrl.Result{RequeueAfter: r.settings.MonitorPeriod}, nil
	}
	// A little late, so that the look is after the moment.
	return ctrl.Result{RequeueAfter: max(silent.Sub(now.Time), 0) + 10*time.Millisecond}, nil
}

// again retries after a conflict without making noise: the cache was behind.
func again(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	}
	return ctrl.Result{}, err
}

func (r *Lifecycle) forget(name string) {
	r.mu.Lock()
	w := r.nodes[name]
	delete(r.nodes, name)
	r.mu.Unlock()
	if w != nil {
		r.event(name, w.uid, "RemovingNode", fmt.Sprintf("Node %s event: Removing Node %s from Controller", name, name))
	}
}

func (r *Lifecycle) event(node string, uid types.UID, reason, message string) {
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: uid}
	r.recorder.Event(ref, corev1.EventTypeNormal, reason, message)
}

// setUnknown writes the conditions of a silent node.
func (r *Lifecycle) setUnknown(ctx context.Context, node *corev1.Node, now metav1.Time) error {
	conditions, changed := withUnknown(node, now)
	if !changed {
		return nil
	}
	was := nodeCondition(node, corev1.NodeReady)
	wasReady := was != nil && was.Status == corev1.ConditionTrue
	node.Status.Conditions = conditions
	if err := r.client.Status().Update(ctx, node); err != nil {
		return fmt.Errorf("node lifecycle: set conditions of node %s unknown: %w", node.Name, err)
	}
	klog.FromContext(ctx).Info("Node is silent; its conditions are unknown now", "node", klog.KObj(node))
	if wasReady {
		r.event(node.Name, node.UID, "NodeNotReady", fmt.Sprintf("Node %s status is now: NodeNotReady", node.Name))
	}
	r.mu.Lock()
	if w := r.nodes[node.Name]; w != nil {
		w.unmarked = true
		w.heartbeat = nodeCondition(node, corev1.NodeReady).LastHeartbeatTime
	}
	r.mu.Unlock()
	return nil
}

// markPods sets the pods of a silent node not ready: nobody else can.
func (r *Lifecycle) markPods(ctx context.Context, node *corev1.Node, now metav1.Time) error {
	ready := nodeCondition(node, corev1.NodeReady)
	r.mu.Lock()
	w := r.nodes[node.Name]
	todo := w != nil && w.unmarked && ready != nil && ready.Status == corev1.ConditionUnknown
	r.mu.Unlock()
	if !todo {
		return nil
	}
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, client.MatchingFields{control.NodeIndex: node.Name}); err != nil {
		return fmt.Errorf("node lifecycle: list pods of node %s: %w", node.Name, err)
	}
	var errs []error
	for i := range pods.Items {
		condition := control.PodCondition(&pods.Items[i], corev1.PodReady)
		if condition == nil || condition.Status == corev1.ConditionFalse {
			continue
		}
		pod := pods.Items[i].DeepCopy()
		condition = control.PodCondition(pod, corev1.PodReady)
		condition.Status, condition.LastTransitionTime = corev1.ConditionFalse, now
		if err := r.client.Status().Update(ctx, pod); err != nil {
			if !apierrors.IsNotFound(err) {
				errs = append(errs, fmt.Errorf("node lifecycle: mark pod %s/%s not ready: %w", pod.Namespace, pod.Name, err))
			}
			continue
		}
		r.recorder.Event(pod, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	r.mu.Lock()
	w.unmarked = false
	r.mu.Unlock()
	return nil
}

// setTaints brings taints in line with conditions, and beta labels with the stable ones.
func (r *Lifecycle) setTaints(ctx context.Context, node *corev1.Node, now metav1.Time) error {
	do, zone, err := r.execution(ctx, node, now.Time)
	if err != nil {
		return err
	}
	old := node.DeepCopy()
	taints, changed := nextTaints(node, do, now)
	if changed {
		node.Spec.Taints = taints
	}
	for stable, beta := range map[string]string{corev1.LabelOSStable: "beta.kubernetes.io/os", corev1.LabelArchStable: "beta.kubernetes.io/arch"} {
		if v := node.Labels[stable]; v != "" && node.Labels[beta] != v {
			node.Labels[beta] = v
			changed = true
		}
	}
	if !changed {
		return nil
	}
	if err := r.client.Patch(ctx, node, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("node lifecycle: set taints of node %s: %w", node.Name, err)
	}
	if do == evict {
		r.mu.Lock()
		r.tainted[zone] = now.Time
		r.mu.Unlock()
	}
	return nil
}

// execution decides about the node's NoExecute taint.
func (r *Lifecycle) execution(ctx context.Context, node *corev1.Node, now time.Time) (do execution, zone string, err error) {
	zone = zoneOf(node)
	key, ok := executeKey(node)
	if !ok || key == "" {
		return leave, zone, nil
	}
	var nodes corev1.NodeList
	if err := r.client.List(ctx, &nodes); err != nil {
		return leave, zone, fmt.Errorf("node lifecycle: list nodes: %w", err)
	}
	// Our own write of a moment ago may not be in the cache yet.
	for i := range nodes.Items {
		if nodes.Items[i].Name == node.Name {
			nodes.Items[i].Status.Conditions = node.Status.Conditions
		}
	}
	z := countZones(nodes.Items)
	if z.allFull(r.settings) {
		return spare, zone, nil
	}
	if hasExecute(node, key) {
		return leave, zone, nil
	}
	interval := z.interval(zone, r.settings)
	r.mu.Lock()
	last, before := r.tainted[zone]
	r.mu.Unlock()
	if interval == 0 || before && now.Sub(last) < interval {
		return leave, zone, nil
	}
	return evict, zone, nil
}
