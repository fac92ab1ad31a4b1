package admission

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission"
	storagelisters "k8s.io/client-go/listers/storage/v1"
)

// defaultStorageClass gives claims that name no class the default one.
type defaultStorageClass struct {
	*admission.Handler
	classes storagelisters.StorageClassLister
}

func newDefaultStorageClass(o Options) *defaultStorageClass {
	i := o.Informers.Storage().V1().StorageClasses()
	d := &defaultStorageClass{admission.NewHandler(admission.Create), i.Lister()}
	d.SetReadyFunc(i.Informer().HasSynced)
	return d
}

// claimOf is the claim that a request is about; subresources are none.
func claimOf(a admission.Attributes) (*corev1.PersistentVolumeClaim, bool) {
	claim, ok := a.GetObject().(*corev1.PersistentVolumeClaim)
	return claim, ok && a.GetSubresource() == "" && a.GetResource().GroupResource() == corev1.Resource("persistentvolumeclaims")
}

// Admit implements admission.MutationInterface.
func (d *defaultStorageClass) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	claim, ok := claimOf(a)
	if !ok || claim.Spec.StorageClassName != nil {
		return nil
	}
	if _, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return nil
	}
	if !d.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	all, err := d.classes.List(labels.Everything())
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	class, ok := newest(all, func(c *storagev1.StorageClass) bool {
		return c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" ||
			c.Annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
	})
	if ok {
		name := class.Name
		claim.Spec.StorageClassName = &name
	}
	return nil
}

// newest is the object made last of those that qualify, by name where several
// were; ok is false if none does.
func newest[T metav1.Object](all []T, qualifies func(T) bool) (out T, ok bool) {
	all = slices.DeleteFunc(slices.Clone(all), func(o T) bool { return !qualifies(o) })
	if len(all) == 0 {
		return out, false
	}
	return slices.MinFunc(all, func(a, b T) int {
		newer := b.GetCreationTimestamp()
		return cmp.Or(newer.Compare(a.GetCreationTimestamp().Time), strings.Compare(a.GetName(), b.GetName()))
	}), true
}
