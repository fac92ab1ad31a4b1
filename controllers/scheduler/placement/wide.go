package placement

import "proa/controllers/scheduler/framework"

// syncWide is sync for a class with opinions that depend on all nodes: what
// looks at one node is asked about changed nodes only, the rest about all.
func (c *class) syncWide(slots int, all bool) {
	var changed []int
	c.visit(slots, all, func(i int) {
		old, now := c.seen[i], c.cluster.At(i)
		if old == now && !all {
			return
		}
		changed = append(changed, i)
		c.lookOwn(i, now)
		if old != nil {
			c.observe(old, nil)
		}
	})
	// A node may have come back at another index: old ones go before new ones come.
	for _, i := range changed {
		if c.seen[i] != nil {
			c.observe(nil, c.seen[i])
		}
	}
	if len(changed) > 0 {
		c.failure = nil
		c.rankWide()
	}
}

// lookOwn asks the opinions that look at one node.
func (c *class) lookOwn(i int, n *framework.Node) {
	c.seen[i], c.own[i] = n, nil
	if n == nil {
		return
	}
	for _, f := range c.filters {
		if c.own[i] = f(n); c.own[i] != nil {
			return
		}
	}
	c.absScore[i] = c.absolute(n)
	for r := range c.relative {
		c.raw[r][i] = c.relative[r].score(n)
	}
}

// rankWide asks the opinions that depend on all nodes and files every feasible node anew.
func (c *class) rankWide() {
	clear(c.largest)
	c.feasible, c.nodes = c.feasible[:0], c.nodes[:0]
	for i, n := range c.seen {
		c.ranking.remove(i)
		c.verdict[i] = c.own[i]
		if n == nil || c.own[i] != nil {
			continue
		}
		if c.verdict[i] = c.wideFilter(n); c.verdict[i] != nil {
			continue
		}
		c.feasible, c.nodes = append(c.feasible, int32(i)), append(c.nodes, n)
		for r := range c.relative {
			c.largest[r] = max(c.largest[r], c.raw[r][i])
		}
	}
	totals := make([]int64, len(c.feasible))
	for k, i := range c.feasible {
		totals[k] = c.total(int(i))
	}
	c.addWide(c.nodes, totals)
	for k, i := range c.feasible {
		c.ranking.insert(int(i), totals[k])
	}
}
