package apps

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestDeployment(t *testing.T)  { kindtest.Run(t, Deployment(), "testdata/deployment") }
func TestReplicaSet(t *testing.T)  { kindtest.Run(t, ReplicaSet(), "testdata/replicaset") }
func TestDaemonSet(t *testing.T)   { kindtest.Run(t, DaemonSet(), "testdata/daemonset") }
func TestStatefulSet(t *testing.T) { kindtest.Run(t, StatefulSet(), "testdata/statefulset") }
func TestControllerRevision(t *testing.T) {
	kindtest.Run(t, ControllerRevision(), "testdata/controllerrevision")
}
