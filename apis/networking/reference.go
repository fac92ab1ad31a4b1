package networking

import (
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateLocalReference checks a reference by API group, kind and name.
func validateLocalReference(group *string, kind, name string, path *field.Path) (errs field.ErrorList) {
	if group != nil {
		errs = invalidEach(path.Child("apiGroup"), *group, validation.IsDNS1123Subdomain(*group))
	}
	errs = append(errs, requiredSegment(kind, path.Child("kind"))...)
	return append(errs, requiredSegment(name, path.Child("name"))...)
}

// requiredSegment wants a value that can be a part of a URL's path.
func requiredSegment(value string, path *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return invalidEach(path, value, content.IsPathSegmentName(value))
}

func invalidEach(path *field.Path, value any, msgs []string) (errs field.ErrorList) {
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(path, value, msg))
	}
	return errs
}
