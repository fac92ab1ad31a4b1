package cri

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Observer reads the runtime's state of pods.
type Observer struct {
	Runtime Runtime
	// Exited, when set, completes a container that is seen as exited for the
	// first time, for instance with its termination message.
	Exited func(*Container)
}

// Observe reads what the runtime has of one pod. Statuses that cannot have
// changed since previous (which may be nil) are taken from it, so that a quiet
// pod costs two list calls.
func (o Observer) Observe(ctx context.Context, uid types.UID, previous *Pod) (*Pod, error) {
	sel := map[string]string{LabelPodUID: string(uid)}
	sandboxes, err := o.Runtime.ListPodSandbox(ctx, &runtimeapi.PodSandboxFilter{LabelSelector: sel})
	if err != nil {
		return nil, err
	}
	containers, err := o.Runtime.ListContainers(ctx, &runtimeapi.ContainerFilter{LabelSelector: sel})
	if err != nil {
		return nil, err
	}
	return o.assemble(ctx, uid, sandboxes, containers, previous)
}

// ObserveAll reads everything the runtime has, by pod UID. Sandboxes and
// containers without a pod UID label are not ours and are left out.
func (o Observer) ObserveAll(ctx context.Context, previous map[types.UID]*Pod) (map[types.UID]*Pod, error) {
	sandboxes, err := o.Runtime.ListPodSandbox(ctx, nil)
	if err != nil {
		return nil, err
	}
	containers, err := o.Runtime.ListContainers(ctx, nil)
	if err != nil {
		return nil, err
	}
	bySandbox := map[types.UID][]*runtimeapi.PodSandbox{}
	byContainer := map[types.UID][]*runtimeapi.Container{}
	uids := map[types.UID]struct{}{}
	for _, s := range sandboxes {
		if uid := types.UID(s.Labels[LabelPodUID]); uid != "" {
			bySandbox[uid] = append(bySandbox[uid], s)
			uids[uid] = struct{}{}
		}
	}
	for _, c := range containers {
		if uid := types.UID(c.Labels[LabelPodUID]); uid != "" {
			byContainer[uid] = append(byContainer[uid], c)
			uids[uid] = struct{}{}
		}
	}
	out := make(map[types.UID]*Pod, len(uids))
	var errs []error
	for uid := range uids {
		p, err := o.assemble(ctx, uid, bySandbox[uid], byContainer[uid], previous[uid])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[uid] = p
	}
	return out, errors.Join(errs...)
}

func (o Observer) assemble(ctx context.Context, uid types.UID, sandboxes []*runtimeapi.PodSandbox, containers []*runtimeapi.Container, previous *Pod) (*Pod, error) {
	p := &Pod{UID: uid}
	if previous != nil {
		p.Namespace, p.Name = previous.Namespace, previous.Name
	}
	for _, s := range sandboxes {
		p.Namespace, p.Name = s.Labels[LabelPodNamespace], s.Labels[LabelPodName]
		ready := s.State == runtimeapi.PodSandboxState_SANDBOX_READY
		if old := previous.sandboxByID(s.Id); old != nil && old.Ready == ready {
			p.Sandboxes = append(p.Sandboxes, old)
			continue
		}
		st, err := o.Runtime.PodSandboxStatus(ctx, s.Id)
		if IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.Sandboxes = append(p.Sandboxes, SandboxOf(st))
	}
	for _, c := range containers {
		p.Namespace, p.Name = c.Labels[LabelPodNamespace], c.Labels[LabelPodName]
		if old := previous.containerByID(c.Id); old != nil && old.State == stateOf(c.State) {
			p.Containers = append(p.Containers, old)
			continue
		}
		got, err := o.Container(ctx, c.PodSandboxId, c.Id)
		if IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.Containers = append(p.Containers, got)
	}
	p.sort()
	return p, nil
}

// Container reads one container.
func (o Observer) Container(ctx context.Context, sandboxID, id string) (*Container, error) {
	st, err := o.Runtime.ContainerStatus(ctx, id)
	if err != nil {
		return nil, err
	}
	c := ContainerOf(sandboxID, st)
	if c.State == Exited && o.Exited != nil {
		o.Exited(c)
	}
	return c, nil
}

// With returns a copy of p in which the sandbox and the container given (either
// may be nil) replace or join those of the same id. p may be nil.
func (p *Pod) With(s *Sandbox, c *Container) *Pod {
	out := &Pod{}
	if p != nil {
		*out = *p
		out.Sandboxes, out.Containers = nil, nil
		for _, old := range p.Sandboxes {
			if s == nil || old.ID != s.ID {
				out.Sandboxes = append(out.Sandboxes, old)
			}
		}
		for _, old := range p.Containers {
			if c == nil || old.ID != c.ID {
				out.Containers = append(out.Containers, old)
			}
		}
	}
	if s != nil {
		out.Sandboxes = append(out.Sandboxes, s)
	}
	if c != nil {
		out.Containers = append(out.Containers, c)
	}
	out.sort()
	return out
}

// Without returns a copy of p without the sandbox or container of that id; with
// a sandbox go its containers.
func (p *Pod) Without(id string) *Pod {
	out := &Pod{}
	if p != nil {
		*out = *p
		out.Sandboxes, out.Containers = nil, nil
		for _, old := range p.Sandboxes {
			if old.ID != id {
				out.Sandboxes = append(out.Sandboxes, old)
			}
		}
		for _, old := range p.Containers {
			if old.ID != id && old.SandboxID != id {
				out.Containers = append(out.Containers, old)
			}
		}
	}
	return out
}

func (p *Pod) sandboxByID(id string) *Sandbox {
	if p != nil {
		for _, s := range p.Sandboxes {
			if s.ID == id {
				return s
			}
		}
	}
	return nil
}

func (p *Pod) containerByID(id string) *Container {
	if p != nil {
		for _, c := range p.Containers {
			if c.ID == id {
				return c
			}
		}
	}
	return nil
}

// Stale tells whether an event about this pod says anything that p does not
// already say. Events about what the agent itself has just done are not news.
func (p *Pod) Stale(e *runtimeapi.ContainerEventResponse) bool {
	sb := e.GetPodSandboxStatus()
	if sb != nil {
		old := p.sandboxByID(sb.Id)
		if old == nil || old.Ready != (sb.State == runtimeapi.PodSandboxState_SANDBOX_READY) {
			return true
		}
	}
	for _, c := range e.GetContainersStatuses() {
		old := p.containerByID(c.Id)
		if old == nil || old.State != stateOf(c.State) {
			return true
		}
	}
	return e.GetContainerEventType() == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT || sb == nil
}

// Stopped returns a copy of p in which that sandbox is no longer ready.
func (p *Pod) Stopped(id string) *Pod {
	out := &Pod{}
	if p == nil {
		return out
	}
	*out = *p
	out.Sandboxes = append([]*Sandbox(nil), p.Sandboxes...)
	for i, s := range out.Sandboxes {
		if s.ID == id && s.Ready {
			c := *s
			c.Ready = false
			out.Sandboxes[i] = &c
		}
	}
	return out
}

// Has tells whether p has a sandbox or container of that id.
func (p *Pod) Has(id string) bool { return p.sandboxByID(id) != nil || p.containerByID(id) != nil }
