// Package node holds the controllers of Node objects: the allocation of pod
// subnets (ipam*.go), the watch over nodes' health and the taints that follow
// from it (lifecycle.go, health.go, taints.go, disruption.go), and the eviction
// of pods that do not tolerate a NoExecute taint (tainteviction.go).
package node
