package resource

import (
	"errors"
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	dracel "k8s.io/dynamic-resource-allocation/cel"
)

// validateSelectors compiles the CEL selectors; those that are stored may use
// what newer servers do not offer.
func validateSelectors(selectors []resourcev1.DeviceSelector, stored bool, path *field.Path) field.ErrorList {
	return list(selectors, resourcev1.DeviceSelectorsMaxSize, path, func(s *resourcev1.DeviceSelector, path *field.Path) field.ErrorList {
		at := path.Child("cel")
		if s.CEL == nil {
			return field.ErrorList{field.Required(at, "")}
		}
		return validateExpression(s.CEL.Expression, stored, at.Child("expression"))
	})
}

func validateExpression(expression string, stored bool, path *field.Path) field.ErrorList {
	if len(expression) > resourcev1.CELSelectorExpressionMaxLength {
		return field.ErrorList{field.TooLong(path, "", resourcev1.CELSelectorExpressionMaxLength)}
	}
	kind := environment.NewExpressions
	if stored {
		kind = environment.StoredExpressions
	}
	r := dracel.GetCompiler(dracel.Features{EnableConsumableCapacity: true}).CompileCELExpression(expression, dracel.Options{EnvType: &kind})
	if r.Error == nil {
		if r.MaxCost > resourcev1.CELSelectorExpressionMaxCost {
			return field.ErrorList{field.Forbidden(path, "too complex, exceeds cost limit")}
		}
		return nil
	}
	var e *cel.Error
	if errors.As(r.Error, &e) {
		switch e.Type {
		case cel.ErrorTypeRequired:
			return field.ErrorList{field.Required(path, e.Detail)}
		case cel.ErrorTypeInvalid:
			return field.ErrorList{field.Invalid(path, expression, e.Detail)}
		case cel.ErrorTypeInternal:
			return field.ErrorList{field.InternalError(path, e)}
		}
	}
	return field.ErrorList{field.InternalError(path, fmt.Errorf("unsupported error type: %w", r.Error))}
}

func validateConfiguration(c *resourcev1.DeviceConfiguration, stored bool, path *field.Path) field.ErrorList {
	at := path.Child("opaque")
	if c.Opaque == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := validateDriver(c.Opaque.Driver, at.Child("driver"))
	return append(errs, validateObject(c.Opaque.Parameters, stored, resourcev1.OpaqueParametersMaxLength, at.Child("parameters"))...)
}
