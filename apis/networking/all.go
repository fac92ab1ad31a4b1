// Package networking holds the kinds of group networking.k8s.io.
package networking

import "proa/apis/kind"

// Kinds lists the kinds of the group; those of beta versions are off by default.
func Kinds() []kind.Any {
	ip, cidr := IPAddress(), ServiceCIDR()
	return []kind.Any{Ingress(), IngressClass(), ip, NetworkPolicy(), cidr, ip.In("v1beta1"), cidr.In("v1beta1")}
}
