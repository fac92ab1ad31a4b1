package framework

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
)

// Pod is what the core keeps of a pod that takes room on a node. It does not
// hold the API object, so that caches are not kept alive twice.
type Pod struct {
	UID       types.UID
	Namespace string
	Name      string
	Labels    map[string]string
	Priority  int32
	Requests  Resources
	// Assumed is Requests with the assumed use of containers that request nothing; for scores.
	Assumed     Resources
	HostPorts   []HostPort
	Terminating bool
	// Terms are the pod's affinities to other pods; they never change.
	Terms []*PodTerm
}

// NewPod extracts what the core needs of pod.
func NewPod(pod *v1.Pod) *Pod {
	p := &Pod{
		UID: pod.UID, Namespace: pod.Namespace, Name: pod.Name, Labels: pod.Labels,
		Priority: corev1helpers.PodPriority(pod), HostPorts: hostPorts(pod),
		Terminating: pod.DeletionTimestamp != nil, Terms: podTerms(pod),
	}
	p.Requests, p.Assumed = requests(pod)
	return p
}

// Equal reports whether both take the same room and look the same to every plugin.
func (p *Pod) Equal(o *Pod) bool {
	return p.UID == o.UID && p.Priority == o.Priority && p.Terminating == o.Terminating &&
		p.Requests.Equal(o.Requests) && p.Assumed.Equal(o.Assumed) &&
		slices.Equal(p.HostPorts, o.HostPorts) && maps.Equal(p.Labels, o.Labels)
}

// Pending is a pod that waits for a node, with the values every plugin needs
// computed once.
type Pending struct {
	*Pod
	// Object is the API object; plugins read its spec and never change it.
	Object *v1.Pod
}

// NewPending wraps an unbound pod.
func NewPending(pod *v1.Pod) *Pending { return &Pending{Pod: NewPod(pod), Object: pod} }

// SameLabels reports whether both versions of a pod have the same labels.
func SameLabels(a, b *v1.Pod) bool { return maps.Equal(a.Labels, b.Labels) }
