package nodeagent

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	ref "k8s.io/client-go/tools/reference"
)

// events writes the agent's events.
type events struct {
	recorder record.EventRecorder
	node     string
}

func (e events) pod(pod *v1.Pod, kind, reason, message string) {
	e.recorder.Event(pod, kind, reason, message)
}

// container records an event about a container; its object is the pod with a
// field path to the container.
func (e events) container(pod *v1.Pod, name, kind, reason, message string) {
	path := ""
	switch {
	case indexOf(pod.Spec.Containers, name) >= 0:
		path = fmt.Sprintf("spec.containers{%s}", name)
	case indexOf(pod.Spec.InitContainers, name) >= 0:
		path = fmt.Sprintf("spec.initContainers{%s}", name)
	case containerSpec(pod, name) != nil:
		path = fmt.Sprintf("spec.ephemeralContainers{%s}", name)
	}
	r, err := ref.GetPartialReference(scheme.Scheme, pod, path)
	if err != nil {
		e.recorder.Event(pod, kind, reason, message)
		return
	}
	e.recorder.Event(r, kind, reason, message)
}

// onNode records an event about the node. Its UID is the node's name, as
// upstream's: those who look for a node's events select by it.
func (e events) onNode(kind, reason, message string) {
	e.recorder.Event(&v1.ObjectReference{Kind: "Node", Name: e.node, UID: types.UID(e.node)}, kind, reason, message)
}

func indexOf(list []v1.Container, name string) int {
	for i := range list {
		if list[i].Name == name {
			return i
		}
	}
	return -1
}
