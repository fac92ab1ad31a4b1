package planner

import (
	"fmt"
	"maps"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
)

// Allocation is what the node has granted a pod (KEP-1287): what it runs with
// while its spec asks for something else that does not fit, or not yet.
type Allocation struct {
	// Containers by name, init containers too.
	Containers map[string]v1.ResourceRequirements
	// Pod is spec.resources.
	Pod *v1.ResourceRequirements
}

// AllocationOf is what the pod's spec asks for.
func AllocationOf(pod *v1.Pod) *Allocation {
	a := &Allocation{Containers: map[string]v1.ResourceRequirements{}, Pod: pod.Spec.Resources}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			a.Containers[list[i].Name] = list[i].Resources
		}
	}
	return a
}

// Reported is what a pod that ran before this agent did was granted, as its
// status says; where it says nothing, what the spec asks for.
func Reported(pod *v1.Pod) *Allocation {
	a := AllocationOf(pod)
	for name, r := range a.Containers {
		if st := statusOf(&pod.Status, name); st != nil && st.Resources != nil {
			r.Limits, r.Requests = st.Resources.Limits, st.Resources.Requests
			if st.AllocatedResources != nil {
				r.Requests = st.AllocatedResources
			}
			a.Containers[name] = r
		}
	}
	return a
}

// Grants tells whether the allocation is what the pod's spec asks for.
func (a *Allocation) Grants(pod *v1.Pod) bool {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if got, ok := a.Containers[list[i].Name]; ok && !sameResources(got, list[i].Resources) {
				return false
			}
		}
	}
	if (a.Pod == nil) != (pod.Spec.Resources == nil) {
		return false
	}
	return a.Pod == nil || sameResources(*a.Pod, *pod.Spec.Resources)
}

// Adopt takes over a pod that ran before this agent did.
func (s *State) Adopt() {
	a := Reported(s.Pod)
	if s.Observed.Empty() || a.Grants(s.Pod) {
		return
	}
	s.Allocation = a
	applied := map[string]v1.ResourceRequirements{}
	for _, c := range s.Observed.Containers {
		if st := statusOf(&s.Pod.Status, c.Name); st != nil && st.Resources != nil && strings.HasSuffix(st.ContainerID, "//"+c.ID) {
			applied[c.ID] = *st.Resources
		}
	}
	s.apply(applied)
}

// Follow takes the pod's newest version in. What it was granted stays until
// the node grants what the new one asks for.
func (s *State) Follow(pod *v1.Pod) {
	if s.Allocation == nil && s.Pod != nil && pod.Generation != s.Pod.Generation {
		if a := AllocationOf(s.Pod); !a.Grants(pod) {
			s.Allocation = a
		}
	}
	s.Pod = pod
}

// Allocated is the pod with the resources it was granted in its spec: the pod
// itself unless the two differ.
func (s *State) Allocated() *v1.Pod {
	if s.Allocation == nil || s.Pod == nil || s.Allocation.Grants(s.Pod) {
		return s.Pod
	}
	pod := withResources(s.Pod, s.Allocation.Containers)
	pod.Spec.Resources = s.Allocation.Pod
	return pod
}

// Running is the pod with the resources that its running containers have.
func (s *State) Running() *v1.Pod {
	have := map[string]v1.ResourceRequirements{}
	for _, list := range [][]v1.Container{s.Pod.Spec.InitContainers, s.Pod.Spec.Containers} {
		for i := range list {
			have[list[i].Name] = s.allocated(&list[i])
			if got := s.Observed.Container(list[i].Name); got != nil {
				if r, ok := s.Applied[got.ID]; ok {
					have[list[i].Name] = r
				}
			}
		}
	}
	return withResources(s.Pod, have)
}

func withResources(of *v1.Pod, by map[string]v1.ResourceRequirements) *v1.Pod {
	pod := *of
	for _, list := range []*[]v1.Container{&pod.Spec.InitContainers, &pod.Spec.Containers} {
		*list = append([]v1.Container(nil), *list...)
		for i := range *list {
			if r, ok := by[(*list)[i].Name]; ok {
				(*list)[i].Resources = r
			}
		}
	}
	return &pod
}

// allocated is what one container was granted.
func (s *State) allocated(c *v1.Container) v1.ResourceRequirements {
	if s.Allocation != nil {
		if r, ok := s.Allocation.Containers[c.Name]; ok {
			return r
		}
	}
	return c.Resources
}

// Resizing tells whether a running container has not yet what it was granted.
func (s *State) Resizing() bool {
	for _, list := range [][]v1.Container{s.Pod.Spec.InitContainers, s.Pod.Spec.Containers} {
		for i := range list {
			if got := s.Observed.Container(list[i].Name); got != nil && got.State == cri.Running && s.differs(&list[i], got) {
				return true
			}
		}
	}
	return false
}

func (s *State) differs(c *v1.Container, got *cri.Container) bool {
	applied, known := s.Applied[got.ID]
	return known && !sameResources(applied, s.allocated(c))
}

// restartsFor tells whether the container's resize policy wants it restarted
// for the change.
func restartsFor(c *v1.Container, from, to v1.ResourceRequirements) bool {
	for _, p := range c.ResizePolicy {
		if p.RestartPolicy == v1.RestartContainer && !sameResource(p.ResourceName, from, to) {
			return true
		}
	}
	return false
}

// resized kills a running container that its policy wants restarted with what
// it was granted. It returns false if it did; what can be changed in place is
// left for resize.
func (p *pass) resized(c *v1.Container, got *cri.Container) bool {
	if !p.differs(c, got) || !restartsFor(c, p.Applied[got.ID], p.allocated(c)) {
		return true
	}
	if p.force == nil {
		p.force = map[string]string{}
	}
	p.force[c.Name] = got.ID
	p.kill(got, p.grace(), KillResized, fmt.Sprintf("Container %s resize requires restart", c.Name))
	return false
}

// resize gives running containers what they were granted, in place.
func (p *pass) resize() {
	change := map[string]v1.ResourceRequirements{}
	for _, list := range [][]v1.Container{p.Pod.Spec.InitContainers, p.Pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			got := p.Observed.Container(c.Name)
			if got != nil && got.State == cri.Running && !p.Starting(c.Name) && !p.Killing(got.ID) && p.differs(c, got) {
				change[got.ID] = p.allocated(c)
			}
		}
	}
	if len(change) == 0 {
		p.ResizeError = ""
		return
	}
	if p.now.Before(p.resizeRetry.at) {
		p.wake(p.resizeRetry.at)
		return
	}
	p.begin(Action{Verb: ResizePod, Key: "resize", Resources: change})
}

// resizeDone takes in what a resize has reached.
func (s *State) resizeDone(r Result, now time.Time) {
	s.apply(r.Resized)
	s.resizeRetry = s.resizeRetry.outcome(r.Err, now, time.Second, 30*time.Second)
	s.ResizeError = ""
	if r.Err != nil {
		s.ResizeError = r.Err.Error()
	}
}

// apply notes what containers run with, and forgets those that are no more.
func (s *State) apply(now map[string]v1.ResourceRequirements) {
	if s.Applied == nil {
		s.Applied = map[string]v1.ResourceRequirements{}
	}
	maps.Copy(s.Applied, now)
	maps.DeleteFunc(s.Applied, func(id string, _ v1.ResourceRequirements) bool { return !s.Observed.Has(id) })
}

// sameResources compares what can be resized: CPU and memory.
func sameResources(a, b v1.ResourceRequirements) bool {
	return sameResource(v1.ResourceCPU, a, b) && sameResource(v1.ResourceMemory, a, b)
}

func sameResource(name v1.ResourceName, a, b v1.ResourceRequirements) bool {
	same := func(x, y v1.ResourceList) bool {
		p, okP := x[name]
		q, okQ := y[name]
		return okP == okQ && p.Cmp(q) == 0
	}
	return same(a.Requests, b.Requests) && same(a.Limits, b.Limits)
}
