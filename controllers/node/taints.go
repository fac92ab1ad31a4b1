package node

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditionTaint is the taint that stands for a condition with a status.
type conditionTaint struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	key       string
}

// conditionTaints lists what conditions taint a node NoSchedule (upstream's
// TaintNodesByCondition).
var conditionTaints = []conditionTaint{
	{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
	{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
	{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
	{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
	{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
}

// execution says what is to be done about the NoExecute taint of a node that
// is not ready: the taint evicts pods, so it is not put on lightly.
type execution uint8

const (
	// leave keeps the node as it is but swaps one taint for the other where the
	// reason has changed.
	leave execution = iota
	// evict puts the taint on.
	evict
	// spare takes it off.
	spare
)

// nextTaints returns the taints that the node should have, and whether they
// differ from those it has. Taints that are not ours stay as they are.
func nextTaints(node *corev1.Node, do execution, now metav1.Time) (taints []corev1.Taint, changed bool) {
	want := map[corev1.Taint]bool{} // by key and effect
	owned := map[corev1.Taint]bool{
		{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}: true,
	}
	for _, c := range conditionTaints {
		t := corev1.Taint{Key: c.key, Effect: corev1.TaintEffectNoSchedule}
		owned[t] = true
		if have := nodeCondition(node, c.condition); have != nil && have.Status == c.status {
			want[t] = true
		}
	}
	if node.Spec.Unschedulable {
		want[corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}] = true
	}
	if key, ok := executeKey(node); ok {
		has := false
		for _, k := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
			owned[corev1.Taint{Key: k, Effect: corev1.TaintEffectNoExecute}] = true
			has = has || hasExecute(node, k)
		}
		if key != "" && do != spare && (do == evict || has) {
			want[corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute}] = true
		}
	}
	for _, t := range node.Spec.Taints {
		id := corev1.Taint{Key: t.Key, Effect: t.Effect}
		if owned[id] && !want[id] {
			changed = true
			continue
		}
		delete(want, id)
		taints = append(taints, t)
	}
	added := make([]corev1.Taint, 0, len(want))
	for t := range want {
		t.TimeAdded = &now
		added = append(added, t)
	}
	slices.SortFunc(added, func(a, b corev1.Taint) int { // NoSchedule first
		return cmp.Or(cmp.Compare(b.Effect, a.Effect), cmp.Compare(a.Key, b.Key))
	})
	return append(taints, added...), changed || len(added) > 0
}

// executeKey is the key of the NoExecute taint that the node's readiness calls
// for, empty for a ready node; ok is false when the node never said.
func executeKey(node *corev1.Node) (key string, ok bool) {
	ready := nodeCondition(node, corev1.NodeReady)
	if ready == nil {
		return "", false
	}
	switch ready.Status {
	case corev1.ConditionFalse:
		return corev1.TaintNodeNotReady, true
	case corev1.ConditionUnknown:
		return corev1.TaintNodeUnreachable, true
	}
	return "", true
}

func hasExecute(node *corev1.Node, key string) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key == key && t.Effect == corev1.TaintEffectNoExecute
	})
}
