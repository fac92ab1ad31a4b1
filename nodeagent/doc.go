// Package nodeagent runs pods on a node: it registers the node, watches the
// pods bound to it and drives a container runtime over CRI v1 until reality
// matches them, reporting back in pods/status.
//
// What to do is decided by package planner, a pure function; package status
// makes the statuses. This package is the shell around them: one worker per
// pod ([worker]) feeds the planner with the pod, the runtime's events, probe
// results and timers, and runs its actions, one file per action: sandbox.go,
// container.go, kill.go, image_pull.go, remove.go.
//
// The runtime's event stream drives everything; a relist every minute and
// after a lost stream only repairs. Containers are recognised by labels, so a
// restarted agent adopts what runs.
package nodeagent
