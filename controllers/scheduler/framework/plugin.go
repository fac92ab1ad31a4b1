package framework

// MaxNodeScore is the best score a plugin gives a node; the worst is 0.
const MaxNodeScore int64 = 100

// Plugin takes part in the choice of a node. A plugin has no state of its own:
// all it knows of a pod is in what Prepare returns.
type Plugin interface {
	// Name is upstream's name of the plugin.
	Name() string
	// Events are the changes that may make a pod schedulable which this plugin rejected.
	Events() []EventHint
	// Shape appends to key everything of the pod that Prepare looks at. Pods
	// with equal keys over all plugins form a class: they are interchangeable,
	// and prepared once.
	Shape(key Key, pod *Pending) Key
	// Prepare computes what the plugin thinks about the class of the pod.
	Prepare(pod *Pending, cluster *Cluster) Prepared
}

// Situated is a plugin whose view of a pod also depends on what the pods that
// are in the cluster now say about it.
type Situated interface {
	Plugin
	// Situation appends to key what of the cluster's pods concerns the pod;
	// nothing if none does. Pods of one shape and one situation form a class.
	Situation(key Key, pod *Pending, cluster *Cluster) Key
}

// EventHint says that a kind of event may help a rejected pod.
type EventHint struct {
	Kind EventKind
	// Helps narrows it down; nil means always. It must answer true when in doubt.
	Helps func(pod *Pending, event Event) bool
}

// Prepared is one plugin's view of one class of pods. The zero value has no opinion.
//
// Filter and Score are functions of one node. A plugin whose verdict on one
// node depends on others (spreading, affinity between pods) says so with
// Observe: it is told of every change, keeps sums, and is then asked again
// about all nodes. Such filters are asked after all others.
type Prepared struct {
	// Reject, when set, means that no node can take the pod, whatever it looks like.
	Reject *Status
	// Nodes, when not nil, names the only nodes worth looking at.
	Nodes []string
	// Filter returns nil if the pod fits the node.
	Filter func(node *Node) *Status
	// Score rates a node that passed all filters; between 0 and MaxNodeScore
	// after Normalize.
	Score     func(node *Node) int64
	Normalize Normalization
	// Version, when not nil, returns a number that changes when every node
	// must be looked at again.
	Version func() uint64
	// Observe, when not nil, is called with each node that changed since it was
	// observed last; one of both may be nil, for absent. Filter and ScoreAll are then
	// functions of all that was observed.
	Observe func(old, node *Node)
	// ScoreAll, which needs Observe, rates all nodes that passed all filters,
	// each from 0 to MaxNodeScore; scores is as long as feasible.
	ScoreAll func(feasible []*Node, scores []int64)
}

// Normalization maps raw scores to 0..MaxNodeScore over all feasible nodes.
type Normalization uint8

const (
	// AsIs takes scores as they are.
	AsIs Normalization = iota
	// ToMax scales so that the largest raw score becomes MaxNodeScore.
	ToMax
	// ToMaxReversed scales likewise, then turns best into worst.
	ToMaxReversed
)

// Apply maps one raw score, given the largest of all feasible nodes.
func (n Normalization) Apply(raw, largest int64) int64 {
	switch n {
	case ToMax:
		if largest == 0 {
			return 0
		}
		return MaxNodeScore * raw / largest
	case ToMaxReversed:
		if largest == 0 {
			return MaxNodeScore
		}
		return MaxNodeScore - MaxNodeScore*raw/largest
	default:
		return raw
	}
}

// Weighted is a plugin with the weight of its score; 0 for one that only filters.
type Weighted struct {
	Plugin
	Weight int64
}
