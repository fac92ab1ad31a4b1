package status

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proa/nodeagent/planner"
)

// Owned are the condition types that the node agent writes.
func Owned(t v1.PodConditionType) bool {
	switch t {
	case v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled,
		v1.PodResizePending, v1.PodResizeInProgress:
		return true
	}
	return false
}

// conditions sets the agent's conditions and keeps everybody else's.
func conditions(in Input, old *v1.PodStatus, s *v1.PodStatus) {
	for _, c := range in.Pod.Status.Conditions {
		if !Owned(c.Type) {
			s.Conditions = append(s.Conditions, c)
		}
	}
	all := append(append([]v1.ContainerStatus{}, s.InitContainerStatuses...), s.ContainerStatuses...)
	ready := containersReady(in.Pod, all, s.Phase)
	for _, c := range append(resizeConditions(in.Resize), []v1.PodCondition{
		sandboxCondition(in),
		initialized(in, all, s.Phase),
		podReady(in.Pod, ready, s.Conditions),
		ready,
		{Type: v1.PodScheduled, Status: v1.ConditionTrue},
	}...) {
		if c.ObservedGeneration == 0 {
			c.ObservedGeneration = in.Pod.Generation
		}
		c.LastTransitionTime = metav1.NewTime(in.Now.Truncate(1e9))
		for i := range old.Conditions {
			if o := &old.Conditions[i]; o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		s.Conditions = append(s.Conditions, c)
	}
}

func resizeConditions(r Resize) []v1.PodCondition {
	var out []v1.PodCondition
	if r.Pending != "" {
		out = append(out, v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: r.Pending, Message: r.Message})
	}
	if r.InProgress {
		c := v1.PodCondition{Type: v1.PodResizeInProgress, Status: v1.ConditionTrue, ObservedGeneration: r.Generation}
		if r.Error != "" {
			c.Reason, c.Message = v1.PodReasonError, r.Error
		}
		out = append(out, c)
	}
	return out
}

func sandboxCondition(in Input) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodReadyToStartContainers, Status: v1.ConditionFalse}
	if sb := in.Observed.Sandbox(); sb != nil && sb.Ready && (sb.HostNetwork || len(sb.IPs) > 0) {
		c.Status = v1.ConditionTrue
	}
	return c
}

func initialized(in Input, all []v1.ContainerStatus, phase v1.PodPhase) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodInitialized, Status: v1.ConditionTrue}
	var unknown, incomplete []string
	for i := range in.Pod.Spec.InitContainers {
		spec := &in.Pod.Spec.InitContainers[i]
		st := find2(all, spec.Name)
		switch {
		case st == nil:
			unknown = append(unknown, spec.Name)
		case planner.IsSidecar(spec):
			if st.Started == nil || !*st.Started {
				incomplete = append(incomplete, spec.Name)
			}
		case !st.Ready:
			incomplete = append(incomplete, spec.Name)
		}
	}
	if phase == v1.PodSucceeded && len(unknown) == 0 {
		c.Reason = "PodCompleted"
		return c
	}
	for i := range in.Pod.Spec.Containers {
		// A regular container that has started means that initialisation is over.
		if st := find2(all, in.Pod.Spec.Containers[i].Name); st != nil &&
			(st.State.Running != nil || st.State.Terminated != nil || st.LastTerminationState.Terminated != nil) {
			return c
		}
	}
	if m := messages("containers with unknown status: %s", unknown, "containers with incomplete status: %s", incomplete); m != "" {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "ContainersNotInitialized", m
	}
	return c
}

func containersReady(pod *v1.Pod, all []v1.ContainerStatus, phase v1.PodPhase) v1.PodCondition {
	c := v1.PodCondition{Type: v1.ContainersReady, Status: v1.ConditionTrue}
	var unknown, unready []string
	check := func(name string) {
		if st := find2(all, name); st == nil {
			unknown = append(unknown, name)
		} else if !st.Ready {
			unready = append(unready, name)
		}
	}
	for i := range pod.Spec.InitContainers {
		if planner.IsSidecar(&pod.Spec.InitContainers[i]) {
			check(pod.Spec.InitContainers[i].Name)
		}
	}
	for i := range pod.Spec.Containers {
		check(pod.Spec.Containers[i].Name)
	}
	switch {
	case phase == v1.PodSucceeded && len(unknown) == 0:
		c.Status, c.Reason = v1.ConditionFalse, "PodCompleted"
	case phase == v1.PodFailed:
		c.Status, c.Reason = v1.ConditionFalse, "PodFailed"
	default:
		if m := messages("containers with unknown status: %s", unknown, "containers with unready status: %s", unready); m != "" {
			c.Status, c.Reason, c.Message = v1.ConditionFalse, "ContainersNotReady", m
		}
	}
	return c
}

func podReady(pod *v1.Pod, containers v1.PodCondition, others []v1.PodCondition) v1.PodCondition {
	c := containers
	c.Type = v1.PodReady
	if c.Status != v1.ConditionTrue {
		return c
	}
	var missing []string
	for _, gate := range pod.Spec.ReadinessGates {
		var got *v1.PodCondition
		for i := range others {
			if others[i].Type == gate.ConditionType {
				got = &others[i]
			}
		}
		if got == nil {
			missing = append(missing, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		} else if got.Status != v1.ConditionTrue {
			missing = append(missing, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, got.Status))
		}
	}
	if len(missing) > 0 {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(missing, ", ")
	}
	return c
}

func messages(format1 string, names1 []string, format2 string, names2 []string) string {
	var out []string
	if len(names1) > 0 {
		out = append(out, fmt.Sprintf(format1, names1))
	}
	if len(names2) > 0 {
		out = append(out, fmt.Sprintf(format2, names2))
	}
	return strings.Join(out, ", ")
}
