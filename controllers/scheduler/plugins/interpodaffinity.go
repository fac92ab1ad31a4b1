package plugins

import (
	"math"
	"slices"

	"proa/controllers/scheduler/framework"
)

// hardAffinityWeight is what a required affinity of an existing pod counts
// towards the new pod's score.
const hardAffinityWeight = 1

// InterPodAffinity places pods near to, or far from, other pods: by the new
// pod's own terms, and by those of existing pods that select it.
type InterPodAffinity struct{}

// Name implements framework.Plugin.
func (InterPodAffinity) Name() string { return "InterPodAffinity" }

// Events implements framework.Plugin.
func (InterPodAffinity) Events() []framework.EventHint {
	return []framework.EventHint{
		{Kind: framework.NodeAdd | framework.NodeLabel | framework.NodeGone | framework.PodRelabeled | framework.NamespaceLabel | framework.PodSelf},
		// Namespaces' labels are not at hand here: the terms' pod selectors decide.
		{Kind: framework.PodAssigned, Helps: func(pod *framework.Pending, e framework.Event) bool {
			return slices.ContainsFunc(pod.Terms, func(t *framework.PodTerm) bool {
				return t.Kind == framework.RequiredAffinity && (t.SelectsNamespaces() || t.Matches(e.Pod, nil))
			})
		}},
		// An existing pod's anti-affinity may be against any of the pods that
		// are of one shape otherwise.
		{Kind: framework.PodGone, Helps: func(pod *framework.Pending, e framework.Event) bool {
			return slices.ContainsFunc(pod.Terms, func(t *framework.PodTerm) bool {
				switch t.Kind {
				case framework.RequiredAntiAffinity:
					return t.SelectsNamespaces() || t.Matches(e.Pod, nil)
				case framework.RequiredAffinity:
					return true // the last pod it had to follow may be gone
				}
				return false
			}) || slices.ContainsFunc(e.Pod.Terms, func(t *framework.PodTerm) bool { return t.Kind == framework.RequiredAntiAffinity })
		}},
	}
}

// Shape implements framework.Plugin. Which terms of existing pods select the
// pod is told by Situation.
func (InterPodAffinity) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	key = key.Int(int64(len(pod.Terms)))
	if len(pod.Terms) == 0 {
		return key
	}
	for _, t := range pod.Terms {
		key = key.String(t.Key)
		// Of the pod's own labels it only matters whether they satisfy its own affinity.
		switch {
		case t.Kind != framework.RequiredAffinity:
		case t.SelectsNamespaces():
			key = key.String(pod.Namespace).Map(pod.Labels)
		case t.Matches(pod.Pod, nil):
			key = key.Int(1)
		default:
			key = key.Int(0)
		}
	}
	return key
}

// Situation implements framework.Situated.
func (InterPodAffinity) Situation(key framework.Key, pod *framework.Pending, cluster *framework.Cluster) framework.Key {
	for _, term := range cluster.TermsAbout(pod.Pod) {
		key = key.String(term)
	}
	return key
}

// Prepare implements framework.Plugin.
func (p InterPodAffinity) Prepare(pod *framework.Pending, cluster *framework.Cluster) framework.Prepared {
	about := cluster.TermsAbout(pod.Pod)
	if len(pod.Terms) == 0 && len(about) == 0 {
		return framework.Prepared{}
	}
	s := newAffinities(pod, cluster, about)
	notNear := framework.NewStatus(p.Name(), framework.UnschedulableAndUnresolvable, "node(s) didn't match pod affinity rules")
	notFar := framework.NewStatus(p.Name(), framework.Unschedulable, "node(s) didn't match pod anti-affinity rules")
	unwelcome := framework.NewStatus(p.Name(), framework.Unschedulable, "node(s) didn't satisfy existing pods anti-affinity rules")
	out := framework.Prepared{
		Observe: s.observe,
		Filter: func(n *framework.Node) *framework.Status {
			switch {
			case !s.near(n):
				return notNear
			case anyAt(s.anti, n):
				return notFar
			case anyAt(s.existing, n):
				return unwelcome
			}
			return nil
		},
		ScoreAll: s.score,
	}
	if slices.ContainsFunc(pod.Terms, (*framework.PodTerm).SelectsNamespaces) {
		out.Version = cluster.NamespacesVersion
	}
	return out
}

// domainCounts has numbers by topology key and domain; no zeros.
type domainCounts map[string]map[string]int64

func (d domainCounts) add(key, domain string, by int64) {
	m := d[key]
	if m == nil {
		m = map[string]int64{}
		d[key] = m
	}
	if m[domain] += by; m[domain] == 0 {
		if delete(m, domain); len(m) == 0 {
			delete(d, key)
		}
	}
}

// anyAt reports whether one of the node's domains has a positive number.
func anyAt(d domainCounts, n *framework.Node) bool {
	for key, domains := range d {
		if domain, ok := n.Object.Labels[key]; ok && domains[domain] > 0 {
			return true
		}
	}
	return false
}

// affinities is the state of one class: the numbers of pods, and the sums of
// weights, per domain.
type affinities struct {
	cluster *framework.Cluster
	pod     *framework.Pod
	about   map[string]bool // keys of terms of existing pods that select the pod
	// The pod's own terms.
	required, terms []*framework.PodTerm

	affinity domainCounts // pods that match all required affinity terms
	anti     domainCounts // pods that match a required anti-affinity term
	existing domainCounts // pods whose required anti-affinity is against the pod
	weights  domainCounts // of preferences, both ways
	// given has by node name what was counted for the node.
	given map[string][]given
}

type given struct {
	to          domainCounts
	key, domain string
	by          int64
}

func newAffinities(pod *framework.Pending, cluster *framework.Cluster, about []string) *affinities {
	s := &affinities{
		cluster: cluster, pod: pod.Pod, about: map[string]bool{}, terms: pod.Terms,
		affinity: domainCounts{}, anti: domainCounts{}, existing: domainCounts{}, weights: domainCounts{},
		given: map[string][]given{},
	}
	for _, key := range about {
		s.about[key] = true
	}
	for _, t := range pod.Terms {
		if t.Kind == framework.RequiredAffinity {
			s.required = append(s.required, t)
		}
	}
	return s
}

// followed reports whether the pod p matches all required affinity terms.
func (s *affinities) followed(p *framework.Pod) bool {
	for _, t := range s.required {
		if !t.Matches(p, s.cluster.NamespaceLabels(p.Namespace)) {
			return false
		}
	}
	return len(s.required) > 0
}

// near reports whether the node satisfies the pod's required affinity. The
// first of a group of pods that want to be near each other may go anywhere.
func (s *affinities) near(n *framework.Node) bool {
	all := true
	for _, t := range s.required {
		domain, ok := n.Object.Labels[t.TopologyKey]
		if !ok {
			return false
		}
		all = all && s.affinity[t.TopologyKey][domain] > 0
	}
	return all || len(s.affinity) == 0 && s.followed(s.pod)
}

// observe replaces what old contributed by what node does.
func (s *affinities) observe(old, node *framework.Node) {
	if old != nil {
		for _, g := range s.given[old.Name()] {
			g.to.add(g.key, g.domain, -g.by)
		}
		delete(s.given, old.Name())
	}
	if node == nil {
		return
	}
	var list []given
	give := func(to domainCounts, key string, by int64) {
		if domain, ok := node.Object.Labels[key]; ok && by != 0 {
			to.add(key, domain, by)
			list = append(list, given{to: to, key: key, domain: domain, by: by})
		}
	}
	for _, p := range node.Pods {
		s.count(p, give)
	}
	if len(list) > 0 {
		s.given[node.Name()] = list
	}
}

// count says what one existing pod gives to the domains of its node.
func (s *affinities) count(p *framework.Pod, give func(to domainCounts, key string, by int64)) {
	if len(s.terms) > 0 {
		if s.followed(p) {
			for _, t := range s.required {
				give(s.affinity, t.TopologyKey, 1)
			}
		}
		namespaceLabels := s.cluster.NamespaceLabels(p.Namespace)
		for _, t := range s.terms {
			if t.Kind == framework.RequiredAffinity || !t.Matches(p, namespaceLabels) {
				continue
			}
			switch t.Kind {
			case framework.RequiredAntiAffinity:
				give(s.anti, t.TopologyKey, 1)
			case framework.PreferredAffinity:
				give(s.weights, t.TopologyKey, t.Weight)
			case framework.PreferredAntiAffinity:
				give(s.weights, t.TopologyKey, -t.Weight)
			}
		}
	}
	for _, t := range p.Terms {
		if !s.about[t.Key] {
			continue
		}
		switch t.Kind {
		case framework.RequiredAntiAffinity:
			give(s.existing, t.TopologyKey, 1)
		case framework.RequiredAffinity:
			give(s.weights, t.TopologyKey, hardAffinityWeight)
		case framework.PreferredAffinity:
			give(s.weights, t.TopologyKey, t.Weight)
		case framework.PreferredAntiAffinity:
			give(s.weights, t.TopologyKey, -t.Weight)
		}
	}
}

// score rates nodes by the sums of weights of their domains, from the worst at
// 0 to the best at MaxNodeScore.
func (s *affinities) score(feasible []*framework.Node, scores []int64) {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for i, n := range feasible {
		scores[i] = 0
		for key, domains := range s.weights {
			if domain, ok := n.Object.Labels[key]; ok {
				scores[i] += domains[domain]
			}
		}
		least, most = min(least, scores[i]), max(most, scores[i])
	}
	for i := range feasible {
		if most == least {
			scores[i] = 0
			continue
		}
		scores[i] = int64(float64(framework.MaxNodeScore) * (float64(scores[i]-least) / float64(most-least)))
	}
}
