package framework

import v1 "k8s.io/api/core/v1"

// EventKind is a set of kinds of change in the cluster.
type EventKind uint16

const (
	NodeAdd EventKind = 1 << iota
	NodeAllocatable
	NodeLabel
	NodeTaint // taints or spec.unschedulable
	// PodAssigned: a pod was bound by someone, or a bound pod's labels changed.
	PodAssigned
	// PodGone: a pod that took room on a node is gone.
	PodGone
	// PodScaledDown: a bound pod now requests less.
	PodScaledDown
	// PodSelf: the waiting pod itself was changed.
	PodSelf
	// NodeGone: a node was removed.
	NodeGone
	// PodRelabeled: the labels of a bound pod changed.
	PodRelabeled
	// NamespaceLabel: a namespace is new, or its labels changed.
	NamespaceLabel
)

// Event is one change that may make waiting pods schedulable.
type Event struct {
	Kind EventKind
	// OldNode and Node are set for node events; OldNode is nil for NodeAdd,
	// Node is nil for NodeGone.
	OldNode, Node *v1.Node
	// Pod is set for pod events other than PodSelf: the pod as it was (gone,
	// scaled down) or is (assigned, relabeled).
	Pod *Pod
}

// Label is upstream's name of the event, for metrics.
func (e Event) Label() string {
	switch {
	case e.Kind&NodeAdd != 0:
		return "NodeAdd"
	case e.Kind&NodeGone != 0:
		return "NodeDelete"
	case e.Kind&NodeTaint != 0:
		return "NodeTaintChange"
	case e.Kind&NodeAllocatable != 0:
		return "NodeAllocatableChange"
	case e.Kind&NodeLabel != 0:
		return "NodeLabelChange"
	case e.Kind&PodGone != 0:
		return "AssignedPodDelete"
	case e.Kind&PodAssigned != 0:
		return "AssignedPodAdd"
	case e.Kind&(PodScaledDown|PodRelabeled) != 0:
		return "AssignedPodUpdate"
	case e.Kind&NamespaceLabel != 0:
		return "NamespaceUpdate"
	default:
		return "PodUpdate"
	}
}

// NodeEvent describes the difference between two versions of a node; ok is
// false when no plugin cares.
func NodeEvent(old, node *v1.Node) (e Event, ok bool) {
	e = Event{OldNode: old, Node: node}
	if old == nil {
		e.Kind = NodeAdd
		return e, true
	}
	if !NewResources(old.Status.Allocatable).Equal(NewResources(node.Status.Allocatable)) {
		e.Kind |= NodeAllocatable
	}
	if !equalLabels(old.Labels, node.Labels) {
		e.Kind |= NodeLabel
	}
	if old.Spec.Unschedulable != node.Spec.Unschedulable || !equalTaints(old.Spec.Taints, node.Spec.Taints) {
		e.Kind |= NodeTaint
	}
	return e, e.Kind != 0
}

func equalLabels(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func equalTaints(a, b []v1.Taint) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key != b[i].Key || a[i].Value != b[i].Value || a[i].Effect != b[i].Effect {
			return false
		}
	}
	return true
}
