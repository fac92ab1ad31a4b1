// Package apis lists what the API server serves. One kind is one file below
// apis/<group>; the list of each group is its all.go.
package apis

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"proa/apis/apps"
	"proa/apis/authentication"
	"proa/apis/authorization"
	"proa/apis/certificates"
	"proa/apis/core"
	"proa/apis/kind"
	"proa/apis/rbac"
)

// Kinds is the one list of built-in kinds.
func Kinds() []kind.Any {
	return slices.Concat(
		core.Kinds(),
		apps.Kinds(),
		authentication.Kinds(),
		authorization.Kinds(),
		certificates.Kinds(),
		rbac.Kinds(),
	)
}

// Conversions are the scheme's conversions between versions that differ.
func Conversions() []func(*runtime.Scheme) error {
	return nil
}
