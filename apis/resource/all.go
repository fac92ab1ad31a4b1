// Package resource holds the kinds of resource.k8s.io/v1: devices that drivers
// offer (slices), classes of them, and claims to some.
package resource

import "proa/apis/kind"

// Kinds lists the kinds of the group.
func Kinds() []kind.Any {
	return []kind.Any{DeviceClass(), ResourceClaim(), ResourceClaimTemplate(), ResourceSlice()}
}
