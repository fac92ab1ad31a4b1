package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/planner"
	"proa/nodeagent/status"
)

// pendingResize is a resize that the node cannot grant now.
type pendingResize struct {
	generation int64 // of the spec that asks for it
	message    string
}

// allocate grants the pod the resources its spec asks for, if they fit the
// node (KEP-1287). The lock is held.
func (w *worker) allocate() {
	s := &w.state
	if !w.known || s.Gone || s.Failed != nil || s.Allocation == nil {
		return
	}
	if s.Allocation.Grants(s.Pod) {
		w.pending = nil
		return
	}
	if w.pending != nil && w.pending.generation == s.Pod.Generation && !w.reconsider {
		return
	}
	w.reconsider = false
	if f := w.agent.allocations.resize(w.uid, holdingOf(s.Pod), w.agent.allocatable()); f != nil {
		if w.pending == nil || w.pending.message != f.Message || w.pending.generation != s.Pod.Generation {
			w.agent.events.pod(s.Pod, v1.EventTypeWarning, "ResizeDeferred", resizeMessage("Pod resize "+v1.PodReasonDeferred, s.Pod, f.Message))
		}
		w.pending = &pendingResize{generation: s.Pod.Generation, message: f.Message}
		return
	}
	s.Allocation, s.ResizeError = planner.AllocationOf(s.Pod), ""
	w.pending, w.resizeGeneration = nil, s.Pod.Generation
	w.agent.events.pod(s.Pod, v1.EventTypeNormal, "ResizeStarted", resizeMessage("Pod resize started", s.Pod, ""))
}

// resize is what the pod's status says of it. The lock is held.
func (w *worker) resize() status.Resize {
	s := &w.state
	out := status.Resize{InProgress: s.Resizing(), Error: s.ResizeError, Generation: w.resizeGeneration}
	if w.pending != nil {
		out.Pending, out.Message = v1.PodReasonDeferred, w.pending.message
	}
	switch {
	case w.resizing && !out.InProgress && w.pending == nil:
		w.agent.events.pod(s.Pod, v1.EventTypeNormal, "ResizeCompleted", resizeMessage("Pod resize completed", s.Pod, ""))
	case out.Error != "" && out.Error != w.resizeError:
		w.agent.events.pod(s.Pod, v1.EventTypeWarning, "ResizeError", resizeMessage("Pod resize error", s.Pod, out.Error))
	}
	w.resizing, w.resizeError = out.InProgress, out.Error
	return out
}

// resizeMessage is upstream's text of an event: what was asked for, as JSON.
func resizeMessage(what string, pod *v1.Pod, problem string) string {
	type container struct {
		Name      string                  `json:"name"`
		Resources v1.ResourceRequirements `json:"resources,omitempty"`
	}
	summary := struct {
		InitContainers []container `json:"initContainers,omitempty"`
		Containers     []container `json:"containers,omitempty"`
		Generation     int64       `json:"generation"`
		Error          string      `json:"error,omitempty"`
	}{Generation: pod.Generation, Error: problem}
	for i := range pod.Spec.InitContainers {
		summary.InitContainers = append(summary.InitContainers, container{pod.Spec.InitContainers[i].Name, pod.Spec.InitContainers[i].Resources})
	}
	for i := range pod.Spec.Containers {
		summary.Containers = append(summary.Containers, container{pod.Spec.Containers[i].Name, pod.Spec.Containers[i].Resources})
	}
	raw, err := json.Marshal(summary)
	if err != nil {
		return what
	}
	return what + ": " + string(raw)
}

// resizePod gives running containers new resources. The pod's cgroup allows
// both the old and the new while that lasts.
func (a *Agent) resizePod(ctx context.Context, w *worker, pod *v1.Pod, act planner.Action) planner.Result {
	r := planner.Result{Resized: map[string]v1.ResourceRequirements{}}
	update := func() error {
		var errs []error
		for id, resources := range act.Resources {
			c := containerSpec(pod, w.nameOf(id))
			if c == nil {
				continue
			}
			if err := a.runtime.UpdateContainerResources(ctx, id, containerResources(pod, c, a.memory)); err != nil {
				errs = append(errs, fmt.Errorf("container %s: %w", c.Name, err))
				continue
			}
			r.Resized[id] = resources
		}
		return errors.Join(errs...)
	}
	if a.cgroups == nil {
		r.Err = update()
		return r
	}
	w.mu.Lock()
	before := w.state.Running()
	w.mu.Unlock()
	r.Err = a.cgroups.Resize(ctx, before, pod, status.QOS(pod), update)
	return r
}

func (w *worker) nameOf(container string) string {
	if p := w.observed(); p != nil {
		for _, c := range p.Containers {
			if c.ID == container {
				return c.Name
			}
		}
	}
	return ""
}
