// Package apis lists what the API server serves. One kind is one file below
// apis/<group>; the list of each group is its all.go.
package apis

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"proa/apis/admissionregistration"
	"proa/apis/apps"
	"proa/apis/authentication"
	"proa/apis/authorization"
	"proa/apis/autoscaling"
	"proa/apis/batch"
	"proa/apis/certificates"
	"proa/apis/coordination"
	"proa/apis/core"
	"proa/apis/discovery"
	"proa/apis/events"
	"proa/apis/flowcontrol"
	"proa/apis/kind"
	"proa/apis/networking"
	"proa/apis/node"
	"proa/apis/policy"
	"proa/apis/rbac"
	"proa/apis/resource"
	"proa/apis/scheduling"
	"proa/apis/storage"
)

// Kinds is the one list of built-in kinds.
func Kinds() []kind.Any {
	return slices.Concat(
		core.Kinds(),
		admissionregistration.Kinds(),
		apps.Kinds(),
		authentication.Kinds(),
		authorization.Kinds(),
		autoscaling.Kinds(),
		batch.Kinds(),
		certificates.Kinds(),
		coordination.Kinds(),
		discovery.Kinds(),
		events.Kinds(),
		flowcontrol.Kinds(),
		networking.Kinds(),
		node.Kinds(),
		policy.Kinds(),
		rbac.Kinds(),
		resource.Kinds(),
		scheduling.Kinds(),
		storage.Kinds(),
	)
}

// Conversions are what the scheme needs beyond kinds: conversions between versions
// that differ, and defaults of what is no kind.
func Conversions() []func(*runtime.Scheme) error {
	return []func(*runtime.Scheme) error{authentication.AddDefaults, autoscaling.AddConversions, events.AddConversions}
}
