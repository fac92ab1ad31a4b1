package plugins

import (
	"math"

	"proa/controllers/scheduler/framework"
)

// NodeResourcesBalancedAllocation prefers nodes on which the pod brings the
// used shares of CPU and memory closer together. Pods that request nothing
// are not scored, or they would all go to one node.
type NodeResourcesBalancedAllocation struct{}

// Name implements framework.Plugin.
func (NodeResourcesBalancedAllocation) Name() string { return "NodeResourcesBalancedAllocation" }

// Events implements framework.Plugin; it rejects nothing.
func (NodeResourcesBalancedAllocation) Events() []framework.EventHint { return nil }

// Shape implements framework.Plugin; requests are in NodeResourcesFit's part.
func (NodeResourcesBalancedAllocation) Shape(key framework.Key, _ *framework.Pending) framework.Key {
	return key
}

// Prepare implements framework.Plugin.
func (NodeResourcesBalancedAllocation) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	cpu, memory := pod.Requests.MilliCPU, pod.Requests.Memory
	if cpu == 0 && memory == 0 {
		return framework.Prepared{}
	}
	const half = framework.MaxNodeScore / 2
	return framework.Prepared{Score: func(n *framework.Node) int64 {
		with := balance(n, n.Requested.MilliCPU+cpu, n.Requested.Memory+memory)
		without := balance(n, n.Requested.MilliCPU, n.Requested.Memory)
		return half + (half+with-without)/2
	}}
}

// balance is MaxNodeScore less the standard deviation of the used shares.
func balance(n *framework.Node, cpu, memory int64) int64 {
	if n.Allocatable.MilliCPU == 0 || n.Allocatable.Memory == 0 {
		return framework.MaxNodeScore
	}
	a := min(1, float64(cpu)/float64(n.Allocatable.MilliCPU))
	b := min(1, float64(memory)/float64(n.Allocatable.Memory))
	return int64((1 - math.Abs(a-b)/2) * float64(framework.MaxNodeScore))
}
