package status

import (
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
)

// IDPrefix goes before container ids in statuses.
const IDPrefix = "containerd://"

const (
	containerCreating = "ContainerCreating"
	podInitializing   = "PodInitializing"
	statusUnknown     = "ContainerStatusUnknown"
)

// containers makes the statuses of one of a pod's three container lists.
func containers(in Input, old []v1.ContainerStatus, spec []v1.Container, hasInit, isInit bool) []v1.ContainerStatus {
	out := make([]v1.ContainerStatus, 0, len(spec))
	for i := range spec {
		c := &spec[i]
		out = append(out, container(in, find2(old, c.Name), c, hasInit, isInit))
	}
	if !isInit {
		sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func find2(list []v1.ContainerStatus, name string) *v1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

func container(in Input, old *v1.ContainerStatus, c *v1.Container, hasInit, isInit bool) v1.ContainerStatus {
	// The newest two containers of that name make state and last state; one that
	// is still being started does not count yet.
	var seen []*cri.Container
	if in.Observed != nil {
		for _, got := range in.Observed.Containers {
			if got.Name == c.Name && !(len(seen) == 0 && in.starting(c.Name) && got.State != cri.Exited) {
				seen = append(seen, got)
			}
		}
	}
	st := v1.ContainerStatus{Name: c.Name, Image: c.Image}
	st.State.Waiting = &v1.ContainerStateWaiting{Reason: containerCreating}
	if hasInit {
		st.State.Waiting.Reason = podInitializing
	}
	if len(seen) == 0 {
		if old != nil {
			switch {
			case old.State.Terminated != nil:
				st = *old.DeepCopy()
			default:
				st.RestartCount, st.LastTerminationState = old.RestartCount, *old.LastTerminationState.DeepCopy()
			}
			if old.State.Running != nil && st.LastTerminationState.Terminated == nil && in.Observed != nil {
				// It ran and has vanished: stopped, though nobody knows how.
				st.LastTerminationState.Terminated = &v1.ContainerStateTerminated{
					Reason:   statusUnknown,
					Message:  "The container could not be located when the pod was deleted.  The container used to be Running",
					ExitCode: 137,
				}
				if in.Pod.DeletionTimestamp == nil {
					st.RestartCount++
				}
			}
		}
		if isInit && !planner.IsSidecar(c) && st.State.Waiting != nil && hasStarted(in) {
			st.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				Reason:  "Completed",
				Message: "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally",
			}}
		}
	} else {
		st = convert(seen[0], old)
		if len(seen) > 1 {
			st.LastTerminationState = convert(seen[1], nil).State
		} else if old != nil && old.ContainerID == st.ContainerID {
			st.LastTerminationState = old.LastTerminationState
		}
		resources(in, &st, c)
		if st.StopSignal == nil {
			if l := c.Lifecycle; l != nil && l.StopSignal != nil {
				st.StopSignal = l.StopSignal
			}
		}
		if st.State.Waiting != nil && *st.State.Waiting == (v1.ContainerStateWaiting{}) {
			st.State.Waiting.Reason = containerCreating
		}
	}
	st.VolumeMounts = mounts(c)
	if len(seen) > 0 && isInit && seen[0].State == cri.Exited && seen[0].ExitCode == 0 && !planner.IsSidecar(c) {
		return st
	}
	// A container that should run and does not is waiting, for the planner's reason.
	if w, ok := in.Waiting[c.Name]; ok && st.State.Running == nil {
		if st.State.Terminated != nil {
			st.LastTerminationState = st.State
		}
		st.State = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: w.Reason, Message: w.Message}}
	}
	return st
}

func convert(c *cri.Container, old *v1.ContainerStatus) v1.ContainerStatus {
	id := IDPrefix + c.ID
	st := v1.ContainerStatus{
		Name: c.Name, RestartCount: c.RestartCount, Image: c.Image, ImageID: c.ImageRef, ContainerID: id,
	}
	switch c.State {
	case cri.Running:
		st.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(c.StartedAt)}
	case cri.Exited:
		st.State.Terminated = &v1.ContainerStateTerminated{
			ExitCode: c.ExitCode, Reason: reason(c), Message: c.Message,
			StartedAt: metav1.NewTime(c.StartedAt), FinishedAt: metav1.NewTime(c.FinishedAt), ContainerID: id,
		}
	case cri.Unknown:
		if old != nil && old.State.Running != nil {
			st.State.Terminated = &v1.ContainerStateTerminated{
				Reason: statusUnknown, Message: "The container could not be located when the pod was terminated", ExitCode: 137,
			}
			st.RestartCount = old.RestartCount + 1
			break
		}
		fallthrough
	default:
		st.State.Waiting = &v1.ContainerStateWaiting{}
	}
	if u := c.User; u != nil {
		st.User = &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: u.Uid, GID: u.Gid, SupplementalGroups: u.SupplementalGroups}}
	}
	if c.StopSignal != "" {
		s := v1.Signal(c.StopSignal)
		st.StopSignal = &s
	}
	return st
}

// reason is the runtime's reason for the end, in the words users know.
func reason(c *cri.Container) string {
	if c.Reason != "" {
		return c.Reason
	}
	if c.ExitCode == 0 {
		return "Completed"
	}
	return "Error"
}

// resources reports what the container was granted and, if it runs, what it
// has (KEP-1287).
func resources(in Input, st *v1.ContainerStatus, c *v1.Container) {
	if in.Allocated != nil {
		for _, list := range [][]v1.Container{in.Allocated.Spec.InitContainers, in.Allocated.Spec.Containers} {
			if got := find(list, c.Name); got != nil {
				c = got
			}
		}
	}
	st.Resources = c.Resources.DeepCopy()
	st.AllocatedResources = c.Resources.Requests.DeepCopy()
	if r, ok := in.Applied[TrimID(st.ContainerID)]; ok && st.State.Running != nil {
		st.Resources = r.DeepCopy()
	}
}

func mounts(c *v1.Container) []v1.VolumeMountStatus {
	var out []v1.VolumeMountStatus
	for _, m := range c.VolumeMounts {
		v := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly != v1.RecursiveReadOnlyDisabled {
				mode = v1.RecursiveReadOnlyEnabled
			}
			v.RecursiveReadOnly = &mode
		}
		out = append(out, v)
	}
	return out
}

// TrimID returns the runtime's id from a status' container id.
func TrimID(id string) string { return strings.TrimPrefix(id, IDPrefix) }
