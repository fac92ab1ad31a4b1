package framework

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
)

// Node is one node with the pods on it, at one moment. It never changes;
// the With and Without methods derive a new one.
type Node struct {
	// Object is the API object; plugins read name, labels, taints and
	// unschedulable from it. Its status conditions may be old.
	Object      *v1.Node
	Allocatable Resources
	// Requested and Assumed are sums over Pods (see Pod).
	Requested Resources
	Assumed   Resources
	Pods      []*Pod
	// HostPorts are the ports taken by Pods.
	HostPorts []HostPort
	// Images maps each image name on the node to its size in bytes.
	Images map[string]int64
}

// Name is the node's name.
func (n *Node) Name() string { return n.Object.Name }

func newNode(object *v1.Node) *Node {
	n := &Node{Object: object, Allocatable: NewResources(object.Status.Allocatable)}
	if len(object.Status.Images) > 0 {
		n.Images = make(map[string]int64)
		for _, image := range object.Status.Images {
			for _, name := range image.Names {
				n.Images[name] = image.SizeBytes
			}
		}
	}
	return n
}

// withObject returns the node described by object with the pods of n.
func (n *Node) withObject(object *v1.Node) *Node {
	c := newNode(object)
	c.Requested, c.Assumed, c.Pods, c.HostPorts = n.Requested, n.Assumed, n.Pods, n.HostPorts
	return c
}

// sameForPlugins reports whether no plugin could tell o from n.Object.
func (n *Node) sameForPlugins(o *v1.Node) bool {
	a := n.Object
	return a.UID == o.UID && a.Spec.Unschedulable == o.Spec.Unschedulable &&
		maps.Equal(a.Labels, o.Labels) &&
		equality.Semantic.DeepEqual(a.Spec.Taints, o.Spec.Taints) &&
		n.Allocatable.Equal(NewResources(o.Status.Allocatable)) &&
		slices.EqualFunc(a.Status.Images, o.Status.Images, func(x, y v1.ContainerImage) bool {
			return x.SizeBytes == y.SizeBytes && slices.Equal(x.Names, y.Names)
		})
}

// With returns the node with one pod more.
func (n *Node) With(p *Pod) *Node {
	c := *n
	c.Pods = append(append(make([]*Pod, 0, len(n.Pods)+1), n.Pods...), p)
	c.Requested = n.Requested.Plus(p.Requests, 1)
	c.Assumed = n.Assumed.Plus(p.Assumed, 1)
	if len(p.HostPorts) > 0 {
		c.HostPorts = append(slices.Clip(n.HostPorts), p.HostPorts...)
	}
	return &c
}

// Without returns the node without the pod of that UID, or n itself if it is not there.
func (n *Node) Without(uid types.UID) *Node {
	i := slices.IndexFunc(n.Pods, func(p *Pod) bool { return p.UID == uid })
	if i < 0 {
		return n
	}
	p, c := n.Pods[i], *n
	c.Pods = slices.Delete(slices.Clone(n.Pods), i, i+1)
	c.Requested = n.Requested.Plus(p.Requests, -1)
	c.Assumed = n.Assumed.Plus(p.Assumed, -1)
	if len(p.HostPorts) > 0 {
		c.HostPorts = nil
		for _, other := range c.Pods {
			c.HostPorts = append(c.HostPorts, other.HostPorts...)
		}
	}
	return &c
}
