package storage

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// attributesFinalizer keeps a VolumeAttributesClass while a volume or claim has it.
const attributesFinalizer = "kubernetes.io/vac-protection"

// AttributesProtection lets a deleted VolumeAttributesClass go once no volume
// and no claim names it.
type AttributesProtection struct{ Client client.Client }

// SetupAttributesProtection registers the controller.
func SetupAttributesProtection(env *control.Env) error {
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("volumeattributesclass-protection").
		For(&storagev1.VolumeAttributesClass{}, builder.WithPredicates(concerned(attributesFinalizer))).
		Watches(&corev1.PersistentVolume{}, releasedClasses()).
		Watches(&corev1.PersistentVolumeClaim{}, releasedClasses()).
		Complete(&AttributesProtection{env.Client()})
}

// releasedClasses queues the classes that an object names no longer.
func releasedClasses() handler.EventHandler {
	queue := func(q control.Queue, names, still []string) {
		for _, n := range names {
			if !slices.Contains(still, n) {
				q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: n}})
			}
		}
	}
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			queue(q, attributesClasses(e.ObjectOld), attributesClasses(e.ObjectNew))
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) {
			queue(q, attributesClasses(e.Object), nil)
		},
	}
}

// attributesClasses are the classes that a volume or claim has or is to get.
func attributesClasses(obj client.Object) []string {
	var out []string
	add := func(n *string) {
		if n != nil && *n != "" {
			out = append(out, *n)
		}
	}
	switch o := obj.(type) {
	case *corev1.PersistentVolume:
		add(o.Spec.VolumeAttributesClassName)
	case *corev1.PersistentVolumeClaim:
		add(o.Spec.VolumeAttributesClassName)
		add(o.Status.CurrentVolumeAttributesClassName)
		if m := o.Status.ModifyVolumeStatus; m != nil {
			add(&m.TargetVolumeAttributesClassName)
		}
	}
	return out
}

// Reconcile releases one class, or protects it.
func (r *AttributesProtection) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var class storagev1.VolumeAttributesClass
	if err := r.Client.Get(ctx, req.NamespacedName, &class); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return keep(ctx, r.Client, &class, attributesFinalizer, func() (bool, error) {
		var volumes corev1.PersistentVolumeList
		var claims corev1.PersistentVolumeClaimList
		if err := r.Client.List(ctx, &volumes); err != nil {
			return false, err
		}
		if err := r.Client.List(ctx, &claims); err != nil {
			return false, err
		}
		for i := range volumes.Items {
			if slices.Contains(attributesClasses(&volumes.Items[i]), class.Name) {
				return true, nil
			}
		}
		for i := range claims.Items {
			if slices.Contains(attributesClasses(&claims.Items[i]), class.Name) {
				return true, nil
			}
		}
		return false, nil
	})
}
