package core

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What kinds of other groups check as the core ones do.

// ValidateMeta checks an object's metadata as on create; kinds whose name is not
// a DNS subdomain do not need it. Some kinds' updates do this beside the usual.
func ValidateMeta(o metav1.Object, namespaced bool) field.ErrorList {
	path := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMetaAccessor(o, namespaced, apivalidation.NameIsDNSSubdomain, path)
	for i, name := range o.GetFinalizers() {
		errs = append(errs, validateFinalizerName(name, path.Child("finalizers").Index(i))...)
	}
	return errs
}

func validateFinalizerName(name string, path *field.Path) field.ErrorList {
	switch {
	case strings.Contains(name, "/"), name == string(corev1.FinalizerKubernetes), name == metav1.FinalizerOrphanDependents, name == metav1.FinalizerDeleteDependents:
		return nil
	}
	return field.ErrorList{field.Invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")}
}

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

// DefaultPersistentSource sets the defaults of a volume's source.
func DefaultPersistentSource(s *corev1.PersistentVolumeSource) { defaultPersistentSource(s) }
