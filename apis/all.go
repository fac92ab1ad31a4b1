// Package apis lists what the API server serves. One kind is one file below
// apis/<group>; the list of each group is its all.go.
package apis

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"proa/apis/core"
	"proa/apis/kind"
)

// Kinds is the one list of built-in kinds.
func Kinds() []kind.Any {
	return slices.Concat(
		core.Kinds(),
	)
}

// Conversions are the scheme's conversions between versions that differ.
func Conversions() []func(*runtime.Scheme) error {
	return nil
}
