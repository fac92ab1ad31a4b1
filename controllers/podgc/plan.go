package podgc

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// why a pod is collected.
type why uint8

const (
	terminated why = iota
	outOfService
	orphaned
	unscheduled
)

// victim is a pod to be collected.
type victim struct {
	pod *corev1.Pod
	why why
}

// plan is what one sweep has to do.
type plan struct {
	victims []victim
	// missing has the nodes that pods are bound to and that are not known, and
	// since when.
	missing map[string]time.Time
}

// quarantine is how long a node must be missing before its pods are orphans.
const quarantine = 40 * time.Second

// sweep decides about all pods. missing is what the last sweep found missing;
// gone has those missing nodes that were looked up live and do not exist.
func sweep(pods []corev1.Pod, nodes map[string]*corev1.Node, missing map[string]time.Time, gone func(node string) bool, threshold int, now time.Time) plan {
	p := plan{missing: map[string]time.Time{}}
	var finished []*corev1.Pod
	for i := range pods {
		pod := &pods[i]
		node := nodes[pod.Spec.NodeName]
		if phase := pod.Status.Phase; phase == corev1.PodSucceeded || phase == corev1.PodFailed {
			finished = append(finished, pod)
		}
		switch {
		case pod.Spec.NodeName == "":
			if pod.DeletionTimestamp != nil {
				p.victims = append(p.victims, victim{pod, unscheduled})
			}
		case node == nil:
			since, known := missing[pod.Spec.NodeName]
			if !known {
				since = now
			}
			p.missing[pod.Spec.NodeName] = since
			if now.Sub(since) >= quarantine && gone(pod.Spec.NodeName) {
				p.victims = append(p.victims, victim{pod, orphaned})
			}
		case pod.DeletionTimestamp != nil && isOutOfService(node):
			p.victims = append(p.victims, victim{pod, outOfService})
		}
	}
	if excess := len(finished) - threshold; threshold > 0 && excess > 0 {
		slices.SortFunc(finished, func(a, b *corev1.Pod) int {
			return cmp.Or(
				compareBool(b.Status.Reason == "Evicted", a.Status.Reason == "Evicted"),
				a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
				cmp.Compare(a.Name, b.Name),
			)
		})
		for _, pod := range finished[:excess] {
			if !slices.ContainsFunc(p.victims, func(v victim) bool { return v.pod == pod }) {
				p.victims = append(p.victims, victim{pod, terminated})
			}
		}
	}
	return p
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// isOutOfService reports whether someone has declared the node dead (KEP-2268).
func isOutOfService(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}
