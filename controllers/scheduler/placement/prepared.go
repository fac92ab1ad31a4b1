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
	affected []func(old, node *framework.Node, visit func(int))
}

type scorer struct {
	score     func(*framework.Node) int64
	weight    int64
	normalize framework.Normalization
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
			o.filters = append(o.filters, p.Filter)
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
		if p.Affected != nil {
			o.affected = append(o.affected, p.Affected)
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
	return nil
}

func (o *opinions) absolute(n *framework.Node) (sum int64) {
	for i := range o.asIs {
		sum += o.asIs[i].weight * o.asIs[i].score(n)
	}
	return sum
}
