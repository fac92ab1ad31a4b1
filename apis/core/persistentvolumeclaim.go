package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

// PersistentVolumeClaim asks for a piece of storage.
func PersistentVolumeClaim() *kind.Kind[*corev1.PersistentVolumeClaim] {
	type pvc = *corev1.PersistentVolumeClaim
	spec, status := corev1.PersistentVolumeClaimSpec{}.SwaggerDoc(), corev1.PersistentVolumeClaimStatus{}.SwaggerDoc()
	column := func(name, description string, value func(pvc) any) kind.Column[pvc] {
		return kind.Column[pvc]{Name: name, Type: "string", Description: description, Value: value}
	}
	mode := column("VolumeMode", spec["volumeMode"], func(c pvc) any { return string(ptr.Deref(c.Spec.VolumeMode, "<unset>")) })
	mode.Priority = 1
	return &kind.Kind[pvc]{
		GVK:           corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"),
		Resource:      "persistentvolumeclaims",
		ReturnDeleted: true,
		ShortNames:    []string{"pvc"},
		New:           func() pvc { return &corev1.PersistentVolumeClaim{} },
		NewList:       func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		Default: func(c pvc) {
			if c.Status.Phase == "" {
				c.Status.Phase = corev1.ClaimPending
			}
			DefaultClaimSpec(&c.Spec)
			roundResources(c.Status.Capacity)
			roundResources(c.Status.AllocatedResources)
		},
		PrepareForCreate: func(_ context.Context, c pvc) {
			c.Status = corev1.PersistentVolumeClaimStatus{}
			prepareClaimSource(&c.Spec, nil)
		},
		PrepareForUpdate: func(_ context.Context, c, old pvc) {
			c.Status = old.Status
			prepareClaimSource(&c.Spec, &old.Spec)
		},
		Validate: func(_ context.Context, c pvc) field.ErrorList {
			return ValidateClaimSpec(&c.Spec, nil, field.NewPath("spec"))
		},
		ValidateUpdate:       func(_ context.Context, c, old pvc) field.ErrorList { return validateClaimUpdate(c, old) },
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		Warnings:             func(_ context.Context, c, _ pvc) []string { return claimWarnings(c) },
		Columns: []kind.Column[pvc]{
			kind.NameColumn[pvc](),
			column("Status", status["phase"], func(c pvc) any {
				if c.DeletionTimestamp != nil {
					return "Terminating"
				}
				return string(c.Status.Phase)
			}),
			column("Volume", spec["volumeName"], func(c pvc) any { return c.Spec.VolumeName }),
			column("Capacity", status["capacity"], func(c pvc) any {
				if c.Spec.VolumeName == "" {
					return ""
				}
				return c.Status.Capacity.Storage().String()
			}),
			column("Access Modes", status["accessModes"], func(c pvc) any {
				if c.Spec.VolumeName == "" {
					return ""
				}
				return accessModes(c.Status.AccessModes)
			}),
			column("StorageClass", "StorageClass of the pvc", func(c pvc) any {
				if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
					return class
				}
				return ptr.Deref(c.Spec.StorageClassName, "")
			}),
			column("VolumeAttributesClass", "VolumeAttributesClass of the pvc", func(c pvc) any { return ptr.Deref(c.Spec.VolumeAttributesClassName, "<unset>") }),
			kind.AgeColumn[pvc](),
			mode,
		},
		Status: &kind.Status[pvc]{
			Prepare: func(_ context.Context, c, old pvc) { c.Spec = old.Spec },
			Validate: func(_ context.Context, c, _ pvc) field.ErrorList {
				return append(requireVersion(c), validateClaimStatus(c)...)
			},
		},
	}
}

// prepareClaimSource keeps the claim's data source and its reference, which are
// one wish in two forms, in agreement (KEP-1495). old is nil on create.
func prepareClaimSource(s, old *corev1.PersistentVolumeClaimSpec) {
	// References to other namespaces are not served yet (KEP-3294).
	if r := s.DataSourceRef; r != nil && ptr.Deref(r.Namespace, "") != "" && (old == nil || old.DataSourceRef == nil) {
		s.DataSourceRef = nil
	}
	// Before there were references, sources of unknown kinds were ignored.
	if (old == nil || old.DataSource == nil && old.DataSourceRef == nil) && s.DataSourceRef == nil && !isOldSource(s.DataSource) {
		s.DataSource = nil
	}
	agreeSources(s)
}

func isOldSource(s *corev1.TypedLocalObjectReference) bool {
	if s == nil {
		return false
	}
	switch ptr.Deref(s.APIGroup, "") {
	case "":
		return s.Kind == "PersistentVolumeClaim"
	case "snapshot.storage.k8s.io":
		return s.Kind == "VolumeSnapshot"
	}
	return false
}

func agreeSources(s *corev1.PersistentVolumeClaimSpec) {
	switch {
	case s.DataSource != nil && s.DataSourceRef == nil:
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: s.DataSource.APIGroup, Kind: s.DataSource.Kind, Name: s.DataSource.Name}
	case s.DataSource == nil && s.DataSourceRef != nil && ptr.Deref(s.DataSourceRef.Namespace, "") == "":
		s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: s.DataSourceRef.APIGroup, Kind: s.DataSourceRef.Kind, Name: s.DataSourceRef.Name}
	}
}
