package storage

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/ephemeral"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// claimFinalizer keeps a claim while a pod uses it.
const claimFinalizer = "kubernetes.io/pvc-protection"

// ClaimProtection lets a deleted claim go once no scheduled pod names it.
type ClaimProtection struct {
	Client client.Client
	// Live reads pods past the cache: it may not have the newest yet.
	Live client.Reader
}

// SetupClaimProtection registers the controller.
func SetupClaimProtection(env *control.Env) error {
	r := &ClaimProtection{env.Client(), env.Live()}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("persistentvolumeclaim-protection").
		For(&corev1.PersistentVolumeClaim{}, builder.WithPredicates(concerned(claimFinalizer))).
		Watches(&corev1.Pod{}, releasedClaims()).
		Complete(r)
}

// releasedClaims queues the claims of pods that use them no longer, or not yet.
func releasedClaims() handler.EventHandler {
	queue := func(obj client.Object, q control.Queue) {
		p, ok := obj.(*corev1.Pod)
		if !ok {
			return
		}
		for i := range p.Spec.Volumes {
			if name := claimName(p, &p.Spec.Volumes[i]); name != "" {
				q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: p.Namespace, Name: name}})
			}
		}
	}
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			if p, ok := e.ObjectNew.(*corev1.Pod); ok && (control.PodTerminal(p) || shutDown(p)) {
				queue(p, q)
			}
			if e.ObjectOld.GetUID() != e.ObjectNew.GetUID() {
				queue(e.ObjectOld, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) { queue(e.Object, q) },
	}
}

// claimName is the claim that a volume of a pod names; "" for other volumes.
func claimName(p *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return ephemeral.VolumeClaimName(p, v)
	}
	return ""
}

// Reconcile releases one claim, or protects it.
func (r *ClaimProtection) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var claim corev1.PersistentVolumeClaim
	if err := r.Client.Get(ctx, req.NamespacedName, &claim); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return keep(ctx, r.Client, &claim, claimFinalizer, func() (bool, error) {
		for _, pods := range []client.Reader{r.Client, r.Live} {
			var list corev1.PodList
			if err := pods.List(ctx, &list, client.InNamespace(claim.Namespace)); err != nil {
				return false, fmt.Errorf("pods of namespace %s: %w", claim.Namespace, err)
			}
			for i := range list.Items {
				if usesClaim(&list.Items[i], &claim) {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

// usesClaim reports whether the pod may have the claim's volume mounted. One
// without a node cannot: no node starts a pod whose claim is being deleted.
func usesClaim(p *corev1.Pod, claim *corev1.PersistentVolumeClaim) bool {
	if p.Spec.NodeName == "" {
		return false
	}
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if claimName(p, v) != claim.Name {
			continue
		}
		if v.PersistentVolumeClaim != nil || !shutDown(p) && ephemeral.VolumeIsForPod(p, claim) == nil {
			return true
		}
	}
	return false
}

// shutDown reports whether the node is done with the pod, or it was deleted by
// force: it only waits to be removed, perhaps for a finalizer that waits for us.
func shutDown(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0
}
