package storage

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// volumeFinalizer keeps a volume while a claim is bound to it.
const volumeFinalizer = "kubernetes.io/pv-protection"

// VolumeProtection lets a deleted volume go once it is bound no longer.
type VolumeProtection struct{ Client client.Client }

// SetupVolumeProtection registers the controller.
func SetupVolumeProtection(env *control.Env) error {
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("persistentvolume-protection").
		For(&corev1.PersistentVolume{}, builder.WithPredicates(concerned(volumeFinalizer))).
		Complete(&VolumeProtection{env.Client()})
}

// Reconcile releases one volume, or protects it.
func (r *VolumeProtection) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var v corev1.PersistentVolume
	if err := r.Client.Get(ctx, req.NamespacedName, &v); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return keep(ctx, r.Client, &v, volumeFinalizer, func() (bool, error) { return v.Status.Phase == corev1.VolumeBound, nil })
}
