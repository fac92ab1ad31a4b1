package core

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"

	corev1 "k8s.io/api/core/v1"
)

// Messages that several validations share.
const (
	notIntegerMsg  = "must be an integer"
	notPositiveMsg = "must be greater than zero"
	fileModeMsg    = "must be a number between 0 and 0777 (octal), both inclusive"
)

// sorted iterates a map in key order, so that causes come in a stable order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sortedKeys is sorted for keys of a named type.
func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func sortedResources(l corev1.ResourceList) []corev1.ResourceName {
	return slices.Sorted(maps.Keys(l))
}

func invalidEach(path *field.Path, value any, msgs []string) (errs field.ErrorList) {
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(path, value, msg))
	}
	return errs
}

// ValidateDNSLabel wants an RFC 1123 label.
func ValidateDNSLabel(value string, path *field.Path) field.ErrorList {
	return invalidEach(path, value, validation.IsDNS1123Label(value))
}

// ValidateDNSSubdomain wants an RFC 1123 subdomain.
func ValidateDNSSubdomain(value string, path *field.Path) field.ErrorList {
	return invalidEach(path, value, validation.IsDNS1123Subdomain(value))
}

// ValidateQualifiedName wants a name with an optional DNS prefix (example.com/name).
func ValidateQualifiedName(value string, path *field.Path) field.ErrorList {
	return invalidEach(path, value, validation.IsQualifiedName(value))
}

// ValidateNonnegative refuses numbers below zero.
func ValidateNonnegative(value int64, path *field.Path) field.ErrorList {
	return apivalidation.ValidateNonnegativeField(value, path)
}

// ValidatePositive refuses zero and below.
func ValidatePositive(value int64, path *field.Path) field.ErrorList {
	if value <= 0 {
		return field.ErrorList{field.Invalid(path, value, notPositiveMsg)}
	}
	return nil
}

// ValidateImmutable refuses a change of the field.
func ValidateImmutable(now, old any, path *field.Path) field.ErrorList {
	return apivalidation.ValidateImmutableField(now, old, path)
}

func nonnegativeQuantity(q resource.Quantity, path *field.Path) field.ErrorList {
	if q.Sign() < 0 {
		return field.ErrorList{field.Invalid(path, q.String(), apivalidation.IsNegativeErrorMsg)}
	}
	return nil
}

// basicQuantity refuses quantities below zero, as the oldest kinds do.
func basicQuantity(q resource.Quantity, path *field.Path) field.ErrorList {
	if q.Value() < 0 {
		return field.ErrorList{field.Invalid(path, q.Value(), "must be a valid resource quantity")}
	}
	return nil
}

func positiveQuantity(q resource.Quantity, path *field.Path) field.ErrorList {
	if q.Sign() <= 0 {
		return field.ErrorList{field.Invalid(path, q.String(), notPositiveMsg)}
	}
	return nil
}

// oneOf refuses a value that is not in the set; an empty value is required to be there.
func oneOf[T ~string](value T, path *field.Path, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return supported(value, path, allowed...)
}

// supported refuses a value that is not in the set, which the message lists in
// the order given.
func supported[T ~string](value T, path *field.Path, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

func validFileMode(mode *int32, path *field.Path) field.ErrorList {
	if mode != nil && (*mode > 0o777 || *mode < 0) {
		return field.ErrorList{field.Invalid(path, *mode, fileModeMsg)}
	}
	return nil
}

func validPort(port int32, path *field.Path) field.ErrorList {
	return invalidEach(path, port, validation.IsValidPortNum(int(port)))
}

// ContainerColumns are the wide columns of everything that has a pod template.
func ContainerColumns[T kind.Object](containers func(T) []corev1.Container) []kind.Column[T] {
	join := func(name func(*corev1.Container) string) func(T) any {
		return func(o T) any {
			list := containers(o)
			names := make([]string, len(list))
			for i := range list {
				names[i] = name(&list[i])
			}
			return strings.Join(names, ",")
		}
	}
	return []kind.Column[T]{
		{Name: "Containers", Type: "string", Priority: 1, Description: "Names of each container in the template.",
			Value: join(func(c *corev1.Container) string { return c.Name })},
		{Name: "Images", Type: "string", Priority: 1, Description: "Images referenced by each container in the template.",
			Value: join(func(c *corev1.Container) string { return c.Image })},
	}
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}
