package storage

import (
	"context"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

type storageClass = *storagev1.StorageClass

// StorageClass says how volumes are provisioned for claims that name it.
func StorageClass() *kind.Kind[storageClass] {
	doc := storagev1.StorageClass{}.SwaggerDoc()
	return &kind.Kind[storageClass]{
		GVK:           storagev1.SchemeGroupVersion.WithKind("StorageClass"),
		Resource:      "storageclasses",
		ReturnDeleted: true,
		ShortNames:    []string{"sc"},
		ClusterScoped: true,
		New:           func() storageClass { return &storagev1.StorageClass{} },
		NewList:       func() runtime.Object { return &storagev1.StorageClassList{} },
		Default: func(c storageClass) {
			if c.ReclaimPolicy == nil {
				c.ReclaimPolicy = ptr.To(corev1.PersistentVolumeReclaimDelete)
			}
			if c.VolumeBindingMode == nil {
				c.VolumeBindingMode = ptr.To(storagev1.VolumeBindingImmediate)
			}
		},
		Validate: func(_ context.Context, c storageClass) field.ErrorList { return validateStorageClass(c) },
		ValidateUpdate: func(_ context.Context, c, old storageClass) (errs field.ErrorList) {
			errs = append(errs, core.ValidateImmutable(c.Parameters, old.Parameters, field.NewPath("parameters"))...)
			errs = append(errs, core.ValidateImmutable(c.Provisioner, old.Provisioner, field.NewPath("provisioner"))...)
			errs = append(errs, core.ValidateImmutable(c.ReclaimPolicy, old.ReclaimPolicy, field.NewPath("reclaimPolicy"))...)
			return append(errs, core.ValidateImmutable(c.VolumeBindingMode, old.VolumeBindingMode, field.NewPath("volumeBindingMode"))...)
		},
		Warnings: func(_ context.Context, c, _ storageClass) (warnings []string) {
			for i, t := range c.AllowedTopologies {
				for j, e := range t.MatchLabelExpressions {
					if msg := core.DeprecatedNodeLabel(e.Key); msg != "" {
						warnings = append(warnings, fmt.Sprintf("%s: %s", field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions").Index(j).Child("key"), msg))
					}
				}
			}
			return warnings
		},
		Columns: []kind.Column[storageClass]{
			{Name: "Name", Type: "string", Format: "name", Description: kind.NameColumn[storageClass]().Description, Value: func(c storageClass) any {
				if c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" || c.Annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true" {
					return c.Name + " (default)"
				}
				return c.Name
			}},
			{Name: "Provisioner", Type: "string", Description: doc["provisioner"], Value: func(c storageClass) any { return c.Provisioner }},
			{Name: "ReclaimPolicy", Type: "string", Description: doc["reclaimPolicy"],
				Value: func(c storageClass) any {
					return string(ptr.Deref(c.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete))
				}},
			{Name: "VolumeBindingMode", Type: "string", Description: doc["volumeBindingMode"],
				Value: func(c storageClass) any {
					return string(ptr.Deref(c.VolumeBindingMode, storagev1.VolumeBindingImmediate))
				}},
			{Name: "AllowVolumeExpansion", Type: "string", Description: doc["allowVolumeExpansion"],
				Value: func(c storageClass) any { return ptr.Deref(c.AllowVolumeExpansion, false) }},
			kind.AgeColumn[storageClass](),
		},
	}
}

func validateStorageClass(c storageClass) field.ErrorList {
	errs := validateProvisioner(c.Provisioner, field.NewPath("provisioner"))
	errs = append(errs, validateParameters(c.Parameters, field.NewPath("parameters"))...)
	if p := c.ReclaimPolicy; p != nil && *p != "" && *p != corev1.PersistentVolumeReclaimDelete && *p != corev1.PersistentVolumeReclaimRetain {
		errs = append(errs, field.NotSupported(field.NewPath("reclaimPolicy"), *p,
			[]corev1.PersistentVolumeReclaimPolicy{corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain}))
	}
	mode := field.NewPath("volumeBindingMode")
	if m := c.VolumeBindingMode; m == nil {
		errs = append(errs, field.Required(mode, ""))
	} else if *m != storagev1.VolumeBindingImmediate && *m != storagev1.VolumeBindingWaitForFirstConsumer {
		errs = append(errs, field.NotSupported(mode, *m, []storagev1.VolumeBindingMode{storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer}))
	}
	return append(errs, validateTopologies(c.AllowedTopologies, field.NewPath("allowedTopologies"))...)
}

// validateTopologies wants terms that differ, each with keys that differ.
func validateTopologies(terms []corev1.TopologySelectorTerm, path *field.Path) (errs field.ErrorList) {
	// A term without expressions counts as a duplicate: upstream compares with
	// as many empty ones as there are terms.
	seen := make([]map[string]sets.Set[string], len(terms))
	for i, t := range terms {
		at := path.Index(i).Child("matchLabelExpressions")
		values := map[string]sets.Set[string]{}
		for j, e := range t.MatchLabelExpressions {
			errs = append(errs, validateTopologyValues(e.Values, at.Index(j).Child("values"))...)
			errs = append(errs, metav1validation.ValidateLabelName(e.Key, at.Index(j).Child("key"))...)
			if _, has := values[e.Key]; has {
				errs = append(errs, field.Duplicate(at.Index(j).Child("key"), e.Key))
			}
			values[e.Key] = sets.New(e.Values...)
		}
		for _, s := range seen {
			if len(s) == 0 && len(values) == 0 || reflect.DeepEqual(s, values) {
				errs = append(errs, field.Duplicate(at, ""))
			}
		}
		seen = append(seen, values)
	}
	return errs
}

func validateTopologyValues(values []string, path *field.Path) (errs field.ErrorList) {
	if len(values) == 0 {
		errs = append(errs, field.Required(path, ""))
	}
	seen := sets.New[string]()
	for i, v := range values {
		if seen.Has(v) {
			errs = append(errs, field.Duplicate(path.Index(i), v))
		}
		seen.Insert(v)
	}
	return errs
}
