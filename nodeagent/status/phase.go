package status

import (
	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/planner"
)

// Phase returns a pod's phase from its containers' statuses (init containers
// included). terminal tells that no container will run again, initialized that
// a regular container has run in the present sandbox.
func Phase(pod *v1.Pod, statuses []v1.ContainerStatus, terminal, initialized bool) v1.PodPhase {
	spec := &pod.Spec
	byName := make(map[string]*v1.ContainerStatus, len(statuses))
	for i := range statuses {
		byName[statuses[i].Name] = &statuses[i]
	}
	var pendingInit, pendingSidecar int
	var unknown, running, waiting, stopped, final, succeeded int
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		st := byName[c.Name]
		if planner.IsSidecar(c) {
			switch {
			case st == nil:
				unknown++
			case st.State.Running != nil:
				if st.Started == nil || !*st.Started {
					pendingSidecar++
				}
				running++
			case st.State.Terminated != nil:
			case st.State.Waiting != nil:
				if st.LastTerminationState.Terminated == nil {
					pendingSidecar++
					waiting++
				}
			default:
				pendingSidecar++
				unknown++
			}
			continue
		}
		var end *v1.ContainerStateTerminated
		switch {
		case st == nil || st.State.Running != nil:
		case st.State.Terminated != nil:
			end = st.State.Terminated
		default:
			end = st.LastTerminationState.Terminated
		}
		switch {
		case end == nil:
			pendingInit++
		case end.ExitCode != 0 && !planner.ShouldRestart(spec, c, end.ExitCode):
			return v1.PodFailed
		case end.ExitCode != 0 && st.State.Terminated == nil:
			// Waiting for its next attempt: the pod is pending still.
			pendingInit++
		case end.ExitCode != 0:
			pendingInit++
		}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		st := byName[c.Name]
		var end *v1.ContainerStateTerminated
		switch {
		case st == nil:
			unknown++
			continue
		case st.State.Running != nil:
			running++
			continue
		case st.State.Terminated != nil:
			end = st.State.Terminated
			if end.ExitCode == 0 {
				succeeded++
			}
		case st.State.Waiting != nil:
			end = st.LastTerminationState.Terminated
			if end == nil {
				waiting++
				continue
			}
		default:
			unknown++
			continue
		}
		stopped++
		if !planner.ShouldRestart(spec, c, end.ExitCode) {
			final++
		}
	}
	switch {
	case pendingInit > 0, pendingSidecar > 0 && !initialized, waiting > 0:
		return v1.PodPending
	case running > 0 && unknown == 0:
		return v1.PodRunning
	case running == 0 && stopped > 0 && unknown == 0:
		switch {
		case !terminal && stopped != final:
			// Some container is about to be started again.
			return v1.PodRunning
		case stopped == succeeded:
			return v1.PodSucceeded
		default:
			return v1.PodFailed
		}
	}
	return v1.PodPending
}
