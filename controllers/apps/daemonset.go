package apps

import (
	"context"
	"fmt"
	"reflect"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	daemonBurst = 250

	failedDaemonPod    = "FailedDaemonPod"
	succeededDaemonPod = "SucceededDaemonPod"
)

// DaemonSet keeps one pod of each DaemonSet on every node it belongs on.
type DaemonSet struct {
	Client       client.Client
	Live         client.Reader
	Pods         *control.Pods
	Expectations *control.Expectations
	Clock        clock.Clock
	// backoff slows the replacement of pods that fail on a node, often because
	// the node agent refuses them.
	backoff *flowcontrol.Backoff
}

// NewDaemonSet returns the reconciler.
func NewDaemonSet(c client.Client, live client.Reader, recorder record.EventRecorder, clk clock.Clock) *DaemonSet {
	backoff := flowcontrol.NewBackOff(time.Second, 15*time.Minute)
	backoff.Clock = clk
	return &DaemonSet{
		Client: c, Live: live, Clock: clk, backoff: backoff,
		Pods:         &control.Pods{Client: c, Recorder: recorder},
		Expectations: control.NewExpectations(clk),
	}
}

// SetupDaemonSet registers the controller.
func SetupDaemonSet(env *control.Env) error {
	r := NewDaemonSet(env.Client(), env.Live(), env.Recorder("daemonset-controller"), env.Clock)
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("daemonset").
		WithOptions(controller.Options{MaxConcurrentReconciles: 2}).
		For(&appsv1.DaemonSet{}).
		// A revision just made is no reason to look: another's copy of one in use
		// is removed with the next change, as upstream does.
		Owns(&appsv1.ControllerRevision{}, builder.WithPredicates(predicate.Funcs{CreateFunc: func(event.CreateEvent) bool { return false }})).
		Watches(&corev1.Pod{}, r.podEvents()).
		Watches(&corev1.Node{}, r.nodeEvents()).
		Complete(r)
}

func (r *DaemonSet) podEvents() handler.EventHandler {
	return control.PodEvents{Kind: daemonSetKind.Kind, Expectations: r.Expectations, Adopters: r.adopters}.Handler()
}

func (r *DaemonSet) adopters(ctx context.Context, pod *corev1.Pod) []types.NamespacedName {
	var list appsv1.DaemonSetList
	if err := r.Client.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list daemon sets for an orphan", "pod", klog.KObj(pod))
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

// nodeEvents queues the DaemonSets for which a node's change matters.
func (r *DaemonSet) nodeEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q control.Queue) { r.enqueueFor(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) {
			old, ok1 := e.ObjectOld.(*corev1.Node)
			node, ok2 := e.ObjectNew.(*corev1.Node)
			if ok1 && ok2 && (!equality.Semantic.DeepEqual(old.Labels, node.Labels) || !equality.Semantic.DeepEqual(old.Spec.Taints, node.Spec.Taints)) {
				r.enqueueFor(ctx, node, q)
			}
		},
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q control.Queue) { r.enqueueFor(ctx, nil, q) },
	}
}

// enqueueFor queues the DaemonSets that should start or stop a pod on the node,
// or whose count of misplaced pods may change; all of them for no node.
func (r *DaemonSet) enqueueFor(ctx context.Context, obj client.Object, q control.Queue) {
	var sets appsv1.DaemonSetList
	if err := r.Client.List(ctx, &sets); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list daemon sets for a node")
		return
	}
	if len(sets.Items) == 0 {
		return
	}
	node, _ := obj.(*corev1.Node)
	has := map[types.UID]bool{}
	if node != nil {
		var pods corev1.PodList
		if err := r.Client.List(ctx, &pods, client.MatchingFields{control.NodeIndex: node.Name}); err != nil {
			klog.FromContext(ctx).Error(err, "Could not list the pods of a node", "node", node.Name)
			return
		}
		for i := range pods.Items {
			if ref := metav1.GetControllerOfNoCopy(&pods.Items[i]); ref != nil {
				has[ref.UID] = true
			}
		}
	}
	for i := range sets.Items {
		ds := &sets.Items[i]
		if node != nil {
			run, stay := newPlacement(ds, klog.FromContext(ctx)).at(node)
			scheduled := has[ds.UID]
			if !(run && !scheduled) && !(!stay && scheduled) && !(scheduled && ds.Status.NumberMisscheduled > 0) {
				continue
			}
		}
		q.Add(reconcile.Request{NamespacedName: control.Key(ds)})
	}
}

// Reconcile brings one DaemonSet's pods to its nodes and template.
func (r *DaemonSet) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var ds appsv1.DaemonSet
	if err := r.Client.Get(ctx, req.NamespacedName, &ds); err != nil {
		if apierrors.IsNotFound(err) {
			r.Expectations.Forget(req.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if reflect.DeepEqual(ds.Spec.Selector, &metav1.LabelSelector{}) {
		r.Pods.Recorder.Eventf(&ds, corev1.EventTypeWarning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return reconcile.Result{}, nil
	}
	if ds.DeletionTimestamp != nil {
		// Its revisions may be gone already, so nothing can be said of its pods.
		return reconcile.Result{}, nil
	}
	satisfied, wait := r.Expectations.Satisfied(req.NamespacedName)
	pods, err := r.claim(ctx, &ds)
	if err != nil {
		return reconcile.Result{}, err
	}
	current, old, err := r.history(ctx, &ds, pods)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("revisions of daemon set %s: %w", req.NamespacedName, err)
	}
	s, err := r.state(ctx, &ds, current.Labels[appsv1.DefaultDaemonSetUniqueLabelKey], pods)
	if err != nil {
		return reconcile.Result{}, err
	}
	var syncErr error
	if satisfied {
		wait, syncErr = r.sync(ctx, s)
		if syncErr == nil {
			syncErr = r.cleanupHistory(ctx, &ds, old, pods)
		}
	}
	status := s.status(satisfied)
	if err := r.writeStatus(ctx, &ds, status); err != nil && syncErr == nil {
		syncErr = err
	}
	if syncErr != nil {
		return reconcile.Result{}, syncErr
	}
	if status.NumberReady != status.NumberAvailable {
		if next, ok := control.NextAvailability(pods, ds.Spec.MinReadySeconds, s.now); ok {
			wait = soonest(wait, next)
		}
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

func (r *DaemonSet) claim(ctx context.Context, ds *appsv1.DaemonSet) ([]*corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("daemon set %s: spec.selector: %w", klog.KObj(ds), err)
	}
	all, err := control.PodsOf(ctx, r.Client, ds.Namespace, ds.UID, true)
	if err != nil {
		return nil, err
	}
	return control.Claim(ctx, &control.Claimer{Client: r.Client, Live: r.Live, Owner: ds, Kind: daemonSetKind, Selector: selector}, all, nil)
}

func (r *DaemonSet) state(ctx context.Context, ds *appsv1.DaemonSet, hash string, pods []*corev1.Pod) (*daemonState, error) {
	nodes, err := control.Nodes{Reader: r.Client}.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	return &daemonState{
		ds: ds, hash: hash, nodes: nodes, place: newPlacement(ds, klog.FromContext(ctx)), pods: byNode(pods, false), now: r.Clock.Now(),
	}, nil
}

// sync carries the plan out: first what is missing or too much, then, if that
// was nothing, the next step of a rolling update.
func (r *DaemonSet) sync(ctx context.Context, s *daemonState) (wait time.Duration, err error) {
	plan := s.manage()
	for _, p := range plan.succeeded {
		r.Pods.Recorder.Eventf(s.ds, corev1.EventTypeNormal, succeededDaemonPod, "Found succeeded daemon pod %s/%s on node %s, will try to delete it", p.Namespace, p.Name, targetNode(p))
		plan.delete = append(plan.delete, p)
	}
	for _, p := range plan.failed {
		key := fmt.Sprintf("%s/%d/%s", s.ds.UID, s.ds.Status.ObservedGeneration, targetNode(p))
		if r.backoff.IsInBackOffSinceUpdate(key, s.now) {
			wait = soonest(wait, r.backoff.Get(key))
			continue
		}
		r.backoff.Next(key, s.now)
		r.Pods.Recorder.Eventf(s.ds, corev1.EventTypeWarning, failedDaemonPod, "Found failed daemon pod %s/%s on node %s, will try to kill it", p.Namespace, p.Name, targetNode(p))
		plan.delete = append(plan.delete, p)
	}
	r.backoff.GC()
	if err := r.carryOut(ctx, s, plan); err != nil {
		return wait, err
	}
	if len(plan.create)+len(plan.delete) == 0 && s.ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		return wait, r.carryOut(ctx, s, s.rollingUpdate())
	}
	return wait, nil
}

func (r *DaemonSet) carryOut(ctx context.Context, s *daemonState, plan daemonPlan) error {
	key := control.Key(s.ds)
	create := plan.create[:min(len(plan.create), daemonBurst)]
	doomed := plan.delete[:min(len(plan.delete), daemonBurst)]
	r.Expectations.ExpectCreations(key, len(create))
	for _, p := range doomed {
		r.Expectations.ExpectDeletions(key, p.UID)
	}
	created, err := control.SlowStart(len(create), control.SlowStartInitialBatchSize, func(i int) error {
		err := r.Pods.Create(ctx, daemonPod(s.ds, create[i], s.hash), s.ds)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		return err
	})
	r.Expectations.CreationsObserved(key, len(create)-created)
	deleteErr := control.Parallel(len(doomed), func(i int) error {
		err := r.Pods.Delete(ctx, doomed[i], s.ds)
		if err != nil {
			r.Expectations.DeletionObserved(key, doomed[i].UID)
		}
		return client.IgnoreNotFound(err)
	})
	if err == nil {
		err = deleteErr
	}
	return err
}

func (r *DaemonSet) writeStatus(ctx context.Context, ds *appsv1.DaemonSet, status appsv1.DaemonSetStatus) error {
	if equality.Semantic.DeepEqual(ds.Status, status) {
		return nil
	}
	next := ds.DeepCopy()
	next.Status = status
	err := r.Client.Status().Update(ctx, next)
	if !apierrors.IsConflict(err) {
		return client.IgnoreNotFound(err)
	}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(ds), next); err != nil {
		return client.IgnoreNotFound(err)
	}
	if next.UID != ds.UID {
		return nil
	}
	status.CollisionCount = next.Status.CollisionCount
	next.Status = status
	return client.IgnoreNotFound(r.Client.Status().Update(ctx, next))
}
