package storage

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
)

const (
	maxParameters      = 512
	maxParametersBytes = 256 << 10
	maxDriverName      = 63
)

// validateProvisioner wants the name of a provisioner or driver, in either case.
func validateProvisioner(name string, path *field.Path) (errs field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return core.ValidateQualifiedName(strings.ToLower(name), path)
}

// validateParameters bounds what is handed to a provisioner.
func validateParameters(params map[string]string, path *field.Path) (errs field.ErrorList) {
	if len(params) > maxParameters {
		return field.ErrorList{field.TooLong(path, "" /* the value is not shown */, maxParameters)}
	}
	if _, has := params[""]; has {
		errs = append(errs, field.Invalid(path, "", "field can not be empty."))
	}
	if size(params) > maxParametersBytes {
		errs = append(errs, field.TooLong(path, "" /* the value is not shown */, maxParametersBytes))
	}
	return errs
}

// size is the bytes of all keys and values.
func size(m map[string]string) (n int) {
	for k, v := range m {
		n += len(k) + len(v)
	}
	return n
}

// validateDriverName wants a CSI driver's name, in either case.
func validateDriverName(name string, path *field.Path) (errs field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(name) > maxDriverName {
		errs = append(errs, field.TooLong(path, "" /* the value is not shown */, maxDriverName))
	}
	for _, msg := range validation.IsDNS1123Subdomain(strings.ToLower(name)) {
		errs = append(errs, field.Invalid(path, name, msg))
	}
	return errs
}
