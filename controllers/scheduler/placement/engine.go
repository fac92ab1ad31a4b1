package placement

import (
	"math/rand/v2"

	"proa/controllers/scheduler/framework"
)

// maxCells bounds the memory of remembered classes: one cell is one node in one
// class, about 40 bytes.
const maxCells = 2_000_000

// Engine places pods on the nodes of a cluster. It is not safe for concurrent use.
type Engine struct {
	plugins  []framework.Weighted
	situated []framework.Situated
	cluster  *framework.Cluster
	random   *rand.Rand
	maxScore int64
	classes  map[string]*class
	uses     uint64
}

// New returns an engine for the cluster. The random source breaks ties between
// equally good nodes.
func New(plugins []framework.Weighted, cluster *framework.Cluster, random *rand.Rand) *Engine {
	e := &Engine{plugins: plugins, cluster: cluster, random: random, classes: map[string]*class{}}
	for _, p := range plugins {
		e.maxScore += p.Weight * framework.MaxNodeScore
		if s, ok := p.Plugin.(framework.Situated); ok {
			e.situated = append(e.situated, s)
		}
	}
	return e
}

// Placement is a successful choice.
type Placement struct {
	Node string
	// Feasible is the number of nodes that could have taken the pod, as far as looked.
	Feasible int
}

// Shape returns the pod's class key.
func (e *Engine) Shape(pod *framework.Pending) string {
	var key framework.Key
	for _, p := range e.plugins {
		key = p.Shape(key, pod)
	}
	return string(key)
}

// situate returns the key of the pod's class: its shape, and what the pods in
// the cluster have to say about it.
func (e *Engine) situate(pod *framework.Pending, shape string) string {
	var key framework.Key
	for _, p := range e.situated {
		key = p.Situation(key, pod, e.cluster)
	}
	if len(key) == 0 {
		return shape
	}
	return shape + string(key)
}

// Place chooses a node for the pod of that shape, or says why there is none. It
// changes nothing in the cluster: the caller puts the pod there.
func (e *Engine) Place(pod *framework.Pending, shape string) (Placement, *FitError) {
	if e.cluster.Len() == 0 {
		return Placement{}, &FitError{RejectedBy: e.names()}
	}
	shape = e.situate(pod, shape)
	c := e.classes[shape]
	if c == nil {
		o := prepare(e.plugins, pod, e.cluster)
		if o.reject != nil {
			return Placement{}, e.explainReject(pod, o.reject)
		}
		if len(o.restrictedBy) > 0 {
			return e.placeAmong(pod, o)
		}
		e.evict()
		c = newClass(o, e.cluster, e.maxScore)
		e.classes[shape] = c
	}
	e.uses++
	c.used = e.uses
	c.sync()
	if n, ok := c.place(e.random); ok {
		return Placement{Node: n.Name(), Feasible: c.ranking.members}, nil
	}
	if c.failure == nil || !c.failure.sameFor(pod) {
		c.failure = e.explain(pod, c.opinions, c.seen, c.verdict)
	}
	return Placement{}, c.failure
}

// Classes is the number of shapes remembered.
func (e *Engine) Classes() int { return len(e.classes) }

// evict makes room for one more class by forgetting those not used for longest.
func (e *Engine) evict() {
	limit := max(8, maxCells/max(1, e.cluster.Slots()))
	for len(e.classes) >= limit {
		var oldest string
		first := true
		for shape, c := range e.classes {
			if first || c.used < e.classes[oldest].used {
				oldest, first = shape, false
			}
		}
		delete(e.classes, oldest)
	}
}

// placeAmong handles pods that name their nodes (those of DaemonSets): few
// nodes, and as many shapes, so nothing is remembered.
func (e *Engine) placeAmong(pod *framework.Pending, o *opinions) (Placement, *FitError) {
	if len(o.observers) > 0 {
		for i := range e.cluster.Slots() {
			if n := e.cluster.At(i); n != nil {
				o.observe(nil, n)
			}
		}
	}
	var nodes, feasible []*framework.Node
	var verdicts []*framework.Status
	for _, name := range o.nodes {
		i, ok := e.cluster.Index(name)
		if !ok {
			continue
		}
		n := e.cluster.At(i)
		verdict := o.filter(n)
		nodes, verdicts = append(nodes, n), append(verdicts, verdict)
		if verdict == nil {
			feasible = append(feasible, n)
		}
	}
	if len(feasible) == 0 {
		return Placement{}, e.explain(pod, o, nodes, verdicts)
	}
	totals := make([]int64, len(feasible))
	for i, n := range feasible {
		totals[i] = o.absolute(n)
	}
	for _, s := range o.relative {
		raw := make([]int64, len(feasible))
		var largest int64
		for i, n := range feasible {
			raw[i] = s.score(n)
			largest = max(largest, raw[i])
		}
		for i := range raw {
			totals[i] += s.weight * s.normalize.Apply(raw[i], largest)
		}
	}
	o.addWide(feasible, totals)
	best, ties := 0, 1
	for i := 1; i < len(feasible); i++ {
		switch {
		case totals[i] > totals[best]:
			best, ties = i, 1
		case totals[i] == totals[best]:
			if ties++; e.random.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return Placement{Node: feasible[best].Name(), Feasible: len(feasible)}, nil
}

func (e *Engine) names() []string {
	names := make([]string, len(e.plugins))
	for i, p := range e.plugins {
		names[i] = p.Name()
	}
	return names
}
