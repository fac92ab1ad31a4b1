package control

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// OwnerIndex finds objects by the UID of their controller; NoOwner finds
	// those without one.
	OwnerIndex = "proa.controllerUID"
	// NoOwner is the OwnerIndex value of an object without a controller.
	NoOwner = "-"
	// NodeIndex finds pods by the node they are bound to.
	NodeIndex = "spec.nodeName"
)

// ByOwner is the OwnerIndex function.
func ByOwner(obj client.Object) []string {
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
		return []string{string(ref.UID)}
	}
	return []string{NoOwner}
}

// ByNode is the NodeIndex function for pods.
func ByNode(obj client.Object) []string {
	if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}
	}
	return nil
}

// AddIndexes adds the indexes that controllers share. It must run before the
// cache starts.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &corev1.Pod{}, OwnerIndex, ByOwner); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &corev1.Pod{}, NodeIndex, ByNode); err != nil {
		return err
	}
	return indexer.IndexField(ctx, &appsv1.ReplicaSet{}, OwnerIndex, ByOwner)
}

// PodsOf lists the pods in the namespace whose controller has the UID and, if
// orphans is set, those without a controller, which the owner may adopt. The
// pods point into the cache.
func PodsOf(ctx context.Context, r client.Reader, namespace string, owner types.UID, orphans bool) ([]*corev1.Pod, error) {
	keys := []string{string(owner)}
	if orphans {
		keys = append(keys, NoOwner)
	}
	var pods []*corev1.Pod
	for _, key := range keys {
		var list corev1.PodList
		if err := r.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{OwnerIndex: key}); err != nil {
			return nil, err
		}
		for i := range list.Items {
			pods = append(pods, &list.Items[i])
		}
	}
	return pods, nil
}

// Key is the object's namespace and name.
func Key(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}
