package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

// PersistentVolume is a piece of storage that outlives pods.
func PersistentVolume() *kind.Kind[*corev1.PersistentVolume] {
	type pv = *corev1.PersistentVolume
	spec, status := corev1.PersistentVolumeSpec{}.SwaggerDoc(), corev1.PersistentVolumeStatus{}.SwaggerDoc()
	column := func(name, description string, value func(pv) any) kind.Column[pv] {
		return kind.Column[pv]{Name: name, Type: "string", Description: description, Value: value}
	}
	mode := column("VolumeMode", spec["volumeMode"], func(v pv) any { return string(ptr.Deref(v.Spec.VolumeMode, "<unset>")) })
	mode.Priority = 1
	return &kind.Kind[pv]{
		GVK:           corev1.SchemeGroupVersion.WithKind("PersistentVolume"),
		Resource:      "persistentvolumes",
		ReturnDeleted: true,
		ShortNames:    []string{"pv"},
		ClusterScoped: true,
		New:           func() pv { return &corev1.PersistentVolume{} },
		NewList:       func() runtime.Object { return &corev1.PersistentVolumeList{} },
		Default:       defaultPersistentVolume,
		PrepareForCreate: func(_ context.Context, v pv) {
			v.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending, LastPhaseTransitionTime: ptr.To(metav1.Now())}
		},
		PrepareForUpdate: func(_ context.Context, v, old pv) { v.Status = old.Status },
		Validate:         func(_ context.Context, v pv) field.ErrorList { return validatePersistentVolume(v, nil) },
		ValidateUpdate: func(_ context.Context, v, old pv) field.ErrorList {
			errs := append(ValidateMeta(v, false), validatePersistentVolume(v, old)...)
			errs = append(errs, validatePersistentVolumeSpec(v, old)...) // causes come twice
			return append(errs, validatePersistentVolumeChange(v, old)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		Warnings:             func(_ context.Context, v, _ pv) []string { return persistentVolumeWarnings(v) },
		Columns: []kind.Column[pv]{
			kind.NameColumn[pv](),
			column("Capacity", spec["capacity"], func(v pv) any { return v.Spec.Capacity.Storage().String() }),
			column("Access Modes", spec["accessModes"], func(v pv) any { return accessModes(v.Spec.AccessModes) }),
			column("Reclaim Policy", spec["persistentVolumeReclaimPolicy"], func(v pv) any { return string(v.Spec.PersistentVolumeReclaimPolicy) }),
			column("Status", status["phase"], func(v pv) any {
				if v.DeletionTimestamp != nil {
					return "Terminating"
				}
				return string(v.Status.Phase)
			}),
			column("Claim", spec["claimRef"], func(v pv) any {
				if v.Spec.ClaimRef == nil {
					return ""
				}
				return v.Spec.ClaimRef.Namespace + "/" + v.Spec.ClaimRef.Name
			}),
			column("StorageClass", "StorageClass of the pv", func(v pv) any {
				if class, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
					return class
				}
				return v.Spec.StorageClassName
			}),
			column("VolumeAttributesClass", "VolumeAttributesClass of the pv", func(v pv) any { return ptr.Deref(v.Spec.VolumeAttributesClassName, "<unset>") }),
			column("Reason", status["reason"], func(v pv) any { return v.Status.Reason }),
			kind.AgeColumn[pv](),
			mode,
		},
		Status: &kind.Status[pv]{
			Prepare:  preparePersistentVolumeStatus,
			Validate: func(_ context.Context, v, _ pv) field.ErrorList { return requireVersion(v) },
		},
	}
}

// preparePersistentVolumeStatus notes when the phase changed, unless the writer does.
func preparePersistentVolumeStatus(_ context.Context, v, old *corev1.PersistentVolume) {
	v.Spec = old.Spec
	now, was := &v.Status, &old.Status
	switch {
	case now.Phase == was.Phase && now.LastPhaseTransitionTime == nil:
		now.LastPhaseTransitionTime = was.LastPhaseTransitionTime
	case now.Phase != was.Phase && (now.LastPhaseTransitionTime == nil || now.LastPhaseTransitionTime.Equal(was.LastPhaseTransitionTime)):
		now.LastPhaseTransitionTime = ptr.To(metav1.Now())
	}
}

func defaultPersistentVolume(v *corev1.PersistentVolume) {
	if v.Status.Phase == "" {
		v.Status.Phase = corev1.VolumePending
	}
	if v.Spec.PersistentVolumeReclaimPolicy == "" {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	if v.Spec.VolumeMode == nil {
		v.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeFilesystem)
	}
	roundResources(v.Spec.Capacity)
	defaultPersistentSource(&v.Spec.PersistentVolumeSource)
}

func defaultPersistentSource(s *corev1.PersistentVolumeSource) {
	if s.HostPath != nil {
		defaultHostPath(s.HostPath)
	}
	if s.ISCSI != nil {
		defaultString(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		defaultString(&s.RBD.RBDPool, "rbd")
		defaultString(&s.RBD.RadosUser, "admin")
		defaultString(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.AzureDisk != nil {
		defaultAzureDisk(s.AzureDisk)
	}
	if s.ScaleIO != nil {
		defaultString(&s.ScaleIO.StorageMode, "ThinProvisioned")
		defaultString(&s.ScaleIO.FSType, "xfs")
	}
}
