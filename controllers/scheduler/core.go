package scheduler

import (
	"maps"
	"math/rand/v2"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"proa/controllers/scheduler/framework"
	"proa/controllers/scheduler/placement"
	"proa/controllers/scheduler/queue"
)

// core is the scheduler without I/O and without a clock: what is told to it,
// and what it decides. It is not safe for concurrent use.
type core struct {
	schedulerName string
	cluster       *framework.Cluster
	engine        *placement.Engine
	queue         *queue.Queue
	// pending has every pod that is not bound and is ours, assumed ones included.
	pending map[types.UID]*v1.Pod
	// assumed has the pods that were given a node here, until the API confirms it.
	assumed map[types.UID]*queue.Item
}

func newCore(schedulerName string, plugins []framework.Weighted, random *rand.Rand) *core {
	cluster := framework.NewCluster()
	return &core{
		schedulerName: schedulerName,
		cluster:       cluster,
		engine:        placement.New(plugins, cluster, random),
		queue:         queue.New(plugins, queue.Options{}),
		pending:       map[types.UID]*v1.Pod{},
		assumed:       map[types.UID]*queue.Item{},
	}
}

// attempt is one try to place one pod.
type attempt struct {
	item *queue.Item
	// node is where the pod is assumed to be now; empty if none took it.
	node string
	fit  *placement.FitError
}

// next tries the next ready pod; nil if none is ready.
func (c *core) next(now time.Time) *attempt {
	item := c.queue.Pop(now)
	if item == nil {
		return nil
	}
	found, fit := c.engine.Place(item.Pod, item.Shape)
	if fit != nil {
		c.queue.Reject(now, item, fit.RejectedBy)
		return &attempt{item: item, fit: fit}
	}
	c.cluster.SetPod(item.Pod.Pod, found.Node)
	c.assumed[item.Pod.UID] = item
	c.queue.Event(now, framework.Event{Kind: framework.PodAssigned, Pod: item.Pod.Pod})
	return &attempt{item: item, node: found.Node}
}

// bindFailed takes back an assumption. It reports whether the pod will be tried
// again; it will not if it is gone or bound by now.
func (c *core) bindFailed(now time.Time, item *queue.Item) (again bool) {
	uid := item.Pod.UID
	if c.assumed[uid] != item {
		return false
	}
	delete(c.assumed, uid)
	c.released(now, c.cluster.RemovePod(uid))
	object, ok := c.pending[uid]
	if !ok {
		return false
	}
	item.Pod = framework.NewPending(object)
	item.Shape = c.engine.Shape(item.Pod)
	c.queue.Fail(now, item)
	return true
}

// bindDone notes that the API has accepted the binding; the informer will confirm it.
func (c *core) bindDone(item *queue.Item) {
	if c.assumed[item.Pod.UID] == item {
		delete(c.assumed, item.Pod.UID)
	}
}

// setNode takes over a new or changed node; it returns how many waiting pods that woke.
func (c *core) setNode(now time.Time, node *v1.Node) (woken int, label string) {
	old, changed := c.cluster.SetNode(node)
	if !changed {
		return 0, ""
	}
	event, ok := framework.NodeEvent(old, node)
	if !ok {
		return 0, ""
	}
	return c.queue.Event(now, event), event.Label()
}

// setNamespace takes over the labels of a namespace.
func (c *core) setNamespace(now time.Time, name string, labels map[string]string) {
	if c.cluster.SetNamespace(name, labels) {
		c.queue.Event(now, framework.Event{Kind: framework.NamespaceLabel})
	}
}

// removeNode forgets a node that is gone.
func (c *core) removeNode(now time.Time, name string) {
	if node := c.cluster.RemoveNode(name); node != nil {
		c.queue.Event(now, framework.Event{Kind: framework.NodeGone, OldNode: node})
	}
}

// setPod takes over a new or changed pod.
func (c *core) setPod(now time.Time, pod *v1.Pod) {
	switch {
	case pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed:
		c.removePod(now, pod.UID)
	case pod.Spec.NodeName != "":
		c.setBound(now, pod)
	case pod.Spec.SchedulerName == c.schedulerName:
		c.setPending(now, pod)
	}
}

func (c *core) setBound(now time.Time, pod *v1.Pod) {
	delete(c.pending, pod.UID)
	delete(c.assumed, pod.UID)
	c.queue.Delete(pod.UID)
	p := framework.NewPod(pod)
	old := c.cluster.SetPod(p, pod.Spec.NodeName)
	switch {
	case old == nil:
		c.queue.Event(now, framework.Event{Kind: framework.PodAssigned, Pod: p})
	default:
		if old.Requests.AtLeastSome(old.Requests, p.Requests) {
			c.queue.Event(now, framework.Event{Kind: framework.PodScaledDown, Pod: old})
		}
		if !maps.Equal(old.Labels, p.Labels) {
			c.queue.Event(now, framework.Event{Kind: framework.PodRelabeled, Pod: p})
		}
	}
}

func (c *core) setPending(now time.Time, pod *v1.Pod) {
	old := c.pending[pod.UID]
	c.pending[pod.UID] = pod
	if c.assumed[pod.UID] != nil {
		return
	}
	if _, bound := c.cluster.NodeOf(pod.UID); bound {
		return // bound by us; this is an older version of the pod
	}
	if pod.DeletionTimestamp != nil {
		c.queue.Delete(pod.UID)
		return
	}
	if old != nil && c.queue.Has(pod.UID) && old.Generation == pod.Generation && old.Generation != 0 && framework.SameLabels(old, pod) {
		return // only its status has changed
	}
	pending := framework.NewPending(pod)
	c.queue.Add(now, pending, c.engine.Shape(pending))
}

// removePod forgets a pod that is gone or finished.
func (c *core) removePod(now time.Time, uid types.UID) {
	delete(c.pending, uid)
	delete(c.assumed, uid)
	c.queue.Delete(uid)
	c.released(now, c.cluster.RemovePod(uid))
}

func (c *core) released(now time.Time, pod *framework.Pod) {
	if pod != nil {
		c.queue.Event(now, framework.Event{Kind: framework.PodGone, Pod: pod})
	}
}
