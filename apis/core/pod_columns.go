package core

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proa/apis/kind"
)

const nodeUnreachableReason = "NodeLost"

func podColumns() []kind.Column[*corev1.Pod] {
	spec, status := corev1.PodSpec{}.SwaggerDoc(), corev1.PodStatus{}.SwaggerDoc()
	return []kind.Column[*corev1.Pod]{
		kind.NameColumn[*corev1.Pod](),
		{Name: "Ready", Type: "string", Description: "The aggregate readiness state of this pod for accepting traffic.",
			Value: func(p *corev1.Pod) any { return summarize(p).ready }},
		{Name: "Status", Type: "string", Description: "The aggregate status of the containers in this pod.",
			Value: func(p *corev1.Pod) any { return summarize(p).reason }},
		{Name: "Restarts", Type: "string", Description: "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
			Value: func(p *corev1.Pod) any { return summarize(p).restarts }},
		kind.AgeColumn[*corev1.Pod](),
		{Name: "IP", Type: "string", Priority: 1, Description: status["podIP"], Value: func(p *corev1.Pod) any { return orNone(podIP(p)) }},
		{Name: "Node", Type: "string", Priority: 1, Description: spec["nodeName"], Value: func(p *corev1.Pod) any { return orNone(p.Spec.NodeName) }},
		{Name: "Nominated Node", Type: "string", Priority: 1, Description: status["nominatedNodeName"],
			Value: func(p *corev1.Pod) any { return orNone(p.Status.NominatedNodeName) }},
		{Name: "Readiness Gates", Type: "string", Priority: 1, Description: spec["readinessGates"],
			Value: func(p *corev1.Pod) any { return readinessGates(p) }},
	}
}

func readinessGates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return "<none>"
	}
	open := 0
	for _, gate := range p.Spec.ReadinessGates {
		for _, c := range p.Status.Conditions {
			if c.Type == gate.ConditionType {
				if c.Status == corev1.ConditionTrue {
					open++
				}
				break
			}
		}
	}
	return fmt.Sprintf("%d/%d", open, len(p.Spec.ReadinessGates))
}

// podSummary is a pod in three words, as `kubectl get` shows it.
type podSummary struct{ ready, reason, restarts string }

// restartCount counts restarts and remembers the last one.
type restartCount struct {
	n    int
	last metav1.Time
}

func (r *restartCount) add(s *corev1.ContainerStatus) {
	r.n += int(s.RestartCount)
	if t := s.LastTerminationState.Terminated; t != nil && r.last.Before(&t.FinishedAt) {
		r.last = t.FinishedAt
	}
}

func (r restartCount) String() string {
	if r.n == 0 || r.last.IsZero() {
		return strconv.Itoa(r.n)
	}
	return fmt.Sprintf("%d (%s ago)", r.n, kind.Age(r.last))
}

func summarize(p *corev1.Pod) podSummary {
	reason := string(p.Status.Phase)
	if p.Status.Reason != "" {
		reason = p.Status.Reason
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			reason = corev1.PodReasonSchedulingGated
		}
	}
	sidecar := map[string]bool{}
	total, ready := len(p.Spec.Containers), 0
	for i := range p.Spec.InitContainers {
		if isSidecar(&p.Spec.InitContainers[i]) {
			sidecar[p.Spec.InitContainers[i].Name] = true
			total++
		}
	}

	// all counts init containers too; afterwards only sidecars matter.
	var all, sidecars restartCount
	initializing := false
	for i := range p.Status.InitContainerStatuses {
		s := &p.Status.InitContainerStatuses[i]
		all.add(s)
		if sidecar[s.Name] {
			sidecars.add(s)
		}
		if t := s.State.Terminated; t != nil && t.ExitCode == 0 {
			continue
		}
		if sidecar[s.Name] && s.Started != nil && *s.Started {
			if s.Ready {
				ready++
			}
			continue
		}
		initializing = true
		switch t, w := s.State.Terminated, s.State.Waiting; {
		case t != nil:
			reason = "Init:" + terminationReason(t)
		case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
			reason = "Init:" + w.Reason
		default:
			reason = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		break
	}

	restarts := all
	if !initializing || hasPodCondition(p, corev1.PodInitialized) {
		restarts = sidecars
		running, failed := false, ""
		for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
			s := &p.Status.ContainerStatuses[i]
			restarts.add(s)
			switch t, w := s.State.Terminated, s.State.Waiting; {
			case w != nil && w.Reason != "":
				reason = w.Reason
			case t != nil:
				reason = terminationReason(t)
				if t.ExitCode != 0 {
					failed = reason
				}
			case s.Ready && s.State.Running != nil:
				running = true
				ready++
			}
		}
		if reason == "Completed" { // of some containers only?
			switch {
			case running && hasPodCondition(p, corev1.PodReady):
				reason = "Running"
			case failed != "":
				reason = failed
			case running:
				reason = "NotReady"
			}
		}
	}

	if p.DeletionTimestamp != nil {
		if p.Status.Reason == nodeUnreachableReason {
			reason = "Unknown"
		} else if p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
			reason = "Terminating"
		}
	}
	return podSummary{ready: fmt.Sprintf("%d/%d", ready, total), reason: reason, restarts: restarts.String()}
}

func terminationReason(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

func hasPodCondition(p *corev1.Pod, t corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == t && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// isSidecar: an init container that keeps running beside the others (KEP-753).
func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
