// Package apps holds the kinds of group apps: controllers of pods.
package apps

import "proa/apis/kind"

// Kinds lists the kinds of the group.
func Kinds() []kind.Any {
	return []kind.Any{
		Deployment(),
		ReplicaSet(),
		DaemonSet(),
		StatefulSet(),
		ControllerRevision(),
	}
}
