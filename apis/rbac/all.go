// Package rbac holds the kinds of rbac.authorization.k8s.io/v1 and the rule that
// nobody may grant more than they have.
package rbac

import "proa/apis/kind"

// Kinds lists the kinds of rbac.authorization.k8s.io.
func Kinds() []kind.Any {
	return []kind.Any{clusterRole(), clusterRoleBinding(), role(), roleBinding()}
}
