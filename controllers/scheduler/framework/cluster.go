package framework

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Cluster is the scheduler's picture of all nodes and the pods on them,
// including pods that are assumed to be bound. Every method costs time in
// proportion to the change, not to the cluster. It is not safe for concurrent use.
//
// Each node has an index that stays its own while it exists; indexes of removed
// nodes are given to later ones. Every change of a node is put in a log, so
// that a reader who remembers a position can catch up on just what changed.
type Cluster struct {
	nodes  []*Node // by index; nil where free
	index  map[string]int
	free   []int
	count  int
	pods   map[types.UID]place
	ghosts map[string][]*Pod // pods on nodes that are not (or no more) known

	log      []int32 // indexes of changed nodes, oldest first
	logStart uint64  // position of log[0]

	images        map[string]int // image name -> number of nodes that have it
	imagesVersion uint64

	terms             termIndex
	namespaces        map[string]map[string]string // labels by name
	namespacesVersion uint64
}

type place struct {
	node string
	pod  *Pod
}

// NewCluster returns an empty cluster.
func NewCluster() *Cluster {
	return &Cluster{
		index: map[string]int{}, pods: map[types.UID]place{},
		ghosts: map[string][]*Pod{}, images: map[string]int{},
		namespaces: map[string]map[string]string{},
	}
}

// Len is the number of nodes.
func (c *Cluster) Len() int { return c.count }

// Slots is one more than the largest node index in use so far.
func (c *Cluster) Slots() int { return len(c.nodes) }

// At returns the node with that index, nil if there is none.
func (c *Cluster) At(i int) *Node { return c.nodes[i] }

// Index returns the index of the named node.
func (c *Cluster) Index(name string) (int, bool) {
	i, ok := c.index[name]
	return i, ok
}

// Position is the place in the change log that a reader who has seen everything remembers.
func (c *Cluster) Position() uint64 { return c.logStart + uint64(len(c.log)) }

// Since calls visit with the index of every node changed after position, maybe
// more than once. It returns false, and visits nothing, when the log does not
// reach back that far: the reader must then look at every node.
func (c *Cluster) Since(position uint64, visit func(i int)) bool {
	if position < c.logStart {
		return false
	}
	for _, i := range c.log[position-c.logStart:] {
		visit(int(i))
	}
	return true
}

func (c *Cluster) set(i int, n *Node) {
	c.nodes[i] = n
	if limit := 2*len(c.nodes) + 64; len(c.log) >= 2*limit {
		c.logStart += uint64(len(c.log) - limit)
		c.log = slices.Clone(c.log[len(c.log)-limit:])
	}
	c.log = append(c.log, int32(i))
}

// SetNode adds the node or takes over its changes. It returns the node as it
// was (nil for a new one) and whether anything a plugin can see has changed.
func (c *Cluster) SetNode(object *v1.Node) (old *v1.Node, changed bool) {
	i, ok := c.index[object.Name]
	if !ok {
		n := newNode(object)
		for _, p := range c.ghosts[object.Name] {
			n = n.With(p)
		}
		delete(c.ghosts, object.Name)
		if k := len(c.free); k > 0 {
			i, c.free = c.free[k-1], c.free[:k-1]
		} else {
			i, c.nodes = len(c.nodes), append(c.nodes, nil)
		}
		c.index[object.Name] = i
		c.count++
		c.countImages(n.Images, 1)
		c.imagesVersion++ // spread is relative to the number of nodes
		c.set(i, n)
		return nil, true
	}
	n := c.nodes[i]
	if n.sameForPlugins(object) {
		return n.Object, false
	}
	next := n.withObject(object)
	c.countImages(n.Images, -1)
	c.countImages(next.Images, 1)
	c.set(i, next)
	return n.Object, true
}

// RemoveNode forgets the node and returns it, nil if it was not known; its
// pods wait in case it comes back.
func (c *Cluster) RemoveNode(name string) *v1.Node {
	i, ok := c.index[name]
	if !ok {
		return nil
	}
	n := c.nodes[i]
	if len(n.Pods) > 0 {
		c.ghosts[name] = slices.Clone(n.Pods)
	}
	delete(c.index, name)
	c.free = append(c.free, i)
	c.count--
	c.countImages(n.Images, -1)
	c.imagesVersion++
	c.set(i, nil)
	return n.Object
}

// SetPod puts the pod on the named node, or takes over its changes there. It
// returns the pod as it was, nil if it was not on any node.
func (c *Cluster) SetPod(p *Pod, node string) (old *Pod) {
	if at, ok := c.pods[p.UID]; ok {
		if at.node == node && at.pod.Equal(p) {
			return at.pod
		}
		old = at.pod
		c.RemovePod(p.UID)
	}
	c.pods[p.UID] = place{node: node, pod: p}
	c.terms.add(p, 1)
	if i, ok := c.index[node]; ok {
		c.set(i, c.nodes[i].With(p))
	} else {
		c.ghosts[node] = append(c.ghosts[node], p)
	}
	return old
}

// RemovePod takes the pod off its node and returns it, nil if it was on none.
func (c *Cluster) RemovePod(uid types.UID) *Pod {
	at, ok := c.pods[uid]
	if !ok {
		return nil
	}
	delete(c.pods, uid)
	c.terms.add(at.pod, -1)
	if i, ok := c.index[at.node]; ok {
		c.set(i, c.nodes[i].Without(uid))
		return at.pod
	}
	rest := slices.DeleteFunc(c.ghosts[at.node], func(p *Pod) bool { return p.UID == uid })
	if len(rest) == 0 {
		delete(c.ghosts, at.node)
	} else {
		c.ghosts[at.node] = rest
	}
	return at.pod
}

// NodeOf returns the name of the node that the pod is on.
func (c *Cluster) NodeOf(uid types.UID) (string, bool) {
	at, ok := c.pods[uid]
	return at.node, ok
}

// ImageNodes is the number of nodes that have the image.
func (c *Cluster) ImageNodes(name string) int { return c.images[name] }

// ImagesVersion changes whenever the spread of images over nodes may have changed.
func (c *Cluster) ImagesVersion() uint64 { return c.imagesVersion }

func (c *Cluster) countImages(images map[string]int64, by int) {
	for name := range images {
		if c.images[name] += by; c.images[name] == 0 {
			delete(c.images, name)
		}
		c.imagesVersion++
	}
}

// Check verifies the cluster's inner consistency; tests call it.
func (c *Cluster) Check() error {
	seen := 0
	for name, i := range c.index {
		n := c.nodes[i]
		if n == nil || n.Name() != name {
			return fmt.Errorf("index of node %s leads to %v", name, n)
		}
		seen++
		var want Resources
		for _, p := range n.Pods {
			if at := c.pods[p.UID]; at.node != name || at.pod != p {
				return fmt.Errorf("pod %s is on node %s but recorded on %q", p.Name, name, at.node)
			}
			want = want.Plus(p.Requests, 1)
		}
		if !want.Equal(n.Requested) {
			return fmt.Errorf("node %s: requested is %+v, its pods sum to %+v", name, n.Requested, want)
		}
	}
	terms := 0
	for _, at := range c.pods {
		terms += len(at.pod.Terms)
	}
	for _, e := range c.terms.byKey {
		terms -= e.pods
	}
	if terms != 0 {
		return fmt.Errorf("pods have %d affinity terms more than the index", terms)
	}
	if seen != c.count {
		return fmt.Errorf("count is %d, index has %d", c.count, seen)
	}
	return nil
}
