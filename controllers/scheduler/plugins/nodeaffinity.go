package plugins

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"proa/controllers/scheduler/framework"
)

// NodeAffinity rejects nodes that do not match the pod's node selector and
// required node affinity, and scores the others by its preferred terms.
type NodeAffinity struct{}

// Name implements framework.Plugin.
func (NodeAffinity) Name() string { return "NodeAffinity" }

// Events implements framework.Plugin.
func (NodeAffinity) Events() []framework.EventHint {
	return []framework.EventHint{
		{Kind: framework.NodeAdd | framework.NodeLabel, Helps: func(pod *framework.Pending, e framework.Event) bool {
			required := nodeaffinity.GetRequiredNodeAffinity(pod.Object)
			if match, err := required.Match(e.Node); err == nil && !match {
				return false
			}
			if e.OldNode == nil {
				return true
			}
			matched, err := required.Match(e.OldNode)
			return err != nil || !matched
		}},
		// A gated pod's node selector and affinity may be narrowed.
		{Kind: framework.PodSelf},
	}
}

// Shape implements framework.Plugin.
func (NodeAffinity) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	key = key.Map(pod.Object.Spec.NodeSelector)
	if a := nodeAffinity(pod.Object); a != nil {
		return key.JSON(a)
	}
	return key.String("")
}

// Prepare implements framework.Plugin.
func (p NodeAffinity) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	var out framework.Prepared
	affinity := nodeAffinity(pod.Object)
	hasRequired := affinity != nil && affinity.RequiredDuringSchedulingIgnoredDuringExecution != nil
	if hasRequired {
		names, restricted := namedNodes(affinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms)
		if restricted && len(names) == 0 {
			out.Reject = framework.NewStatus(p.Name(), framework.UnschedulableAndUnresolvable, "pod affinity terms conflict")
			return out
		}
		if restricted {
			out.Nodes = slices.Sorted(maps.Keys(names))
		}
	}
	if hasRequired || pod.Object.Spec.NodeSelector != nil {
		required := nodeaffinity.GetRequiredNodeAffinity(pod.Object)
		rejected := framework.NewStatus(p.Name(), framework.UnschedulableAndUnresolvable, "node(s) didn't match Pod's node affinity/selector")
		out.Filter = func(n *framework.Node) *framework.Status {
			// Terms that do not parse match nothing; the API accepts them.
			if match, _ := required.Match(n.Object); !match {
				return rejected
			}
			return nil
		}
	}
	if affinity != nil && len(affinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		preferred, err := nodeaffinity.NewPreferredSchedulingTerms(affinity.PreferredDuringSchedulingIgnoredDuringExecution)
		if err == nil {
			out.Score = func(n *framework.Node) int64 { return preferred.Score(n.Object) }
			out.Normalize = framework.ToMax
		}
	}
	return out
}

func nodeAffinity(pod *v1.Pod) *v1.NodeAffinity {
	if pod.Spec.Affinity == nil {
		return nil
	}
	return pod.Spec.Affinity.NodeAffinity
}

// namedNodes returns the names that the terms (any of which suffices) allow by
// metadata.name, and whether every term names some.
func namedNodes(terms []v1.NodeSelectorTerm) (names sets.Set[string], restricted bool) {
	if len(terms) == 0 {
		return nil, false
	}
	names = sets.New[string]()
	for _, term := range terms {
		var inTerm sets.Set[string]
		for _, r := range term.MatchFields {
			if r.Key != metav1.ObjectNameField || r.Operator != v1.NodeSelectorOpIn {
				continue
			}
			if inTerm == nil {
				inTerm = sets.New(r.Values...)
			} else {
				inTerm = inTerm.Intersection(sets.New(r.Values...))
			}
		}
		if inTerm == nil {
			return nil, false
		}
		names = names.Union(inTerm)
	}
	return names, true
}
