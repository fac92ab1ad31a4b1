package plugins

import (
	"slices"

	"proa/controllers/scheduler/framework"
)

// NodePorts rejects nodes on which one of the pod's host ports is taken.
type NodePorts struct{}

// Name implements framework.Plugin.
func (NodePorts) Name() string { return "NodePorts" }

// Events implements framework.Plugin.
func (NodePorts) Events() []framework.EventHint {
	return []framework.EventHint{
		{Kind: framework.NodeAdd},
		{Kind: framework.PodGone, Helps: func(pod *framework.Pending, e framework.Event) bool {
			return portsConflict(pod.HostPorts, e.Pod.HostPorts)
		}},
	}
}

// Shape implements framework.Plugin.
func (NodePorts) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	key = key.Int(int64(len(pod.HostPorts)))
	for _, p := range pod.HostPorts {
		key = key.String(p.IP).String(string(p.Protocol)).Int(int64(p.Port))
	}
	return key
}

// Prepare implements framework.Plugin.
func (p NodePorts) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	want := pod.HostPorts
	if len(want) == 0 {
		return framework.Prepared{}
	}
	rejected := framework.NewStatus(p.Name(), framework.Unschedulable, "node(s) didn't have free ports for the requested pod ports")
	return framework.Prepared{Filter: func(n *framework.Node) *framework.Status {
		if portsConflict(want, n.HostPorts) {
			return rejected
		}
		return nil
	}}
}

func portsConflict(want, taken []framework.HostPort) bool {
	return slices.ContainsFunc(want, func(w framework.HostPort) bool {
		return slices.ContainsFunc(taken, w.Conflicts)
	})
}
