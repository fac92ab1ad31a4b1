package policy

import (
	"context"
	"fmt"
	"sort"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/apps/poddisruptionbudget"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// collectDelay collects the events of pods that change together.
const collectDelay = 5 * time.Millisecond

// staleDelay is waited when the cache was behind somebody's write.
const staleDelay = 50 * time.Millisecond

// Disruption keeps the status of PodDisruptionBudgets, from which the eviction
// of pods is allowed or refused.
type Disruption struct {
	Client   client.Client
	Recorder record.EventRecorder
	Clock    clock.PassiveClock
	// Scale reads the scale of an owner of another kind; nil means it is gone.
	Scale func(ctx context.Context, ref *metav1.OwnerReference, namespace string) (*int32, error)
}

// SetupDisruption registers the controller.
func SetupDisruption(env *control.Env) error {
	scales := scales{client: env.Client(), mapper: env.Manager.GetRESTMapper(), discovery: env.Discovery}
	r := &Disruption{Client: env.Client(), Recorder: env.Recorder("controllermanager"), Clock: env.Clock, Scale: scales.get}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("disruption").
		For(&policyv1.PodDisruptionBudget{}).
		Watches(&corev1.Pod{}, r.podEvents()).
		Complete(r)
}

// podEvents queues the budgets that select a pod, or did before a change.
func (r *Disruption) podEvents() handler.EventHandler {
	queue := func(ctx context.Context, q control.Queue, warn bool, objs ...client.Object) {
		for _, obj := range objs {
			pod, ok := obj.(*corev1.Pod)
			if !ok {
				continue
			}
			budgets := r.budgetsOf(ctx, pod)
			if len(budgets) > 1 && warn {
				r.Recorder.Eventf(pod, corev1.EventTypeWarning, "MultiplePodDisruptionBudgets",
					"Pod %q/%q matches multiple PodDisruptionBudgets.  Chose %q arbitrarily.", pod.Namespace, pod.Name, budgets[0].Name)
			}
			for _, b := range budgets {
				q.AddAfter(reconcile.Request{NamespacedName: b}, collectDelay)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q control.Queue) { queue(ctx, q, true, e.Object) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q control.Queue) { queue(ctx, q, false, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) {
			queue(ctx, q, true, e.ObjectNew)
			if !labels.Equals(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) {
				queue(ctx, q, false, e.ObjectOld)
			}
		},
	}
}

func (r *Disruption) budgetsOf(ctx context.Context, pod *corev1.Pod) []types.NamespacedName {
	var list policyv1.PodDisruptionBudgetList
	if err := r.Client.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list the disruption budgets of a pod", "pod", klog.KObj(pod))
		return nil
	}
	var out []types.NamespacedName
	for i := range list.Items {
		selector, err := metav1.LabelSelectorAsSelector(list.Items[i].Spec.Selector)
		if err == nil && selector.Matches(labels.Set(pod.Labels)) {
			out = append(out, control.Key(&list.Items[i]))
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Reconcile computes the status of one budget. If that fails, no disruption is
// allowed.
func (r *Disruption) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var pdb policyv1.PodDisruptionBudget
	if err := r.Client.Get(ctx, req.NamespacedName, &pdb); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	wait, err := r.sync(ctx, &pdb)
	if apierrors.IsConflict(err) {
		// An eviction was booked meanwhile; the cache will have it in a moment.
		return reconcile.Result{RequeueAfter: staleDelay}, nil
	}
	if err == nil {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	klog.FromContext(ctx).Error(err, "Could not compute the status of a disruption budget", "podDisruptionBudget", req.NamespacedName)
	failed := pdb.DeepCopy()
	failed.Status.DisruptionsAllowed = 0
	meta.SetStatusCondition(&failed.Status.Conditions, r.stamp(metav1.Condition{
		Type:               policyv1.DisruptionAllowedCondition,
		Status:             metav1.ConditionFalse,
		Reason:             policyv1.SyncFailedReason,
		Message:            err.Error(),
		ObservedGeneration: pdb.Status.ObservedGeneration,
	}))
	if equality.Semantic.DeepEqual(pdb.Status, failed.Status) {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(r.Client.Status().Update(ctx, failed))
}

// stamp gives a condition our clock's time, which is kept if it is no transition.
func (r *Disruption) stamp(c metav1.Condition) metav1.Condition {
	c.LastTransitionTime = metav1.NewTime(r.Clock.Now())
	return c
}

// sync computes and writes the status. wait is how long until an announced
// eviction counts as not having happened; 0 if there is none.
func (r *Disruption) sync(ctx context.Context, pdb *policyv1.PodDisruptionBudget) (wait time.Duration, err error) {
	selector, err := metav1.LabelSelectorAsSelector(pdb.Spec.Selector)
	if err != nil {
		r.Recorder.Eventf(pdb, corev1.EventTypeWarning, "NoPods", "Failed to get pods: %v", err)
		return 0, err
	}
	var list corev1.PodList
	if err := r.Client.List(ctx, &list, client.InNamespace(pdb.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		r.Recorder.Eventf(pdb, corev1.EventTypeWarning, "NoPods", "Failed to get pods: %v", err)
		return 0, err
	}
	pods := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = &list.Items[i]
	}
	if len(pods) == 0 {
		r.Recorder.Event(pdb, corev1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	expected := int32(len(pods))
	if countsByScale(pdb) {
		var unmanaged []string
		expected, unmanaged, err = r.expectedScale(ctx, pods)
		if err == nil && len(unmanaged) > 0 {
			klog.FromContext(ctx).V(4).Info("Pods of a disruption budget have no controller", "podDisruptionBudget", klog.KObj(pdb), "pods", unmanaged)
			r.Recorder.Eventf(pdb, corev1.EventTypeWarning, "UnmanagedPods", "Pods selected by this PodDisruptionBudget (selector: %v) were found "+
				"to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "+
				"To account for these pods please set \".spec.minAvailable\" "+
				"field of the PDB to an integer value.", pdb.Spec.Selector)
		}
	}
	var desired int32
	if err == nil {
		desired, err = desiredHealthy(pdb, expected)
	}
	if err != nil {
		r.Recorder.Eventf(pdb, corev1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", err)
		return 0, err
	}
	now := r.Clock.Now()
	disrupted, late, wait := agedDisruptions(pdb.Status.DisruptedPods, pods, now)
	for _, p := range late {
		// Upstream's text names the namespace twice.
		r.Recorder.Eventf(p, corev1.EventTypeWarning, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", pdb.Namespace, pdb.Namespace)
	}
	next := pdb.DeepCopy()
	next.Status = budgetStatus(pdb, expected, countHealthy(pods, disrupted, now), desired, disrupted)
	if c := meta.FindStatusCondition(next.Status.Conditions, policyv1.DisruptionAllowedCondition); c != nil && !c.LastTransitionTime.IsZero() {
		before := meta.FindStatusCondition(pdb.Status.Conditions, policyv1.DisruptionAllowedCondition)
		if before == nil || before.Status != c.Status {
			*c = r.stamp(*c)
		}
	}
	if equality.Semantic.DeepEqual(pdb.Status, next.Status) && poddisruptionbudget.ConditionsAreUpToDate(pdb) {
		return wait, nil
	}
	return wait, client.IgnoreNotFound(r.Client.Status().Update(ctx, next))
}

// expectedScale adds up the scales of the pods' controllers, each counted once,
// and names the pods that have none.
func (r *Disruption) expectedScale(ctx context.Context, pods []*corev1.Pod) (total int32, unmanaged []string, err error) {
	seen := map[types.UID]bool{}
	counted := map[types.UID]bool{}
	for _, p := range pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			unmanaged = append(unmanaged, p.Name)
			continue
		}
		if seen[ref.UID] {
			continue
		}
		seen[ref.UID] = true
		uid, n, err := r.scaleOf(ctx, ref, p.Namespace)
		if err != nil {
			return 0, nil, err
		}
		if n == nil {
			return 0, nil, fmt.Errorf("found no controllers for pod %q", p.Name)
		}
		if !counted[uid] {
			counted[uid] = true
			total += *n
		}
	}
	return total, unmanaged, nil
}

// scaleOf is the scale of a pod's controller: for the ReplicaSet of a
// Deployment, that of the Deployment. n is nil if there is no such controller
// any more.
func (r *Disruption) scaleOf(ctx context.Context, ref *metav1.OwnerReference, namespace string) (uid types.UID, n *int32, err error) {
	key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return "", nil, err
	}
	get := func(obj client.Object, want types.UID) (bool, error) {
		err := r.Client.Get(ctx, key, obj)
		return err == nil && obj.GetUID() == want, client.IgnoreNotFound(err)
	}
	one := ptr.To(int32(1)) // the default of all four
	orOne := func(n *int32) *int32 {
		if n == nil {
			return one
		}
		return n
	}
	switch gk := gv.WithKind(ref.Kind).GroupKind(); gk {
	case schema.GroupKind{Kind: "ReplicationController"}:
		var rc corev1.ReplicationController
		if ok, err := get(&rc, ref.UID); ok || err != nil {
			return ref.UID, orOne(rc.Spec.Replicas), err
		}
	case schema.GroupKind{Group: "apps", Kind: "StatefulSet"}:
		var set appsv1.StatefulSet
		if ok, err := get(&set, ref.UID); ok || err != nil {
			return ref.UID, orOne(set.Spec.Replicas), err
		}
	case schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}:
		var rs appsv1.ReplicaSet
		ok, err := get(&rs, ref.UID)
		if err != nil {
			return "", nil, err
		}
		if !ok {
			break
		}
		owner := metav1.GetControllerOfNoCopy(&rs)
		if owner == nil || owner.Kind != "Deployment" {
			return ref.UID, orOne(rs.Spec.Replicas), nil
		}
		var d appsv1.Deployment
		key.Name = owner.Name
		if ok, err := get(&d, owner.UID); ok || err != nil {
			return owner.UID, orOne(d.Spec.Replicas), err
		}
		key.Name = ref.Name
	}
	n, err = r.Scale(ctx, ref, namespace)
	return ref.UID, n, err
}
