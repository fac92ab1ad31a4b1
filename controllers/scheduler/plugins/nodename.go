package plugins

import "proa/controllers/scheduler/framework"

// NodeName rejects all nodes but the one that spec.nodeName asks for. Pods
// with a node name are normally not scheduled at all; the plugin matters to
// callers that ask "would it fit?".
type NodeName struct{}

// Name implements framework.Plugin.
func (NodeName) Name() string { return "NodeName" }

// Events implements framework.Plugin.
func (NodeName) Events() []framework.EventHint {
	return []framework.EventHint{{Kind: framework.NodeAdd}}
}

// Shape implements framework.Plugin.
func (NodeName) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	return key.String(pod.Object.Spec.NodeName)
}

// Prepare implements framework.Plugin.
func (p NodeName) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	want := pod.Object.Spec.NodeName
	if want == "" {
		return framework.Prepared{}
	}
	rejected := framework.NewStatus(p.Name(), framework.UnschedulableAndUnresolvable, "node(s) didn't match the requested node name")
	return framework.Prepared{Filter: func(n *framework.Node) *framework.Status {
		if n.Name() != want {
			return rejected
		}
		return nil
	}}
}
