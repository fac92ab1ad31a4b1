package plugins

import (
	v1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"proa/controllers/scheduler/framework"
)

// TaintToleration rejects nodes with a NoSchedule or NoExecute taint that the
// pod does not tolerate, and likes those best that have the fewest untolerated
// PreferNoSchedule taints.
type TaintToleration struct{}

// Name implements framework.Plugin.
func (TaintToleration) Name() string { return "TaintToleration" }

// Events implements framework.Plugin.
func (TaintToleration) Events() []framework.EventHint {
	return []framework.EventHint{
		{Kind: framework.NodeAdd | framework.NodeTaint, Helps: func(pod *framework.Pending, e framework.Event) bool {
			tolerations := pod.Object.Spec.Tolerations
			return !untolerated(e.Node.Spec.Taints, tolerations) &&
				(e.OldNode == nil || untolerated(e.OldNode.Spec.Taints, tolerations))
		}},
		{Kind: framework.PodSelf},
	}
}

// Shape implements framework.Plugin.
func (TaintToleration) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	return key.Tolerations(pod.Object.Spec.Tolerations)
}

// Prepare implements framework.Plugin.
func (p TaintToleration) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	tolerations := pod.Object.Spec.Tolerations
	var preferred []v1.Toleration
	for _, t := range tolerations {
		if t.Effect == "" || t.Effect == v1.TaintEffectPreferNoSchedule {
			preferred = append(preferred, t)
		}
	}
	rejected := framework.NewStatus(p.Name(), framework.UnschedulableAndUnresolvable, "node(s) had untolerated taint(s)")
	return framework.Prepared{
		Filter: func(n *framework.Node) *framework.Status {
			if untolerated(n.Object.Spec.Taints, tolerations) {
				return rejected
			}
			return nil
		},
		Score: func(n *framework.Node) (count int64) {
			for i := range n.Object.Spec.Taints {
				taint := &n.Object.Spec.Taints[i]
				if taint.Effect == v1.TaintEffectPreferNoSchedule &&
					!corev1helpers.TolerationsTolerateTaint(klog.Background(), preferred, taint, false) {
					count++
				}
			}
			return count
		},
		Normalize: framework.ToMaxReversed,
	}
}

// untolerated reports whether a taint that forbids scheduling is not tolerated.
func untolerated(taints []v1.Taint, tolerations []v1.Toleration) bool {
	for i := range taints {
		t := &taints[i]
		if (t.Effect == v1.TaintEffectNoSchedule || t.Effect == v1.TaintEffectNoExecute) &&
			!corev1helpers.TolerationsTolerateTaint(klog.Background(), tolerations, t, false) {
			return true
		}
	}
	return false
}
