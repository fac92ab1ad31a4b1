package cri

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/dump"
)

// Labels and annotations by which pods and containers are found again. They are
// upstream's, so that either agent can adopt the other's containers.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"

	annotationHash                 = "io.kubernetes.container.hash"
	annotationRestartCount         = "io.kubernetes.container.restartCount"
	annotationTerminationPath      = "io.kubernetes.container.terminationMessagePath"
	annotationTerminationPolicy    = "io.kubernetes.container.terminationMessagePolicy"
	annotationPreStop              = "io.kubernetes.container.preStopHandler"
	annotationPorts                = "io.kubernetes.container.ports"
	annotationDeletionGracePeriod  = "io.kubernetes.pod.deletionGracePeriod"
	annotationTerminationGraceTime = "io.kubernetes.pod.terminationGracePeriod"
)

// SandboxLabels returns the labels of a pod's sandbox: the pod's own and the identity.
func SandboxLabels(pod *v1.Pod) map[string]string {
	l := make(map[string]string, len(pod.Labels)+3)
	for k, v := range pod.Labels {
		l[k] = v
	}
	l[LabelPodName], l[LabelPodNamespace], l[LabelPodUID] = pod.Name, pod.Namespace, string(pod.UID)
	return l
}

// ContainerLabels returns the labels of a container.
func ContainerLabels(pod *v1.Pod, container string) map[string]string {
	return map[string]string{
		LabelPodName: pod.Name, LabelPodNamespace: pod.Namespace, LabelPodUID: string(pod.UID),
		LabelContainerName: container,
	}
}

// ContainerAnnotations returns what has to be known of a container after its
// pod is gone from the API or the agent has restarted.
func ContainerAnnotations(pod *v1.Pod, c *v1.Container, restartCount int32) map[string]string {
	a := map[string]string{
		annotationHash:              strconv.FormatUint(Hash(c), 16),
		annotationRestartCount:      strconv.Itoa(int(restartCount)),
		annotationTerminationPath:   c.TerminationMessagePath,
		annotationTerminationPolicy: string(c.TerminationMessagePolicy),
	}
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		a[annotationDeletionGracePeriod] = strconv.FormatInt(*g, 10)
	}
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		a[annotationTerminationGraceTime] = strconv.FormatInt(*g, 10)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		if raw, err := json.Marshal(c.Lifecycle.PreStop); err == nil {
			a[annotationPreStop] = string(raw)
		}
	}
	if len(c.Ports) > 0 {
		if raw, err := json.Marshal(c.Ports); err == nil {
			a[annotationPorts] = string(raw)
		}
	}
	return a
}

// Hash identifies the part of a container's spec whose change restarts it: its
// name and image. The value equals upstream's.
func Hash(c *v1.Container) uint64 {
	// Marshal of a string map cannot fail and sorts its keys.
	picked, _ := json.Marshal(map[string]string{"name": c.Name, "image": c.Image})
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(picked))
	return uint64(h.Sum32())
}
