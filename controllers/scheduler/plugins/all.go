package plugins

import "proa/controllers/scheduler/framework"

// All returns the plugins of the default profile in upstream's order, with
// upstream's default weights. The first filter that rejects a node gives the reason.
func All() []framework.Weighted {
	return []framework.Weighted{
		{Plugin: NodeUnschedulable{}},
		{Plugin: NodeName{}},
		{Plugin: TaintToleration{}, Weight: 3},
		{Plugin: NodeAffinity{}, Weight: 2},
		{Plugin: NodePorts{}},
		{Plugin: NodeResourcesFit{}, Weight: 1},
		{Plugin: PodTopologySpread{}, Weight: 2},
		{Plugin: InterPodAffinity{}, Weight: 2},
		{Plugin: NodeResourcesBalancedAllocation{}, Weight: 1},
		{Plugin: ImageLocality{}, Weight: 1},
	}
}
