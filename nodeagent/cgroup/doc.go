// Package cgroup makes and removes the cgroups of pods below one parent:
// guaranteed pods directly in it, the others in its burstable and besteffort
// children. cgroup v1 and v2, cgroupfs driver. Nothing outside the parent is
// ever written.
package cgroup
