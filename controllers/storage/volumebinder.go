package storage

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// VolumeBinder keeps the phase of volumes, and releases them when their claims go.
type VolumeBinder struct {
	Client client.Client
	Live   client.Reader
	Events record.EventRecorder
}

func setupVolumeBinder(env *control.Env) error {
	r := &VolumeBinder{env.Client(), env.Live(), env.Recorder("persistentvolume-controller")}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("persistentvolume-binder").
		For(&corev1.PersistentVolume{}).
		Watches(&corev1.PersistentVolumeClaim{}, r.claimEvents()).
		Complete(r)
}

// claimEvents queues the volumes of a claim that is gone or bound elsewhere.
func (r *VolumeBinder) claimEvents() handler.EventHandler {
	queue := func(ctx context.Context, claim client.Object, q control.Queue) {
		var list corev1.PersistentVolumeList
		if err := r.Client.List(ctx, &list); err != nil {
			return
		}
		for i := range list.Items {
			if ref := list.Items[i].Spec.ClaimRef; ref != nil && ref.Namespace == claim.GetNamespace() && ref.Name == claim.GetName() {
				q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: list.Items[i].Name}})
			}
		}
	}
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) {
			old, hasOld := e.ObjectOld.(*corev1.PersistentVolumeClaim)
			now, ok := e.ObjectNew.(*corev1.PersistentVolumeClaim)
			if ok && hasOld && (old.Spec.VolumeName != now.Spec.VolumeName || old.UID != now.UID) {
				queue(ctx, now, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q control.Queue) { queue(ctx, e.Object, q) },
	}
}

// Reconcile carries the plan of one volume out.
func (r *VolumeBinder) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var v corev1.PersistentVolume
	if err := r.Client.Get(ctx, req.NamespacedName, &v); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	claim, err := r.claim(ctx, &v)
	if err != nil {
		return reconcile.Result{}, err
	}
	plan := planVolume(&v, claim)
	next := v.DeepCopy()
	if plan.unbind {
		if metav1.HasAnnotation(v.ObjectMeta, volumehelpers.AnnBoundByController) {
			next.Spec.ClaimRef = nil
			delete(next.Annotations, volumehelpers.AnnBoundByController)
		} else {
			next.Spec.ClaimRef.UID = "" // a user reserved it
		}
		err = r.Client.Update(ctx, next)
	}
	changes := plan.phase != "" && plan.phase != v.Status.Phase
	if err == nil && changes {
		next.Status.Phase, next.Status.Message = plan.phase, plan.message
		err = r.Client.Status().Update(ctx, next)
	}
	if apierrors.IsConflict(err) {
		return reconcile.Result{Requeue: true}, nil //nolint:staticcheck // with backoff
	}
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if plan.event != nil && (changes || plan.phase == "") {
		r.Events.Event(&v, plan.event.kind, plan.event.reason, plan.event.message)
	}
	if plan.claimEvent != nil {
		r.Events.Event(claim, plan.claimEvent.kind, plan.claimEvent.reason, plan.claimEvent.message)
	}
	return reconcile.Result{}, nil
}

// claim is the one that the volume refers to, if it is still there: what the
// cache does not have may be newer than it.
func (r *VolumeBinder) claim(ctx context.Context, v *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	ref := v.Spec.ClaimRef
	if ref == nil || ref.UID == "" {
		return nil, nil
	}
	for _, reader := range []client.Reader{r.Client, r.Live} {
		var claim corev1.PersistentVolumeClaim
		err := reader.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &claim)
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if err == nil && claim.UID == ref.UID {
			return &claim, nil
		}
		if v.Status.Phase == corev1.VolumeReleased || v.Status.Phase == corev1.VolumeFailed {
			break // known to be gone
		}
	}
	return nil, nil
}

func equal(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }
