package admission

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
)

// storageProtection gives volumes, claims and volume attributes classes the
// finalizer that keeps them while they are used. Controllers take it away
// (controllers/storage).
type storageProtection struct{ *admission.Handler }

func newStorageProtection(Options) storageProtection {
	return storageProtection{admission.NewHandler(admission.Create)}
}

// Admit implements admission.MutationInterface.
func (storageProtection) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetSubresource() != "" {
		return nil
	}
	protect := func(m *metav1.ObjectMeta, finalizer string) {
		if !slices.Contains(m.Finalizers, finalizer) {
			m.Finalizers = append(m.Finalizers, finalizer)
		}
	}
	switch o := a.GetObject().(type) {
	case *corev1.PersistentVolume:
		protect(&o.ObjectMeta, "kubernetes.io/pv-protection")
	case *corev1.PersistentVolumeClaim:
		protect(&o.ObjectMeta, "kubernetes.io/pvc-protection")
	case *storagev1.VolumeAttributesClass:
		protect(&o.ObjectMeta, "kubernetes.io/vac-protection")
	}
	return nil
}
