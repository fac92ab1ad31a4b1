package admission

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// namespaceReader is what plugins share that look at an object's namespace.
type namespaceReader struct {
	*admission.Handler
	namespaces corelisters.NamespaceLister
	client     kubernetes.Interface
}

func newNamespaceReader(o Options, operations ...admission.Operation) namespaceReader {
	i := o.Informers.Core().V1().Namespaces()
	n := namespaceReader{admission.NewHandler(operations...), i.Lister(), o.Client}
	n.SetReadyFunc(i.Informer().HasSynced)
	return n
}

// namespace is the request's, live if the cache does not have it.
func (n namespaceReader) namespace(ctx context.Context, a admission.Attributes) (*corev1.Namespace, error) {
	if !n.WaitForReady() {
		return nil, admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	ns, err := n.namespaces.Get(a.GetNamespace())
	if apierrors.IsNotFound(err) {
		ns, err = n.client.CoreV1().Namespaces().Get(ctx, a.GetNamespace(), metav1.GetOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		err = apierrors.NewInternalError(err)
	}
	return ns, err
}

// namespaced reports whether a request is about something in a namespace.
func namespaced(a admission.Attributes) bool {
	return a.GetNamespace() != "" && a.GetKind().GroupKind() != corev1.SchemeGroupVersion.WithKind("Namespace").GroupKind()
}

// namespaceExists refuses writes in namespaces that are not there.
// NamespaceLifecycle does the same and more.
type namespaceExists struct{ namespaceReader }

func newNamespaceExists(o Options) namespaceExists {
	return namespaceExists{newNamespaceReader(o, admission.Create, admission.Update, admission.Delete)}
}

// Validate implements admission.ValidationInterface.
func (n namespaceExists) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if !namespaced(a) {
		return nil
	}
	_, err := n.namespace(ctx, a)
	return err
}
