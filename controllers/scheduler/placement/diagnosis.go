package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"proa/controllers/scheduler/framework"
)

// FitError says why no node can take a pod.
type FitError struct {
	// Nodes is the number of nodes in the cluster.
	Nodes int
	// Reasons counts nodes by reason.
	Reasons map[string]int
	// PreFilter is set instead of Reasons when the pod itself rules out every node.
	PreFilter string
	// PostFilter says why preemption did not help.
	PostFilter string
	// RejectedBy names the plugins that rejected a node, sorted.
	RejectedBy []string

	priority int32
	never    bool
}

// Error is the message users see, in upstream's words.
func (f *FitError) Error() string {
	if f.Nodes == 0 {
		return "no nodes available to schedule pods"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "0/%d nodes are available:", f.Nodes)
	if f.PreFilter != "" {
		fmt.Fprintf(&b, " %s.", f.PreFilter)
	} else if len(f.Reasons) > 0 {
		counted := make([]string, 0, len(f.Reasons))
		for reason, n := range f.Reasons {
			counted = append(counted, fmt.Sprintf("%d %s", n, reason))
		}
		slices.Sort(counted)
		fmt.Fprintf(&b, " %s.", strings.Join(counted, ", "))
	}
	if f.PostFilter != "" {
		b.WriteString(" " + f.PostFilter)
	}
	return b.String()
}

// sameFor reports whether the explanation also holds for another pod of the
// class; what preemption could do depends on the priority.
func (f *FitError) sameFor(pod *framework.Pending) bool {
	return f.priority == pod.Priority && f.never == neverPreempts(pod)
}

func neverPreempts(pod *framework.Pending) bool {
	policy := pod.Object.Spec.PreemptionPolicy
	return policy != nil && *policy == v1.PreemptNever
}

func (e *Engine) explainReject(pod *framework.Pending, reject *framework.Status) *FitError {
	f := &FitError{
		Nodes: e.cluster.Len(), PreFilter: strings.Join(reject.Reasons, ", "), RejectedBy: []string{reject.Plugin},
		priority: pod.Priority, never: neverPreempts(pod),
	}
	f.PostFilter = e.explainPreemption(pod, nil, nil, nil)
	return f
}

// explain counts the verdicts; nodes and verdicts are parallel, nil nodes do not count.
func (e *Engine) explain(pod *framework.Pending, o *opinions, nodes []*framework.Node, verdicts []*framework.Status) *FitError {
	f := &FitError{
		Nodes: e.cluster.Len(), Reasons: map[string]int{},
		priority: pod.Priority, never: neverPreempts(pod),
	}
	counts := map[*framework.Status]int{}
	looked := 0
	for i, n := range nodes {
		if n != nil {
			counts[verdicts[i]]++
			looked++
		}
	}
	rejectedBy := map[string]bool{}
	for status, n := range counts {
		rejectedBy[status.Plugin] = true
		for _, reason := range status.Reasons {
			f.Reasons[reason] += n
		}
	}
	if len(o.restrictedBy) > 0 {
		for _, name := range o.restrictedBy {
			rejectedBy[name] = true
		}
		if looked < f.Nodes {
			f.Reasons[fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", o.restrictedBy)] += f.Nodes - looked
		}
	}
	f.RejectedBy = slices.Sorted(maps.Keys(rejectedBy))
	f.PostFilter = e.explainPreemption(pod, o, nodes, verdicts)
	return f
}

// explainPreemption words the outcome of looking for lower-priority pods to
// evict. Victims are not chosen yet: a node on which removing pods would help
// counts as one without victims.
func (e *Engine) explainPreemption(pod *framework.Pending, o *opinions, nodes []*framework.Node, verdicts []*framework.Status) string {
	if neverPreempts(pod) {
		return "preemption: not eligible due to preemptionPolicy=Never."
	}
	const noVictims = "No preemption victims found for incoming pod"
	f := &FitError{Nodes: e.cluster.Len(), Reasons: map[string]int{}}
	potential := 0
	for i, n := range nodes {
		if n == nil || verdicts[i] == nil || verdicts[i].Code != framework.Unschedulable {
			continue
		}
		potential++
		without := n
		for _, p := range n.Pods {
			if p.Priority < pod.Priority {
				without = without.Without(p.UID)
			}
		}
		if without != n {
			if status := o.filterInstead(n, without); status != nil {
				for _, reason := range status.Reasons {
					f.Reasons[reason]++
				}
				continue
			}
		}
		f.Reasons[noVictims]++
	}
	if rest := f.Nodes - potential; rest > 0 {
		f.Reasons["Preemption is not helpful for scheduling"] += rest
	}
	return "preemption: " + f.Error()
}
