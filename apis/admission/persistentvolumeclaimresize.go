package admission

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// claimResize lets claims grow only if they are bound and their class says so.
type claimResize struct {
	*admission.Handler
	classes storagelisters.StorageClassLister
}

func newClaimResize(o Options) *claimResize {
	i := o.Informers.Storage().V1().StorageClasses()
	c := &claimResize{admission.NewHandler(admission.Update), i.Lister()}
	c.SetReadyFunc(i.Informer().HasSynced)
	return c
}

// Validate implements admission.ValidationInterface.
func (c *claimResize) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	claim, ok := claimOf(a)
	old, hasOld := a.GetOldObject().(*corev1.PersistentVolumeClaim)
	if !ok || !hasOld || claim.Spec.Resources.Requests.Storage().Cmp(*old.Spec.Resources.Requests.Storage()) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return admission.NewForbidden(a, errors.New("Only bound persistent volume claims can be expanded"))
	}
	name := volumehelpers.GetPersistentVolumeClaimClass(claim)
	if name != "" && name == volumehelpers.GetPersistentVolumeClaimClass(old) {
		if !c.WaitForReady() {
			return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
		}
		if class, err := c.classes.Get(name); err == nil && class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion {
			return nil
		}
	}
	return admission.NewForbidden(a, errors.New("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
}
