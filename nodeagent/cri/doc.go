// Package cri is the node agent's view of the container runtime: a thin typed
// client of the Container Runtime Interface v1, the labels and annotations by
// which pods and containers are recognised again after a restart, and the
// observed state of a pod as plain values.
//
// Everything above this package works on [Runtime], [Pod], [Sandbox] and
// [Container]; gRPC stays here. Package fake has a runtime in memory.
package cri
