package core

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// DefaultServiceAccount is the account that pods use when they name none.
const DefaultServiceAccount = "default"

// ServiceAccount makes sure that every active namespace has the default
// service account, and makes it again when it is deleted. Requests are
// namespaces.
type ServiceAccount struct {
	Client client.Client
}

// SetupServiceAccount registers the controller.
func SetupServiceAccount(env *control.Env) error {
	r := &ServiceAccount{Client: env.Client()}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("serviceaccount").
		For(&corev1.Namespace{}).
		WatchesMetadata(&corev1.ServiceAccount{}, toNamespaceRequest(), withPredicate(deletedObject(DefaultServiceAccount))).
		Complete(r)
}

// Reconcile creates the account where it is missing.
func (r *ServiceAccount) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	active, err := namespaceActive(ctx, r.Client, req.Name)
	if err != nil || !active {
		return reconcile.Result{}, err
	}
	key := types.NamespacedName{Namespace: req.Name, Name: DefaultServiceAccount}
	err = r.Client.Get(ctx, key, partial("v1", "ServiceAccount"))
	if !apierrors.IsNotFound(err) {
		return reconcile.Result{}, err
	}
	err = r.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}})
	if err != nil && !apierrors.IsAlreadyExists(err) && !namespaceGone(err) {
		return reconcile.Result{}, fmt.Errorf("service account %s: %w", key, err)
	}
	return reconcile.Result{}, nil
}

// namespaceActive reports whether the namespace exists and is not being deleted.
func namespaceActive(ctx context.Context, r client.Reader, name string) (bool, error) {
	var ns corev1.Namespace
	if err := r.Get(ctx, types.NamespacedName{Name: name}, &ns); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return ns.DeletionTimestamp == nil && ns.Status.Phase != corev1.NamespaceTerminating, nil
}

// namespaceGone reports whether a write failed because its namespace is being
// or has been deleted; then there is nothing to do.
func namespaceGone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// partial is an object of which the cache keeps the metadata only.
func partial(apiVersion, kind string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}}
}

// toNamespaceRequest maps an object to its namespace.
func toNamespaceRequest() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, obj client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: obj.GetNamespace()}}}
	})
}

// deletedObject accepts deletions of objects with a name.
func deletedObject(name string) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(e event.DeleteEvent) bool { return e.Object.GetName() == name },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
