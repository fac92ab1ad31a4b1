package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
	"proa/apis/kind"
)

type capacity = *storagev1.CSIStorageCapacity

// CSIStorageCapacity tells how much storage of a class there is in a part of the cluster.
func CSIStorageCapacity() *kind.Kind[capacity] {
	return &kind.Kind[capacity]{
		GVK:      storagev1.SchemeGroupVersion.WithKind("CSIStorageCapacity"),
		Resource: "csistoragecapacities",
		New:      func() capacity { return &storagev1.CSIStorageCapacity{} },
		NewList:  func() runtime.Object { return &storagev1.CSIStorageCapacityList{} },
		Validate: func(_ context.Context, c capacity) field.ErrorList {
			return validateCapacity(c, metav1validation.LabelSelectorValidationOptions{})
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, c, old capacity) field.ErrorList {
			bad := metav1validation.ValidateLabelSelector(old.NodeTopology, metav1validation.LabelSelectorValidationOptions{}, nil)
			errs := validateCapacity(c, metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: len(bad) > 0})
			if !equality.Semantic.DeepEqual(c.NodeTopology, old.NodeTopology) {
				errs = append(errs, field.Invalid(field.NewPath("nodeTopology"), c.NodeTopology, "field is immutable"))
			}
			if c.StorageClassName != old.StorageClassName {
				errs = append(errs, field.Invalid(field.NewPath("storageClassName"), c.StorageClassName, "field is immutable"))
			}
			return errs
		},
		Warnings:                  func(_ context.Context, c, _ capacity) []string { return topologyWarnings(c.NodeTopology) },
		RefuseUnconditionalUpdate: true,
	}
}

func validateCapacity(c capacity, selectors metav1validation.LabelSelectorValidationOptions) field.ErrorList {
	errs := metav1validation.ValidateLabelSelector(c.NodeTopology, selectors, field.NewPath("nodeTopology"))
	errs = append(errs, core.ValidateDNSSubdomain(c.StorageClassName, field.NewPath("storageClassName"))...)
	if c.Capacity != nil {
		errs = append(errs, core.ValidateNonnegativeQuantity(*c.Capacity, field.NewPath("capacity"))...)
	}
	return errs
}

func topologyWarnings(s *metav1.LabelSelector) (warnings []string) {
	if s == nil {
		return nil
	}
	path := field.NewPath("nodeTopology")
	for i, e := range s.MatchExpressions {
		if msg := core.DeprecatedNodeLabel(e.Key); msg != "" {
			warnings = append(warnings, fmt.Sprintf("%s: %s is %s", path.Child("matchExpressions").Index(i).Child("key"), e.Key, msg))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		if msg := core.DeprecatedNodeLabel(key); msg != "" {
			warnings = append(warnings, fmt.Sprintf("%s: %s", path.Child("matchLabels").Child(key), msg))
		}
	}
	return warnings
}
