// Package networking holds the kinds of group networking.k8s.io.
package networking

import "proa/apis/kind"

// Kinds lists the kinds of the group.
func Kinds() []kind.Any {
	return []kind.Any{Ingress(), IngressClass(), IPAddress(), NetworkPolicy(), ServiceCIDR()}
}
