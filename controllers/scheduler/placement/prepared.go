package placement

import (
	"slices"

	"proa/controllers/scheduler/framework"
)

// opinions are what all plugins think about one class of pods.
type opinions struct {
	reject *framework.Status
	// nodes restricts the choice to these when restrictedBy is not empty.
	nodes        []string
	restrictedBy []string

	filters  []func(*framework.Node) *framework.Status
	asIs     []scorer
	relative []scorer // scores that depend on the largest among all feasible nodes
	versions []func() uint64

	// What depends on all nodes; see framework.Prepared.Observe.
	observers   []func(old, node *framework.Node)
	wideFilters []func(*framework.Node) *framework.Status
	wideScorers []wideScorer
}

type scorer struct {
	score     func(*framework.Node) int64
	weight    int64
	normalize framework.Normalization
}

type wideScorer struct {
	score  func(feasible []*framework.Node, scores []int64)
	weight int64
}

func prepare(plugins []framework.Weighted, pod *framework.Pending, cluster *framework.Cluster) *opinions {
	o := &opinions{}
	for _, plugin := range plugins {
		p := plugin.Prepare(pod, cluster)
		if p.Reject != nil {
			o.reject = p.Reject
			return o
		}
		if p.Nodes != nil {
			if len(o.restrictedBy) == 0 {
				o.nodes = p.Nodes
			} else {
				o.nodes = slices.DeleteFunc(slices.Clone(o.nodes), func(name string) bool { return !slices.Contains(p.Nodes, name) })
			}
			o.restrictedBy = append(o.restrictedBy, plugin.Name())
		}
		if p.Filter != nil {
			if p.Observe != nil {
				o.wideFilters = append(o.wideFilters, p.Filter)
			} else {
				o.filters = append(o.filters, p.Filter)
			}
		}
		if p.Score != nil && plugin.Weight > 0 {
			s := scorer{score: p.Score, weight: plugin.Weight, normalize: p.Normalize}
			if p.Normalize == framework.AsIs {
				o.asIs = append(o.asIs, s)
			} else {
				o.relative = append(o.relative, s)
			}
		}
		if p.Version != nil {
			o.versions = append(o.versions, p.Version)
		}
		if p.Observe != nil {
			o.observers = append(o.observers, p.Observe)
		}
		if p.ScoreAll != nil && plugin.Weight > 0 {
			o.wideScorers = append(o.wideScorers, wideScorer{score: p.ScoreAll, weight: plugin.Weight})
		}
	}
	return o
}

// filter returns the first rejection, nil if the pod fits.
func (o *opinions) filter(n *framework.Node) *framework.Status {
	for _, f := range o.filters {
		if s := f(n); s != nil {
			return s
		}
	}
	return o.wideFilter(n)
}

// wideFilter asks only the filters that depend on all nodes.
func (o *opinions) wideFilter(n *framework.Node) *framework.Status {
	for _, f := range o.wideFilters {
		if s := f(n); s != nil {
			return s
		}
	}
	return nil
}

func (o *opinions) observe(old, node *framework.Node) {
	for _, f := range o.observers {
		f(old, node)
	}
}

// filterInstead returns the first rejection if n looked like instead.
func (o *opinions) filterInstead(n, instead *framework.Node) *framework.Status {
	o.observe(n, instead)
	defer o.observe(instead, n)
	return o.filter(instead)
}

// addWide adds to totals, parallel to feasible, the scores that depend on all nodes.
func (o *opinions) addWide(feasible []*framework.Node, totals []int64) {
	if len(o.wideScorers) == 0 || len(feasible) == 0 {
		return
	}
	scores := make([]int64, len(feasible))
	for _, s := range o.wideScorers {
		s.score(feasible, scores)
		for i, score := range scores {
			totals[i] += s.weight * score
		}
	}
}

func (o *opinions) absolute(n *framework.Node) (sum int64) {
	for i := range o.asIs {
		sum += o.asIs[i].weight * o.asIs[i].score(n)
	}
	return sum
}
