package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// ValidateInlineVolume checks a volume written into a VolumeAttachment: an in-tree
// volume of a pod, translated to its CSI driver's.
func ValidateInlineVolume(s *corev1.PersistentVolumeSpec, path *field.Path) (errs field.ErrorList) {
	const notInline = "may not be specified in the context of inline volumes"
	forbid := func(set bool, name, msg string) {
		if set {
			errs = append(errs, field.Forbidden(path.Child(name), msg))
		}
	}
	forbid(s.ClaimRef != nil, "claimRef", notInline)
	forbid(len(s.Capacity) > 0, "capacity", notInline)
	if s.CSI == nil {
		errs = append(errs, field.Required(path.Child("csi"), "has to be specified in the context of inline volumes"))
	}
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), ""))
	}
	errs = append(errs, validateAccessModes(s.AccessModes, path.Child("accessModes"))...)
	policy := s.PersistentVolumeReclaimPolicy
	forbid(policy != "" && policy != corev1.PersistentVolumeReclaimRetain, "persistentVolumeReclaimPolicy", "may only be Retain in the context of inline volumes")
	forbid(s.NodeAffinity != nil, "nodeAffinity", notInline)
	errs = append(errs, validatePersistentSource("", s, path)...)
	forbid(s.StorageClassName != "", "storageClassName", notInline)
	forbid(ptr.Deref(s.VolumeMode, corev1.PersistentVolumeFilesystem) != corev1.PersistentVolumeFilesystem,
		"volumeMode", "may not specify volumeMode other than Filesystem in the context of inline volumes")
	return errs
}
