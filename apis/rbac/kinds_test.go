package rbac

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestRole(t *testing.T)        { kindtest.Run(t, role(), "testdata/role") }
func TestClusterRole(t *testing.T) { kindtest.Run(t, clusterRole(), "testdata/clusterrole") }
func TestRoleBinding(t *testing.T) { kindtest.Run(t, roleBinding(), "testdata/rolebinding") }
func TestClusterRoleBinding(t *testing.T) {
	kindtest.Run(t, clusterRoleBinding(), "testdata/clusterrolebinding")
}
