// Package resource holds the kinds of resource.k8s.io/v1: devices that drivers
// offer (slices), classes of them, and claims to some.
package resource

import "proa/apis/kind"

// Kinds lists the kinds of the group; those of beta versions are off by default.
func Kinds() []kind.Any {
	const beta = "v1beta2"
	c, claim, template, slice := DeviceClass(), ResourceClaim(), ResourceClaimTemplate(), ResourceSlice()
	return []kind.Any{c, claim, template, slice, c.In(beta), claim.In(beta), template.In(beta), slice.In(beta)}
}
