package plugins

import "proa/controllers/scheduler/framework"

// leastAllocated scores a node by the mean share of CPU and memory that would
// be left on it. Containers without requests count with an assumed use.
func leastAllocated(pod *framework.Pending) func(*framework.Node) int64 {
	cpu, memory := pod.Assumed.MilliCPU, pod.Assumed.Memory
	return func(n *framework.Node) int64 {
		var sum, resources int64
		if capacity := n.Allocatable.MilliCPU; capacity > 0 {
			sum += unusedShare(n.Assumed.MilliCPU+cpu, capacity)
			resources++
		}
		if capacity := n.Allocatable.Memory; capacity > 0 {
			sum += unusedShare(n.Assumed.Memory+memory, capacity)
			resources++
		}
		if resources == 0 {
			return 0
		}
		return sum / resources
	}
}

func unusedShare(requested, capacity int64) int64 {
	if requested > capacity {
		return 0
	}
	return (capacity - requested) * framework.MaxNodeScore / capacity
}
