package plugins

import (
	"math"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"proa/controllers/scheduler/framework"
)

// PodTopologySpread keeps pods evenly spread over the domains of a topology
// (nodes, zones): constraints with DoNotSchedule reject nodes, those with
// ScheduleAnyway score them. Constraints for pods that have none of their own
// are not made up.
type PodTopologySpread struct{}

// Name implements framework.Plugin.
func (PodTopologySpread) Name() string { return "PodTopologySpread" }

// Events implements framework.Plugin.
func (PodTopologySpread) Events() []framework.EventHint {
	return []framework.EventHint{
		{Kind: framework.NodeAdd | framework.NodeLabel | framework.NodeTaint | framework.NodeGone, Helps: spreadHelpedByNode},
		{Kind: framework.PodAssigned | framework.PodGone, Helps: func(pod *framework.Pending, e framework.Event) bool {
			if pod.Namespace != e.Pod.Namespace {
				return false
			}
			for _, c := range spreadConstraints(pod, v1.DoNotSchedule) {
				if c.selector.Matches(labels.Set(e.Pod.Labels)) {
					return true
				}
			}
			return false
		}},
		{Kind: framework.PodRelabeled, Helps: func(pod *framework.Pending, e framework.Event) bool {
			return pod.Namespace == e.Pod.Namespace
		}},
		{Kind: framework.PodSelf},
	}
}

func spreadHelpedByNode(pod *framework.Pending, e framework.Event) bool {
	constraints := spreadConstraints(pod, v1.DoNotSchedule)
	has := func(n *v1.Node) bool { return n != nil && hasTopologies(n, constraints) }
	was, is := has(e.OldNode), has(e.Node)
	if was != is || e.OldNode == nil || e.Node == nil {
		return was || is
	}
	if !is {
		return false
	}
	if e.Kind&framework.NodeTaint != 0 {
		return true
	}
	for _, c := range constraints {
		// The node may also have come to match the pod's node affinity, and
		// brought a domain with it.
		if e.OldNode.Labels[c.key] != e.Node.Labels[c.key] || c.affinity == v1.NodeInclusionPolicyHonor {
			return true
		}
	}
	return false
}

// Shape implements framework.Plugin.
func (PodTopologySpread) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	list := pod.Object.Spec.TopologySpreadConstraints
	key = key.Int(int64(len(list)))
	if len(list) == 0 {
		return key
	}
	key = key.String(pod.Namespace).JSON(list)
	for i := range list {
		// Of the pod's own labels only these can matter; so the pods of a
		// StatefulSet, each with a label of its own, are still of one shape.
		c := newSpreadConstraint(&list[i], pod)
		if !c.self {
			key = key.Int(0)
		} else {
			key = key.Int(1)
		}
		for _, name := range list[i].MatchLabelKeys {
			value, ok := pod.Labels[name]
			if !ok {
				key = key.Int(0)
				continue
			}
			key = key.Int(1).String(value)
		}
	}
	return key
}

// Prepare implements framework.Plugin.
func (p PodTopologySpread) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	if len(pod.Object.Spec.TopologySpreadConstraints) == 0 {
		return framework.Prepared{}
	}
	hard := newSpread(pod, v1.DoNotSchedule)
	soft := newSpread(pod, v1.ScheduleAnyway)
	out := framework.Prepared{Observe: func(old, node *framework.Node) {
		hard.observe(old, node)
		soft.observe(old, node)
	}}
	if len(hard.constraints) > 0 {
		const reason = "node(s) didn't match pod topology spread constraints"
		skewed := framework.NewStatus(p.Name(), framework.Unschedulable, reason)
		unlabeled := framework.NewStatus(p.Name(), framework.UnschedulableAndUnresolvable, reason+" (missing required label)")
		out.Filter = func(n *framework.Node) *framework.Status {
			for _, c := range hard.constraints {
				value, ok := n.Object.Labels[c.key]
				if !ok {
					return unlabeled
				}
				if !c.allows(value) {
					return skewed
				}
			}
			return nil
		}
	}
	if len(soft.constraints) > 0 {
		out.ScoreAll = soft.score
	}
	return out
}

// spread is the state of a class's constraints of one kind.
type spread struct {
	pod         *framework.Pending
	required    nodeaffinity.RequiredNodeAffinity
	constraints []*spreadConstraint
	// matching has, by node name, the number of pods on it that match each
	// constraint; only nodes that have all the topologies.
	matching map[string][]int64
}

func newSpread(pod *framework.Pending, action v1.UnsatisfiableConstraintAction) *spread {
	return &spread{
		pod: pod, required: nodeaffinity.GetRequiredNodeAffinity(pod.Object),
		constraints: spreadConstraints(pod, action), matching: map[string][]int64{},
	}
}

// spreadConstraint is one constraint with the number of matching pods per domain.
type spreadConstraint struct {
	key              string
	selector         labels.Selector
	maxSkew          int64
	minDomains       int
	affinity, taints v1.NodeInclusionPolicy
	self             bool // the pod matches the selector itself

	domains map[string]*spreadDomain
	fewest  int64 // pods in a domain, as far as minDomains allow; -1: to be found
}

type spreadDomain struct {
	nodes int
	pods  int64
}

func spreadConstraints(pod *framework.Pending, action v1.UnsatisfiableConstraintAction) []*spreadConstraint {
	var list []*spreadConstraint
	for i := range pod.Object.Spec.TopologySpreadConstraints {
		if c := &pod.Object.Spec.TopologySpreadConstraints[i]; c.WhenUnsatisfiable == action {
			list = append(list, newSpreadConstraint(c, pod))
		}
	}
	return list
}

func newSpreadConstraint(c *v1.TopologySpreadConstraint, pod *framework.Pending) *spreadConstraint {
	selector, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
	if err != nil {
		selector = labels.Nothing() // the API refuses such selectors
	}
	own := labels.Set{}
	for _, key := range c.MatchLabelKeys {
		if value, ok := pod.Labels[key]; ok {
			own[key] = value
		}
	}
	if requirements, selectable := selector.Requirements(); selectable && len(own) > 0 {
		selector = labels.SelectorFromSet(own).Add(requirements...)
	}
	s := &spreadConstraint{
		key: c.TopologyKey, selector: selector, maxSkew: int64(c.MaxSkew), minDomains: 1,
		affinity: v1.NodeInclusionPolicyHonor, taints: v1.NodeInclusionPolicyIgnore,
		self:    selector.Matches(labels.Set(pod.Labels)),
		domains: map[string]*spreadDomain{}, fewest: -1,
	}
	if c.MinDomains != nil {
		s.minDomains = int(*c.MinDomains)
	}
	if c.NodeAffinityPolicy != nil {
		s.affinity = *c.NodeAffinityPolicy
	}
	if c.NodeTaintsPolicy != nil {
		s.taints = *c.NodeTaintsPolicy
	}
	return s
}

// allows reports whether one pod more may go into the domain.
func (c *spreadConstraint) allows(domain string) bool {
	if c.fewest < 0 {
		c.fewest = 0
		if len(c.domains) >= c.minDomains && len(c.domains) > 0 {
			c.fewest = math.MaxInt64
			for _, d := range c.domains {
				c.fewest = min(c.fewest, d.pods)
			}
		}
	}
	skew := -c.fewest
	if d := c.domains[domain]; d != nil {
		skew += d.pods
	}
	if c.self {
		skew++
	}
	return skew <= c.maxSkew
}

// counts reports whether pods on the node count.
func (c *spreadConstraint) counts(n *framework.Node, required nodeaffinity.RequiredNodeAffinity, tolerations []v1.Toleration) bool {
	if c.affinity == v1.NodeInclusionPolicyHonor {
		if match, _ := required.Match(n.Object); !match {
			return false
		}
	}
	return c.taints != v1.NodeInclusionPolicyHonor || !untolerated(n.Object.Spec.Taints, tolerations)
}

func hasTopologies(n *v1.Node, constraints []*spreadConstraint) bool {
	for _, c := range constraints {
		if _, ok := n.Labels[c.key]; !ok {
			return false
		}
	}
	return true
}

// observe replaces what old contributed by what node does.
func (s *spread) observe(old, node *framework.Node) {
	if old != nil {
		if matching, ok := s.matching[old.Name()]; ok {
			s.add(old, matching, -1)
			delete(s.matching, old.Name())
		}
	}
	if node == nil || len(s.constraints) == 0 || !hasTopologies(node.Object, s.constraints) {
		return
	}
	matching := make([]int64, len(s.constraints))
	for i, c := range s.constraints {
		if c.selector.Empty() {
			continue // selects every pod, but counts none, as upstream does
		}
		for _, p := range node.Pods {
			if !p.Terminating && p.Namespace == s.pod.Namespace && c.selector.Matches(labels.Set(p.Labels)) {
				matching[i]++
			}
		}
	}
	s.matching[node.Name()] = matching
	s.add(node, matching, 1)
}

func (s *spread) add(n *framework.Node, matching []int64, sign int) {
	for i, c := range s.constraints {
		if !c.counts(n, s.required, s.pod.Object.Spec.Tolerations) {
			continue
		}
		c.fewest = -1
		value := n.Object.Labels[c.key]
		d := c.domains[value]
		if d == nil {
			d = &spreadDomain{}
			c.domains[value] = d
		}
		d.nodes += sign
		d.pods += int64(sign) * matching[i]
		if d.nodes == 0 {
			delete(c.domains, value)
		}
	}
}

// score rates nodes by how few matching pods their domains have; domains of
// large topologies weigh more, so that few zones do not drown out many nodes.
// A node without one of the topologies gets 0.
func (s *spread) score(feasible []*framework.Node, scores []int64) {
	matching := make([][]int64, len(feasible))
	labeled := 0
	for i, n := range feasible {
		if matching[i] = s.matching[n.Name()]; matching[i] != nil {
			labeled++
		}
	}
	sums := make([]float64, len(feasible))
	for k, c := range s.constraints {
		size := labeled
		if c.key != v1.LabelHostname {
			values := map[string]bool{}
			for i, n := range feasible {
				if matching[i] != nil {
					values[n.Object.Labels[c.key]] = true
				}
			}
			size = len(values)
		}
		weight := math.Log(float64(size + 2))
		for i, n := range feasible {
			if matching[i] == nil {
				continue
			}
			var pods int64
			if c.key == v1.LabelHostname {
				pods = matching[i][k]
			} else if d := c.domains[n.Object.Labels[c.key]]; d != nil {
				pods = d.pods
			}
			sums[i] += float64(pods)*weight + float64(c.maxSkew-1)
		}
	}
	least, most := int64(math.MaxInt64), int64(0)
	for i := range feasible {
		if scores[i] = int64(math.Round(sums[i])); matching[i] != nil {
			least, most = min(least, scores[i]), max(most, scores[i])
		}
	}
	for i := range feasible {
		switch {
		case matching[i] == nil:
			scores[i] = 0
		case most == 0:
			scores[i] = framework.MaxNodeScore
		default:
			scores[i] = framework.MaxNodeScore * (most + least - scores[i]) / most
		}
	}
}
