package admissionregistration

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// staticSuffix ends the names of configurations that come from files at
// start-up (KEP-5793); the API may not make such.
const staticSuffix = ".static.k8s.io"

func reserved() string {
	return fmt.Sprintf("names ending with %q are reserved for static manifest-based configurations and cannot be managed via the API", staticSuffix)
}

// refuseStaticName is checked on creation only.
func refuseStaticName(name string) field.ErrorList {
	if !strings.HasSuffix(name, staticSuffix) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), name, reserved())}
}

// warnStaticName warns on updates of objects that were made before the rule.
func warnStaticName(name string, created bool) []string {
	if created || !strings.HasSuffix(name, staticSuffix) {
		return nil
	}
	return []string{"metadata.name: " + reserved()}
}
