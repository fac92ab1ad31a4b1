package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const oldClassMsg = `deprecated since v1.8; use "storageClassName" attribute instead`

// persistentVolumeWarnings tells what of a volume is deprecated or works no more.
func persistentVolumeWarnings(v *corev1.PersistentVolume) []string {
	w := &podWarner{spec: field.NewPath("spec"), annotations: field.NewPath("metadata", "annotations")}
	for _, a := range []struct{ key, msg string }{
		{corev1.BetaStorageClassAnnotation, oldClassMsg},
		{corev1.MountOptionAnnotation, `deprecated since v1.31; use "mountOptions" attribute instead`},
	} {
		if _, ok := v.Annotations[a.key]; ok {
			w.warn("%s: %s", w.annotations.Key(a.key), a.msg)
		}
	}
	if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		w.warn("%s: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.", w.spec.Child("persistentVolumeReclaimPolicy"))
	}
	if a := v.Spec.NodeAffinity; a != nil && a.Required != nil {
		for i := range a.Required.NodeSelectorTerms {
			w.nodeTerm(&a.Required.NodeSelectorTerms[i], false, w.spec.Child("nodeAffinity", "required", "nodeSelectorTerms").Index(i))
		}
	}
	gone := func(set bool, name, msg string) {
		if set {
			w.warn("%s: %s", w.spec.Child(name), msg)
		}
	}
	gone(v.Spec.CephFS != nil, "cephfs", "deprecated in v1.28, non-functional in v1.31+")
	gone(v.Spec.PhotonPersistentDisk != nil, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+")
	gone(v.Spec.ScaleIO != nil, "scaleIO", "deprecated in v1.16, non-functional in v1.22+")
	gone(v.Spec.StorageOS != nil, "storageOS", "deprecated in v1.22, non-functional in v1.25+")
	gone(v.Spec.Glusterfs != nil, "glusterfs", "deprecated in v1.25, non-functional in v1.26+")
	gone(v.Spec.RBD != nil, "rbd", "deprecated in v1.28, non-functional in v1.31+")
	return w.list
}

func claimWarnings(c *corev1.PersistentVolumeClaim) (warnings []string) {
	if _, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		warnings = append(warnings, fmt.Sprintf("%s: %s", field.NewPath("metadata", "annotations").Key(corev1.BetaStorageClassAnnotation), oldClassMsg))
	}
	return append(warnings, ClaimSpecWarnings(&c.Spec, field.NewPath("spec"))...)
}

// ClaimSpecWarnings warns about parts of bytes in the spec of a claim at path.
func ClaimSpecWarnings(s *corev1.PersistentVolumeClaimSpec, path *field.Path) (warnings []string) {
	for _, l := range []struct {
		name string
		list corev1.ResourceList
	}{{"requests", s.Resources.Requests}, {"limits", s.Resources.Limits}} {
		if q := l.list[corev1.ResourceStorage]; q.MilliValue()%1000 != 0 {
			warnings = append(warnings, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer", path.Child("resources", l.name).Key(string(corev1.ResourceStorage)), q.String()))
		}
	}
	return warnings
}
