package resource

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
)

// The group's own forms of names and values.

// validateDriver is the rule for CSI drivers' names too.
func validateDriver(name string, path *field.Path) (errs field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(name) > resourcev1.DriverNameMaxLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.DriverNameMaxLength))
	}
	for _, msg := range validation.IsDNS1123Subdomain(strings.ToLower(name)) {
		errs = append(errs, field.Invalid(path, name, msg))
	}
	return errs
}

func validatePool(name string, path *field.Path) (errs field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(name) > resourcev1.PoolNameMaxLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.PoolNameMaxLength))
	}
	for part := range strings.SplitSeq(name, "/") {
		errs = append(errs, core.ValidateDNSSubdomain(part, path)...)
	}
	return errs
}

func validateUID(uid string, path *field.Path) field.ErrorList {
	if err := uuid.Validate(uid); err != nil {
		return field.ErrorList{field.Invalid(path, uid, fmt.Sprintf("error validating uid: %v", err))}
	}
	if len(uid) != 36 || uid != strings.ToLower(uid) {
		return field.ErrorList{field.Invalid(path, uid, "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters")}
	}
	return nil
}

// validateAttributeName checks DOMAIN/ID or ID.
func validateAttributeName(name string, path *field.Path) (errs field.ErrorList) {
	parts := strings.Split(name, "/")
	switch len(parts) {
	case 1:
		return validateID(name, path)
	case 2:
		if parts[0] == "" {
			errs = append(errs, field.Invalid(path, "", "the domain must not be empty"))
		} else {
			errs = append(errs, validateDriver(parts[0], path)...)
		}
		if parts[1] == "" {
			errs = append(errs, field.Invalid(path, "", "the name must not be empty"))
		} else {
			errs = append(errs, validateID(parts[1], path)...)
		}
	}
	return errs // upstream accepts more slashes
}

func validateFullName(name resourcev1.FullyQualifiedName, path *field.Path) field.ErrorList {
	errs := validateAttributeName(string(name), path)
	if !strings.Contains(string(name), "/") {
		errs = append(errs, field.Invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash"))
	}
	return errs
}

func validateID(id string, path *field.Path) (errs field.ErrorList) {
	if len(id) > resourcev1.DeviceMaxIDLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.DeviceMaxIDLength))
	}
	for _, msg := range content.IsCIdentifier(id) {
		errs = append(errs, field.Invalid(path, id, msg))
	}
	return errs
}

func validateLabelValue(value string, path *field.Path) (errs field.ErrorList) {
	for _, msg := range validation.IsValidLabelValue(value) {
		errs = append(errs, field.Invalid(path, value, msg))
	}
	return errs
}

// validateObject checks that raw is a JSON object of at most limit bytes; what
// is stored already may be longer.
func validateObject(raw runtime.RawExtension, stored bool, limit int, path *field.Path) field.ErrorList {
	if len(raw.Raw) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if !stored && len(raw.Raw) > limit {
		return field.ErrorList{field.TooLong(path, "", limit)}
	}
	var v any
	if err := json.Unmarshal(raw.Raw, &v); err != nil {
		return field.ErrorList{field.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data as JSON: %v", err))}
	}
	if v == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	if _, ok := v.(map[string]any); !ok {
		return field.ErrorList{field.Invalid(path, "<value omitted>", "must be a valid JSON object")}
	}
	return nil
}

// list checks each item; a list longer than limit (unless negative) is refused unseen.
func list[T any](items []T, limit int, path *field.Path, check func(*T, *field.Path) field.ErrorList) (errs field.ErrorList) {
	if limit >= 0 && len(items) > limit {
		return field.ErrorList{field.TooMany(path, len(items), limit)}
	}
	for i := range items {
		errs = append(errs, check(&items[i], path.Index(i))...)
	}
	return errs
}

// set is list for items whose keys differ.
func set[T any, K comparable](items []T, limit int, path *field.Path, key func(*T) K, check func(*T, *field.Path) field.ErrorList) field.ErrorList {
	if limit >= 0 && len(items) > limit {
		return field.ErrorList{field.TooMany(path, len(items), limit)}
	}
	errs, seen := list(items, limit, path, check), map[K]bool{}
	for i := range items {
		k := key(&items[i])
		if seen[k] {
			errs = append(errs, field.Duplicate(path.Index(i), k))
		}
		seen[k] = true
	}
	return errs
}

func itself(s *string) string { return *s }

// validateBinding checks what must become true, or must not, before a pod with
// the device is bound.
func validateBinding(conditions, failures []string, path *field.Path) (errs field.ErrorList) {
	good, bad := path.Child("bindingConditions"), path.Child("bindingFailureConditions")
	label := func(s *string, at *field.Path) field.ErrorList { return metav1validation.ValidateLabelName(*s, at) }
	errs = append(errs, list(conditions, resourcev1.BindingConditionsMaxSize, good, label)...)
	errs = append(errs, list(failures, resourcev1.BindingFailureConditionsMaxSize, bad, label)...)
	seen := map[string]bool{}
	for i, c := range conditions {
		if seen[c] {
			errs = append(errs, field.Duplicate(good.Index(i), c))
		}
		seen[c] = true
	}
	failed := map[string]bool{}
	for i, c := range failures {
		if failed[c] {
			errs = append(errs, field.Duplicate(bad.Index(i), c))
		}
		failed[c] = true
		if seen[c] {
			errs = append(errs, field.Invalid(bad.Index(i), c, "bindingFailureConditions must not overlap with bindingConditions"))
		}
	}
	if len(conditions) == 0 && len(failures) > 0 {
		errs = append(errs, field.Invalid(good, conditions, "bindingConditions are required to use bindingFailureConditions"))
	}
	if len(failures) == 0 && len(conditions) > 0 {
		errs = append(errs, field.Invalid(bad, failures, "bindingFailureConditions are required to use bindingConditions"))
	}
	return errs
}
