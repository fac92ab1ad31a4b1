package server

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// hasContainer says whether the pod's spec has a container of this name.
func hasContainer(pod *v1.Pod, name string) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return true
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return true
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return true
		}
	}
	return false
}

func containerStatus(pod *v1.Pod, name string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// logTarget returns the runtime's ID of the run of a container whose log is
// wanted: the newest that has one, or the one before with previous. The
// errors are upstream's; kubectl logs shows them.
func logTarget(pod *v1.Pod, container string, previous bool) (string, error) {
	status := containerStatus(pod, container)
	if status == nil {
		return "", fmt.Errorf("container %q in pod %q is not available", container, pod.Name)
	}
	terminated, last := status.State.Terminated, status.LastTerminationState.Terminated
	var id string
	switch {
	case previous:
		if last == nil || last.ContainerID == "" {
			return "", fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
		}
		id = last.ContainerID
	case status.State.Running != nil:
		id = status.ContainerID
	case terminated != nil && terminated.ContainerID != "":
		id = terminated.ContainerID
	case last != nil && last.ContainerID != "":
		// The next run did not start.
		id = last.ContainerID
	case terminated != nil || last != nil:
		return "", fmt.Errorf("container %q in pod %q is terminated", container, pod.Name)
	case status.State.Waiting != nil:
		why := status.State.Waiting.Reason
		switch why {
		case "ErrImagePull":
			why = "image can't be pulled"
		case "ImagePullBackOff":
			why = "trying and failing to pull image"
		}
		return "", fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod.Name, why)
	default:
		return "", fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", container, pod.Name)
	}
	return runtimeID(id), nil
}

// execTarget returns the runtime's ID of a running container.
func execTarget(pod *v1.Pod, container string) (string, error) {
	status := containerStatus(pod, container)
	if status == nil || status.State.Running == nil || status.ContainerID == "" {
		return "", fmt.Errorf("container not found (%q)", container)
	}
	return runtimeID(status.ContainerID), nil
}

// runtimeID is a container ID of the API without the runtime's name.
func runtimeID(id string) string {
	if _, rest, ok := strings.Cut(id, "://"); ok {
		return rest
	}
	return id
}
