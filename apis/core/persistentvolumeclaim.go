package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/diff"
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
			c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
			// The source and its reference are one wish in two forms (KEP-1495).
			switch s := &c.Spec; {
			case s.DataSource != nil && s.DataSourceRef == nil:
				s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: s.DataSource.APIGroup, Kind: s.DataSource.Kind, Name: s.DataSource.Name}
			case s.DataSource == nil && s.DataSourceRef != nil && s.DataSourceRef.Namespace == nil:
				s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: s.DataSourceRef.APIGroup, Kind: s.DataSourceRef.Kind, Name: s.DataSourceRef.Name}
			}
		},
		PrepareForUpdate: func(_ context.Context, c, old pvc) { c.Status = old.Status },
		Validate: func(_ context.Context, c pvc) field.ErrorList {
			return ValidateClaimSpec(&c.Spec, field.NewPath("spec"))
		},
		ValidateUpdate: func(_ context.Context, c, old pvc) field.ErrorList { return validateClaimUpdate(c, old) },
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
			Validate: func(_ context.Context, c, _ pvc) (errs field.ErrorList) {
				for _, name := range sortedResources(c.Status.Capacity) {
					errs = append(errs, nonnegativeQuantity(c.Status.Capacity[name], field.NewPath("status", "capacity").Key(string(name)))...)
				}
				return errs
			},
		},
		Fields: map[string]func(pvc) string{"name": func(c pvc) string { return c.Name }},
	}
}

// ValidateClaimSpec checks the spec of a claim or of a template of one.
func ValidateClaimSpec(s *corev1.PersistentVolumeClaimSpec, path *field.Path) (errs field.ErrorList) {
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), "at least 1 access mode is required"))
	} else {
		errs = append(errs, validateAccessModes(s.AccessModes, path.Child("accessModes"))...)
	}
	if s.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
	}
	storage := path.Child("resources").Key(string(corev1.ResourceStorage))
	if q, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(storage, ""))
	} else {
		errs = append(errs, validateResourceQuantity(corev1.ResourceStorage, q, storage)...)
		errs = append(errs, positiveQuantity(q, storage)...)
	}
	if s.StorageClassName != nil && *s.StorageClassName != "" {
		errs = append(errs, ValidateDNSSubdomain(*s.StorageClassName, path.Child("storageClassName"))...)
	}
	if s.VolumeMode != nil {
		errs = append(errs, supported(*s.VolumeMode, path.Child("volumeMode"), corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	return errs
}

// validateClaimUpdate: a bound claim may only grow.
func validateClaimUpdate(c, old *corev1.PersistentVolumeClaim) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	before, now := old.Spec.DeepCopy(), c.Spec.DeepCopy()
	if before.VolumeName == "" {
		before.VolumeName = now.VolumeName // binding sets it once
	}
	if before.StorageClassName == nil {
		before.StorageClassName = now.StorageClassName // a default class, set afterwards
	}
	if old.Status.Phase == corev1.ClaimBound && old.Spec.Resources.Requests != nil {
		if q, ok := now.Resources.Requests[corev1.ResourceStorage]; ok {
			was, has := old.Spec.Resources.Requests[corev1.ResourceStorage], old.Status.Capacity[corev1.ResourceStorage]
			if q.Cmp(was) < 0 && q.Cmp(has) <= 0 {
				errs = append(errs, field.Forbidden(spec.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
			}
			before.Resources.Requests[corev1.ResourceStorage] = q
		}
	}
	before.VolumeAttributesClassName = now.VolumeAttributesClassName
	if !equality.Semantic.DeepEqual(before, now) {
		errs = append(errs, field.Forbidden(spec, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"+diff.Diff(before, now)))
	}
	return errs
}
