package simulated

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// running is the status of the pod with all its containers up and ready.
func running(pod *v1.Pod, now metav1.Time, hostIP, podIP string) v1.PodStatus {
	s := *pod.Status.DeepCopy()
	s.Phase, s.StartTime, s.HostIP, s.PodIP = v1.PodRunning, &now, hostIP, podIP
	s.HostIPs = []v1.HostIP{{IP: hostIP}}
	s.PodIPs = nil
	if podIP != "" {
		s.PodIPs = []v1.PodIP{{IP: podIP}}
	}
	up := v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: now}}
	done := v1.ContainerState{Terminated: &v1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}}
	s.InitContainerStatuses, s.ContainerStatuses = nil, nil
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		state, sidecar := done, c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
		if sidecar {
			state = up
		}
		s.InitContainerStatuses = append(s.InitContainerStatuses, containerStatus(pod, c, state, sidecar))
	}
	for i := range pod.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, containerStatus(pod, &pod.Spec.Containers[i], up, true))
	}
	for _, t := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady} {
		setCondition(&s, pod.Generation, now, t, v1.ConditionTrue, "")
	}
	s.ObservedGeneration = pod.Generation
	return s
}

// succeeded is the status of the pod after all its containers have exited with 0.
func succeeded(pod *v1.Pod, now metav1.Time) v1.PodStatus {
	s := *pod.Status.DeepCopy()
	s.Phase = v1.PodSucceeded
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			c := &list[i]
			if c.State.Running == nil {
				continue
			}
			c.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				Reason: "Completed", StartedAt: c.State.Running.StartedAt, FinishedAt: now, ContainerID: c.ContainerID,
			}}
			c.Ready, c.Started = false, new(false)
		}
	}
	setCondition(&s, pod.Generation, now, v1.PodReadyToStartContainers, v1.ConditionFalse, "")
	setCondition(&s, pod.Generation, now, v1.PodInitialized, v1.ConditionTrue, "PodCompleted")
	setCondition(&s, pod.Generation, now, v1.PodReady, v1.ConditionFalse, "PodCompleted")
	setCondition(&s, pod.Generation, now, v1.ContainersReady, v1.ConditionFalse, "PodCompleted")
	s.ObservedGeneration = pod.Generation
	return s
}

func containerStatus(pod *v1.Pod, c *v1.Container, state v1.ContainerState, ready bool) v1.ContainerStatus {
	return v1.ContainerStatus{
		Name: c.Name, Image: c.Image, ImageID: "simulated://" + c.Image, State: state, Ready: ready || state.Terminated != nil,
		Started: new(ready), ContainerID: "simulated://" + string(pod.UID) + "/" + c.Name,
	}
}

func setCondition(s *v1.PodStatus, generation int64, now metav1.Time, t v1.PodConditionType, status v1.ConditionStatus, reason string) {
	c := v1.PodCondition{Type: t, Status: status, Reason: reason, LastTransitionTime: now, ObservedGeneration: generation}
	i := slices.IndexFunc(s.Conditions, func(c v1.PodCondition) bool { return c.Type == t })
	if i < 0 {
		s.Conditions = append(s.Conditions, c)
		return
	}
	if s.Conditions[i].Status == status {
		c.LastTransitionTime = s.Conditions[i].LastTransitionTime
	}
	s.Conditions[i] = c
}
