package plugins

import (
	v1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"proa/controllers/scheduler/framework"
)

// NodeUnschedulable rejects cordoned nodes (spec.unschedulable), unless the pod
// tolerates the taint that stands for it.
type NodeUnschedulable struct{}

// Name implements framework.Plugin.
func (NodeUnschedulable) Name() string { return "NodeUnschedulable" }

// Events implements framework.Plugin.
func (NodeUnschedulable) Events() []framework.EventHint {
	return []framework.EventHint{
		{Kind: framework.NodeAdd | framework.NodeTaint, Helps: func(_ *framework.Pending, e framework.Event) bool {
			return !e.Node.Spec.Unschedulable && (e.OldNode == nil || e.OldNode.Spec.Unschedulable)
		}},
		{Kind: framework.PodSelf},
	}
}

// Shape implements framework.Plugin; tolerations are in TaintToleration's part.
func (NodeUnschedulable) Shape(key framework.Key, _ *framework.Pending) framework.Key { return key }

// Prepare implements framework.Plugin.
func (p NodeUnschedulable) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	taint := v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}
	if corev1helpers.TolerationsTolerateTaint(klog.Background(), pod.Object.Spec.Tolerations, &taint, false) {
		return framework.Prepared{}
	}
	rejected := framework.NewStatus(p.Name(), framework.UnschedulableAndUnresolvable, "node(s) were unschedulable")
	return framework.Prepared{Filter: func(n *framework.Node) *framework.Status {
		if n.Object.Spec.Unschedulable {
			return rejected
		}
		return nil
	}}
}
