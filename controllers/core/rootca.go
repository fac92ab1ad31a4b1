package core

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	// RootCAConfigMap is the ConfigMap with the CA that pods verify the API server by.
	RootCAConfigMap = "kube-root-ca.crt"
	rootCAKey       = "ca.crt"

	descriptionAnnotation = "kubernetes.io/description"
	rootCADescription     = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " +
		"No other usage is guaranteed across distributions of Kubernetes clusters."
)

// RootCA keeps the root CA bundle in a ConfigMap of every active namespace.
// Requests are namespaces. The cache holds only the ConfigMaps' metadata, so
// the content is read from the API server, once per change.
type RootCA struct {
	Client client.Client
	Live   client.Reader
	CA     []byte
}

// SetupRootCA registers the controller; without a CA there is nothing to publish.
func SetupRootCA(env *control.Env) error {
	if len(env.RootCA) == 0 {
		return nil
	}
	r := &RootCA{Client: env.Client(), Live: env.Live(), CA: env.RootCA}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("root-ca-publisher").
		For(&corev1.Namespace{}).
		WatchesMetadata(&corev1.ConfigMap{}, toNamespaceRequest(), withPredicate(changedObject(RootCAConfigMap))).
		Complete(r)
}

// Reconcile creates the ConfigMap or puts its content right.
func (r *RootCA) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	active, err := namespaceActive(ctx, r.Client, req.Name)
	if err != nil || !active {
		return reconcile.Result{}, err
	}
	key := types.NamespacedName{Namespace: req.Name, Name: RootCAConfigMap}
	var current corev1.ConfigMap
	err = r.Live.Get(ctx, key, &current)
	switch {
	case apierrors.IsNotFound(err):
		err = r.Client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:   key.Namespace,
				Name:        key.Name,
				Annotations: map[string]string{descriptionAnnotation: rootCADescription},
			},
			Data: map[string]string{rootCAKey: string(r.CA)},
		})
		if apierrors.IsAlreadyExists(err) {
			return reconcile.Result{RequeueAfter: time.Second}, nil
		}
	case err == nil:
		want := map[string]string{rootCAKey: string(r.CA)}
		if maps.Equal(current.Data, want) && current.Annotations[descriptionAnnotation] != "" {
			return reconcile.Result{}, nil
		}
		next := current.DeepCopy()
		next.Data = want
		if next.Annotations == nil {
			next.Annotations = map[string]string{}
		}
		next.Annotations[descriptionAnnotation] = rootCADescription
		err = r.Client.Update(ctx, next)
	}
	if err != nil && !namespaceGone(err) {
		return reconcile.Result{}, fmt.Errorf("config map %s: %w", key, err)
	}
	return reconcile.Result{}, nil
}

// changedObject accepts updates and deletions of objects with a name.
func changedObject(name string) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(e event.UpdateEvent) bool { return e.ObjectNew.GetName() == name },
		DeleteFunc:  func(e event.DeleteEvent) bool { return e.Object.GetName() == name },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
