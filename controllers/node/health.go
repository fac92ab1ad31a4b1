package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeletConditions are those that turn Unknown when a node is silent; the
// network condition is someone else's.
var kubeletConditions = []corev1.NodeConditionType{
	corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure,
}

// nodeCondition returns the condition of that type, nil if there is none.
func nodeCondition(node *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == t {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

// silentSince returns when the node, last heard of at heard, counts as silent.
// A node that never reported gets longer.
func silentSince(node *corev1.Node, heard time.Time, s Settings) time.Time {
	if nodeCondition(node, corev1.NodeReady) == nil {
		return heard.Add(s.StartupGracePeriod)
	}
	return heard.Add(s.MonitorGracePeriod)
}

// withUnknown returns the conditions of a silent node and whether any changed.
func withUnknown(node *corev1.Node, now metav1.Time) ([]corev1.NodeCondition, bool) {
	out := append([]corev1.NodeCondition(nil), node.Status.Conditions...)
	changed := false
	for _, t := range kubeletConditions {
		found := false
		for i := range out {
			if out[i].Type != t {
				continue
			}
			found = true
			if out[i].Status != corev1.ConditionUnknown {
				out[i].Status, out[i].LastTransitionTime = corev1.ConditionUnknown, now
				out[i].Reason, out[i].Message = "NodeStatusUnknown", "Kubelet stopped posting node status."
				changed = true
			}
		}
		if !found {
			out = append(out, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: now,
			})
			changed = true
		}
	}
	return out, changed
}
