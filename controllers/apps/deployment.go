package apps

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// Deployment rolls the pods of each Deployment out through ReplicaSets, one
// per pod template. One reconciliation takes one step and writes the status
// once; the ReplicaSets' changes bring the next.
type Deployment struct {
	Client   client.Client
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.PassiveClock
}

// SetupDeployment registers the controller.
func SetupDeployment(env *control.Env) error {
	r := &Deployment{Client: env.Client(), Live: env.Live(), Recorder: env.Recorder("deployment-controller"), Clock: env.Clock}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("deployment").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&appsv1.Deployment{}).
		Watches(&appsv1.ReplicaSet{}, r.replicaSetEvents()).
		Complete(r)
}

func (r *Deployment) replicaSetEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q control.Queue) { r.enqueueFor(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) {
			if old := metav1.GetControllerOfNoCopy(e.ObjectOld); old != nil && !control.OwnedBy(e.ObjectNew, ownerUID(old.UID)) {
				r.enqueueFor(ctx, e.ObjectOld, q)
			}
			r.enqueueFor(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q control.Queue) { r.enqueueFor(ctx, e.Object, q) },
	}
}

func ownerUID(uid types.UID) metav1.Object { return &metav1.ObjectMeta{UID: uid} }

// enqueueFor queues a ReplicaSet's deployment or, for an orphan, those that match it.
func (r *Deployment) enqueueFor(ctx context.Context, rs client.Object, q control.Queue) {
	if ref := metav1.GetControllerOfNoCopy(rs); ref != nil {
		if ref.Kind == deploymentKind.Kind {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: rs.GetNamespace(), Name: ref.Name}})
		}
		return
	}
	var list appsv1.DeploymentList
	if err := r.Client.List(ctx, &list, client.InNamespace(rs.GetNamespace())); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list deployments for an orphan", "replicaSet", klog.KObj(rs))
		return
	}
	for i := range list.Items {
		if control.SelectorMatches(list.Items[i].Spec.Selector, rs.GetLabels()) {
			q.Add(reconcile.Request{NamespacedName: control.Key(&list.Items[i])})
		}
	}
}

// Reconcile takes one step of one deployment.
func (r *Deployment) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var cached appsv1.Deployment
	if err := r.Client.Get(ctx, req.NamespacedName, &cached); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	d := cached.DeepCopy()
	if reflect.DeepEqual(d.Spec.Selector, &metav1.LabelSelector{}) {
		r.Recorder.Eventf(d, corev1.EventTypeWarning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		d.Status.ObservedGeneration = d.Generation
		return reconcile.Result{}, r.write(ctx, &cached, d)
	}
	sets, err := r.claim(ctx, d)
	if err != nil {
		return reconcile.Result{}, err
	}
	status, err := r.step(ctx, &cached, d, sets)
	if status != nil {
		d.Status = *status
	}
	if writeErr := r.write(ctx, &cached, d); writeErr != nil && err == nil {
		err = writeErr
	}
	if apierrors.IsConflict(err) {
		// The cache was behind. Its next event brings us back; this is for the
		// case that it has passed already.
		return reconcile.Result{RequeueAfter: 20 * time.Millisecond}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: checkProgressIn(d, &d.Status, r.Clock.Now())}, nil
}

// claim lists the deployment's ReplicaSets, adopting and releasing.
func (r *Deployment) claim(ctx context.Context, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("deployment %s: spec.selector: %w", klog.KObj(d), err)
	}
	var sets []*appsv1.ReplicaSet
	for _, key := range []string{string(d.UID), control.NoOwner} {
		var list appsv1.ReplicaSetList
		if err := r.Client.List(ctx, &list, client.InNamespace(d.Namespace), client.MatchingFields{control.OwnerIndex: key}); err != nil {
			return nil, err
		}
		for i := range list.Items {
			sets = append(sets, &list.Items[i])
		}
	}
	return control.Claim(ctx, &control.Claimer{Client: r.Client, Live: r.Live, Owner: d, Kind: deploymentKind, Selector: selector}, sets, nil)
}

// step does the next thing and returns the status to write, nil to keep what d
// has. It may change d's annotations and status: both are written afterwards,
// also with an error.
func (r *Deployment) step(ctx context.Context, cached, d *appsv1.Deployment, sets []*appsv1.ReplicaSet) (*appsv1.DeploymentStatus, error) {
	newRS, old := splitReplicaSets(d, sets)
	if newRS != nil {
		var err error
		if newRS, err = r.syncNew(ctx, d, newRS, maxRevision(old)+1); err != nil {
			return nil, err
		}
	}
	now := r.Clock.Now()
	if d.DeletionTimestamp != nil {
		status := deploymentStatus(d, newRS, old, now)
		return &status, nil
	}
	pausedCondition(d, &d.Status, now)
	if d.Spec.Paused || scalingEvent(d, newRS, old) {
		newRS, old, _, err := r.scale(ctx, d, scaleSteps(d, newRS, old), newRS, old)
		if err != nil {
			return nil, err
		}
		if d.Spec.Paused {
			if err := r.cleanup(ctx, d, old); err != nil {
				return nil, err
			}
		}
		status := deploymentStatus(d, newRS, old, now)
		return &status, nil
	}

	var err error
	switch d.Spec.Strategy.Type {
	case appsv1.RollingUpdateDeploymentStrategyType:
		newRS, old, err = r.rollingUpdate(ctx, d, newRS, old)
	case appsv1.RecreateDeploymentStrategyType:
		newRS, old, err = r.recreate(ctx, d, newRS, old)
	default:
		err = fmt.Errorf("unexpected deployment strategy type: %s", d.Spec.Strategy.Type)
	}
	if err != nil {
		return nil, err
	}
	status := rolloutStatus(d, newRS, old, &cached.Status, now)
	return &status, nil
}

// rollingUpdate takes one step of the strategy RollingUpdate.
func (r *Deployment) rollingUpdate(ctx context.Context, d *appsv1.Deployment, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) (*appsv1.ReplicaSet, []*appsv1.ReplicaSet, error) {
	if newRS == nil {
		var err error
		if newRS, err = r.createNew(ctx, d, old); err != nil {
			return nil, old, err
		}
	}
	newRS, old, scaled, err := r.scale(ctx, d, rollingSteps(d, newRS, old), newRS, old)
	if err == nil && !scaled && complete(d, &d.Status) {
		err = r.cleanup(ctx, d, old)
	}
	return newRS, old, err
}

// recreate takes one step of the strategy Recreate: all old pods end before
// the first new one is made.
func (r *Deployment) recreate(ctx context.Context, d *appsv1.Deployment, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) (*appsv1.ReplicaSet, []*appsv1.ReplicaSet, error) {
	var steps []scaling
	for _, rs := range activeSets(old) {
		steps = append(steps, scaling{rs, 0})
	}
	newRS, old, scaled, err := r.scale(ctx, d, steps, newRS, old)
	if err != nil || scaled {
		return newRS, old, err
	}
	if running, err := r.oldPodsRunning(ctx, old); err != nil || running {
		return newRS, old, err
	}
	if newRS == nil {
		if newRS, err = r.createNew(ctx, d, old); err != nil {
			return nil, old, err
		}
	}
	newRS, old, _, err = r.scale(ctx, d, []scaling{{newRS, desired(d)}}, newRS, old)
	if err == nil && complete(d, &d.Status) {
		err = r.cleanup(ctx, d, old)
	}
	return newRS, old, err
}

// oldPodsRunning reports whether pods of old ReplicaSets still run, those that
// are being deleted included.
func (r *Deployment) oldPodsRunning(ctx context.Context, old []*appsv1.ReplicaSet) (bool, error) {
	for _, rs := range old {
		if rs.Status.Replicas > 0 {
			return true, nil
		}
		pods, err := control.PodsOf(ctx, r.Client, rs.Namespace, rs.UID, false)
		if err != nil {
			return false, err
		}
		for _, p := range pods {
			if !control.PodTerminal(p) {
				return true, nil
			}
		}
	}
	return false, nil
}

// syncNew brings the new ReplicaSet's annotations and minReadySeconds up to
// date and notes its revision on d.
func (r *Deployment) syncNew(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet, newRevision int64) (*appsv1.ReplicaSet, error) {
	next := rs.DeepCopy()
	changed := annotateNew(d, next, newRevision)
	if next.Spec.MinReadySeconds != d.Spec.MinReadySeconds {
		next.Spec.MinReadySeconds = d.Spec.MinReadySeconds
		changed = true
	}
	if changed {
		if err := r.Client.Update(ctx, next); err != nil {
			return nil, err
		}
	}
	setRevision(d, next.Annotations[revisionAnnotation])
	if hasDeadline(d) && getCondition(&d.Status, appsv1.DeploymentProgressing) == nil {
		setCondition(&d.Status, deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonFoundNewReplicaSet,
			fmt.Sprintf("Found new replica set %q", next.Name), r.Clock.Now()))
	}
	return next, nil
}

func setRevision(d *appsv1.Deployment, revision string) {
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[revisionAnnotation] = revision
}

// createNew creates the ReplicaSet of the current template. If another one has
// its name, the collision count goes up and the next attempt has another name.
func (r *Deployment) createNew(ctx context.Context, d *appsv1.Deployment, old []*appsv1.ReplicaSet) (*appsv1.ReplicaSet, error) {
	rs := newReplicaSetFor(d, old)
	newRevision := strconv.FormatInt(maxRevision(old)+1, 10)
	err := r.Client.Create(ctx, rs)
	switch {
	case apierrors.IsAlreadyExists(err):
		var existing appsv1.ReplicaSet
		if getErr := r.Live.Get(ctx, client.ObjectKeyFromObject(rs), &existing); getErr != nil {
			return nil, getErr
		}
		if control.OwnedBy(&existing, d) && sameTemplate(&existing.Spec.Template, &d.Spec.Template) {
			setRevision(d, newRevision)
			return &existing, nil
		}
		count := int32(1)
		if d.Status.CollisionCount != nil {
			count += *d.Status.CollisionCount
		}
		d.Status.CollisionCount = &count
		klog.FromContext(ctx).V(2).Info("Hash collision: another replica set has the name", "deployment", klog.KObj(d), "replicaSet", rs.Name, "collisionCount", count)
		return nil, err
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil, err
	case err != nil:
		msg := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
		if hasDeadline(d) {
			setCondition(&d.Status, deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonReplicaSetFailed, msg, r.Clock.Now()))
		}
		r.Recorder.Eventf(d, corev1.EventTypeWarning, reasonReplicaSetFailed, "%s", msg)
		return nil, err
	}
	if size(rs) > 0 {
		r.Recorder.Eventf(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", rs.Name, size(rs))
	}
	setRevision(d, newRevision)
	if hasDeadline(d) {
		setCondition(&d.Status, deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonNewReplicaSet,
			fmt.Sprintf("Created new replica set %q", rs.Name), r.Clock.Now()))
	}
	return rs, nil
}

// scale writes the steps and returns the ReplicaSets as written, and whether
// any size changed.
func (r *Deployment) scale(ctx context.Context, d *appsv1.Deployment, steps []scaling, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) (*appsv1.ReplicaSet, []*appsv1.ReplicaSet, bool, error) {
	old = append([]*appsv1.ReplicaSet(nil), old...)
	scaled := false
	for _, s := range steps {
		next := s.rs.DeepCopy()
		from := size(next)
		next.Spec.Replicas = &s.to
		if annotated := annotateReplicas(d, next); !annotated && from == s.to {
			continue
		}
		if err := r.Client.Update(ctx, next); err != nil {
			return newRS, old, scaled, err
		}
		if from != s.to {
			scaled = true
			direction := "up"
			if s.to < from {
				direction = "down"
			}
			r.Recorder.Eventf(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", direction, next.Name, from, s.to)
		}
		if newRS != nil && newRS.UID == next.UID {
			newRS = next
		}
		for i := range old {
			if old[i].UID == next.UID {
				old[i] = next
			}
		}
	}
	return newRS, old, scaled, nil
}

// cleanup deletes old ReplicaSets beyond the history limit.
func (r *Deployment) cleanup(ctx context.Context, d *appsv1.Deployment, old []*appsv1.ReplicaSet) error {
	for _, rs := range surplusReplicaSets(d, old) {
		klog.FromContext(ctx).V(4).Info("Deleting old replica set", "deployment", klog.KObj(d), "replicaSet", klog.KObj(rs))
		if err := r.Client.Delete(ctx, rs.DeepCopy()); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// write writes status and annotations if they differ from what the cache has.
// Annotations go through the status subresource, as the API allows.
func (r *Deployment) write(ctx context.Context, cached, d *appsv1.Deployment) error {
	if equality.Semantic.DeepEqual(cached.Status, d.Status) && maps.Equal(cached.Annotations, d.Annotations) {
		return nil
	}
	return client.IgnoreNotFound(r.Client.Status().Update(ctx, d))
}
