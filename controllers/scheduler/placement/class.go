package placement

import (
	"math/rand/v2"

	"proa/controllers/scheduler/framework"
)

// class is the state of one shape of pods over all nodes. Slices are by node index.
type class struct {
	*opinions
	cluster *framework.Cluster

	seen     []*framework.Node // the node as last looked at
	verdict  []*framework.Status
	own      []*framework.Status // by the filters that look at one node; only if some look at all
	absScore []int64
	raw      [][]int64 // per relative scorer
	largest  []int64   // per relative scorer, over feasible nodes
	holders  []int     // per relative scorer: feasible nodes with the largest
	ranking  *buckets
	// rankWide's memory, kept to be used again
	feasible []int32
	nodes    []*framework.Node

	position uint64
	seenAt   []uint64 // versions
	failure  *FitError
	used     uint64 // for eviction: time of last use
}

func newClass(o *opinions, cluster *framework.Cluster, maxScore int64) *class {
	return &class{
		opinions: o, cluster: cluster, ranking: newBuckets(maxScore),
		raw: make([][]int64, len(o.relative)), largest: make([]int64, len(o.relative)),
		holders: make([]int, len(o.relative)), seenAt: make([]uint64, len(o.versions)),
	}
}

// sync looks again at every node that changed since the last call.
func (c *class) sync() {
	slots := c.cluster.Slots()
	c.grow(slots)
	all := c.versionsChanged()
	if len(c.observers) > 0 {
		c.syncWide(slots, all)
		return
	}
	stale, changed := false, false
	visit := func(i int) {
		if all || c.seen[i] != c.cluster.At(i) {
			stale = c.look(i) || stale
			changed = true
		}
	}
	c.visit(slots, all, visit)
	if changed {
		c.failure = nil
	}
	if stale {
		c.rank()
	}
}

// visit calls f for the nodes that may have changed since it was called last.
func (c *class) visit(slots int, all bool, f func(i int)) {
	if all || !c.cluster.Since(c.position, f) {
		for i := range slots {
			f(i)
		}
	}
	c.position = c.cluster.Position()
}

func (c *class) grow(slots int) {
	for len(c.seen) < slots {
		c.seen = append(c.seen, nil)
		c.verdict = append(c.verdict, nil)
		c.own = append(c.own, nil)
		c.absScore = append(c.absScore, 0)
		for r := range c.raw {
			c.raw[r] = append(c.raw[r], 0)
		}
	}
	c.ranking.grow(slots)
}

// versionsChanged reports whether every node must be looked at again.
func (c *class) versionsChanged() (all bool) {
	for i, version := range c.versions {
		if v := version(); v != c.seenAt[i] {
			c.seenAt[i], all = v, true
		}
	}
	return all
}

// look computes verdict and scores of one node and files it. It reports whether
// the scale of a relative score has changed, so that all nodes must be ranked anew.
func (c *class) look(i int) (stale bool) {
	if c.ranking.has(i) {
		c.ranking.remove(i)
		for r := range c.relative {
			if c.raw[r][i] == c.largest[r] {
				c.holders[r]--
			}
		}
	}
	n := c.cluster.At(i)
	c.seen[i], c.verdict[i] = n, nil
	if n == nil {
		return c.scaleLost()
	}
	if c.verdict[i] = c.filter(n); c.verdict[i] != nil {
		return c.scaleLost()
	}
	c.absScore[i] = c.absolute(n)
	for r := range c.relative {
		raw := c.relative[r].score(n)
		c.raw[r][i] = raw
		switch {
		case raw == c.largest[r]:
			c.holders[r]++
		case raw > c.largest[r]:
			c.largest[r], c.holders[r] = raw, 1
			stale = true
		}
	}
	c.ranking.insert(i, c.total(i))
	return stale || c.scaleLost()
}

// scaleLost reports whether the last node with the largest raw score is gone.
func (c *class) scaleLost() bool {
	for r := range c.relative {
		if c.largest[r] > 0 && c.holders[r] == 0 {
			return true
		}
	}
	return false
}

func (c *class) total(i int) int64 {
	sum := c.absScore[i]
	for r := range c.relative {
		s := &c.relative[r]
		sum += s.weight * s.normalize.Apply(c.raw[r][i], c.largest[r])
	}
	return sum
}

// rank finds the scales of relative scores and files every feasible node anew.
func (c *class) rank() {
	for r := range c.relative {
		c.largest[r], c.holders[r] = 0, 0
		for i := range c.seen {
			if !c.ranking.has(i) {
				continue
			}
			switch raw := c.raw[r][i]; {
			case raw > c.largest[r]:
				c.largest[r], c.holders[r] = raw, 1
			case raw == c.largest[r]:
				c.holders[r]++
			}
		}
	}
	for i := range c.seen {
		if c.ranking.has(i) {
			c.ranking.remove(i)
			c.ranking.insert(i, c.total(i))
		}
	}
}

// place chooses among the feasible nodes; ok is false when there is none.
func (c *class) place(random *rand.Rand) (n *framework.Node, ok bool) {
	i, ok := c.ranking.pick(random)
	if !ok {
		return nil, false
	}
	return c.seen[i], true
}
