// Package flowcontrol holds the kinds of flowcontrol.apiserver.k8s.io/v1: how the
// requests of whom share the API server.
package flowcontrol

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any { return []kind.Any{FlowSchema(), PriorityLevelConfiguration()} }

// validateConditionTypes refuses conditions without a type and types used twice.
func validateConditionTypes(types []string) (errs field.ErrorList) {
	path, seen := field.NewPath("status", "conditions"), map[string]bool{}
	for i, t := range types {
		at := path.Index(i).Child("type")
		if seen[t] {
			errs = append(errs, field.Duplicate(at, t))
		}
		seen[t] = true
		if t == "" {
			errs = append(errs, field.Required(at, ""))
		}
	}
	return errs
}

func fixed(name string) string { return fmt.Sprintf("spec of '%s' must equal the fixed value", name) }
