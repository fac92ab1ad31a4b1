package admission

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
)

// namespaceAutoProvision makes the namespace of an object that is made.
type namespaceAutoProvision struct{ namespaceReader }

func newNamespaceAutoProvision(o Options) namespaceAutoProvision {
	return namespaceAutoProvision{newNamespaceReader(o, admission.Create)}
}

// Admit implements admission.MutationInterface.
func (n namespaceAutoProvision) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.IsDryRun() || !namespaced(a) {
		return nil
	}
	if !n.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	_, err := n.namespaces.Get(a.GetNamespace())
	if apierrors.IsNotFound(err) {
		_, err = n.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.GetNamespace()}}, metav1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return admission.NewForbidden(a, err)
	}
	return nil
}
