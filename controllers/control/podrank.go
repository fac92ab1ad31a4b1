package control

import (
	"math"
	"sort"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// PodDeletionCost is the annotation that says which pods to delete first; lower first.
const PodDeletionCost = "controller.kubernetes.io/pod-deletion-cost"

// RankForDeletion orders pods in place so that those to delete first come
// first. related are the pods of all siblings (usually a superset); a pod
// whose node carries more of them goes earlier. In this order, first
// difference decides: unassigned, then pending before unknown before running,
// not ready, lower deletion cost, more siblings on the node, ready for a
// shorter time, more restarts, younger. Times compare on a logarithmic scale
// relative to now, ties then go by UID, so that pods of about the same age are
// chosen at random (KEP-2185, KEP-2255).
func RankForDeletion(pods, related []*corev1.Pod, now time.Time) {
	onNode := map[string]int{}
	for _, p := range related {
		if PodActive(p) {
			onNode[p.Spec.NodeName]++
		}
	}
	sort.SliceStable(pods, func(i, j int) bool {
		a, b := pods[i], pods[j]
		return deleteBefore(a, b, onNode[a.Spec.NodeName], onNode[b.Spec.NodeName], now)
	})
}

func deleteBefore(a, b *corev1.Pod, rankA, rankB int, now time.Time) bool {
	if (a.Spec.NodeName == "") != (b.Spec.NodeName == "") {
		return a.Spec.NodeName == ""
	}
	if pa, pb := phaseOrder(a), phaseOrder(b); pa != pb {
		return pa < pb
	}
	ra, rb := PodReady(a), PodReady(b)
	if ra != rb {
		return !ra
	}
	if ca, cb := deletionCost(a), deletionCost(b); ca != cb {
		return ca < cb
	}
	if rankA != rankB {
		return rankA > rankB
	}
	if ra && rb {
		ta := PodCondition(a, corev1.PodReady).LastTransitionTime.Time
		tb := PodCondition(b, corev1.PodReady).LastTransitionTime.Time
		if !ta.Equal(tb) {
			return youngerOrUID(ta, tb, now, a, b)
		}
	}
	regularA, sidecarA := restarts(a)
	regularB, sidecarB := restarts(b)
	if regularA != regularB {
		return regularA > regularB
	}
	if sidecarA != sidecarB {
		return sidecarA > sidecarB
	}
	ta, tb := a.CreationTimestamp.Time, b.CreationTimestamp.Time
	if !ta.Equal(tb) {
		return youngerOrUID(ta, tb, now, a, b)
	}
	return false
}

func youngerOrUID(ta, tb, now time.Time, a, b *corev1.Pod) bool {
	if ta.IsZero() || tb.IsZero() {
		return ta.IsZero()
	}
	if now.IsZero() {
		return ta.After(tb)
	}
	la, lb := logAge(ta, now), logAge(tb, now)
	if la == lb {
		return a.UID < b.UID
	}
	return la < lb
}

func logAge(t, now time.Time) int64 {
	d := now.Sub(t)
	if d <= 0 {
		return -1
	}
	return int64(math.Log2(float64(d)))
}

func phaseOrder(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodUnknown:
		return 1
	case corev1.PodRunning:
		return 2
	}
	return 0
}

// deletionCost of an unreadable value is 0, as if it were not set.
func deletionCost(p *corev1.Pod) int32 {
	value, ok := p.Annotations[PodDeletionCost]
	if !ok || value == "" || value[0] == '+' || (len(value) > 1 && value[0] == '0') {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

func restarts(p *corev1.Pod) (regular, sidecar int32) {
	for i := range p.Status.ContainerStatuses {
		regular = max(regular, p.Status.ContainerStatuses[i].RestartCount)
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		for j := range p.Status.InitContainerStatuses {
			if p.Status.InitContainerStatuses[j].Name == c.Name {
				sidecar = max(sidecar, p.Status.InitContainerStatuses[j].RestartCount)
			}
		}
	}
	return regular, sidecar
}
