package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What kinds of other groups check as the core ones do.

// ValidateContainerLimits checks a list of resources as a container's limits,
// which are at path.limits.
func ValidateContainerLimits(limits corev1.ResourceList, path *field.Path) field.ErrorList {
	return validateRequirements(&corev1.ResourceRequirements{Limits: limits}, nil, false, path, validateContainerResourceName)
}

// ValidateContainerResourceName wants the name of a resource that containers may ask for.
func ValidateContainerResourceName(name corev1.ResourceName, path *field.Path) field.ErrorList {
	return validateContainerResourceName(name, path)
}

// ValidateNonnegativeQuantity refuses quantities below zero.
func ValidateNonnegativeQuantity(q resource.Quantity, path *field.Path) field.ErrorList {
	return nonnegativeQuantity(q, path)
}

// ValidateAccessModes checks a volume's access modes.
func ValidateAccessModes(modes []corev1.PersistentVolumeAccessMode, path *field.Path) field.ErrorList {
	if len(modes) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	return validateAccessModes(modes, path)
}

// DefaultResourceList rounds quantities up to thousandths.
func DefaultResourceList(l corev1.ResourceList) { roundResources(l) }

// DeprecatedNodeLabel tells what to use instead of a deprecated node label; empty
// for any other.
func DeprecatedNodeLabel(key string) string { return deprecatedNodeLabel(key) }
