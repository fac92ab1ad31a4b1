package nodeagent

import (
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"

	"proa/nodeagent/planner"
)

// holding is what a pod holds of its node.
type holding struct {
	requests v1.ResourceList
	ports    []hostPort
}

type hostPort struct {
	ip       string
	protocol v1.Protocol
	port     int32
}

func holdingOf(pod *v1.Pod) holding {
	h := holding{requests: resource.PodRequests(pod, resource.PodResourcesOptions{})}
	add := func(list []v1.Container, only func(*v1.Container) bool) {
		for i := range list {
			if only != nil && !only(&list[i]) {
				continue
			}
			for _, p := range list[i].Ports {
				if p.HostPort <= 0 {
					continue
				}
				if p.Protocol == "" {
					p.Protocol = v1.ProtocolTCP
				}
				h.ports = append(h.ports, hostPort{p.HostIP, p.Protocol, p.HostPort})
			}
		}
	}
	add(pod.Spec.InitContainers, planner.IsSidecar)
	add(pod.Spec.Containers, nil)
	return h
}

// clashes tells whether two pods cannot have both their ports: one that names
// no address, or 0.0.0.0, means all.
func (p hostPort) clashes(q hostPort) bool {
	everywhere := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	return p.port == q.port && p.protocol == q.protocol && (p.ip == q.ip || everywhere(p.ip) || everywhere(q.ip))
}

// refusal says why a pod does not fit beside others, with upstream's reasons;
// nil if it does. Resources that the node does not know are not its concern.
func (h holding) refusal(others map[types.UID]holding, self types.UID, allocatable v1.ResourceList) *planner.Failure {
	value := func(name v1.ResourceName, l v1.ResourceList) int64 {
		q := l[name]
		if name == v1.ResourceCPU {
			return q.MilliValue()
		}
		return q.Value()
	}
	pods := int64(1)
	for uid := range others {
		if uid != self {
			pods++
		}
	}
	out := func(name v1.ResourceName, requested, used, capacity int64) *planner.Failure {
		return &planner.Failure{Reason: "OutOf" + string(name), Message: fmt.Sprintf(
			"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, requested, used, capacity)}
	}
	if capacity, ok := allocatable[v1.ResourcePods]; ok && pods > capacity.Value() {
		return out(v1.ResourcePods, 1, pods-1, capacity.Value())
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage} {
		want := value(name, h.requests)
		if _, known := allocatable[name]; !known || want == 0 {
			continue
		}
		used := int64(0)
		for uid, o := range others {
			if uid != self {
				used += value(name, o.requests)
			}
		}
		if capacity := value(name, allocatable); want+used > capacity {
			return out(name, want, used, capacity)
		}
	}
	for _, p := range h.ports {
		for uid, o := range others {
			for _, q := range o.ports {
				if uid != self && p.clashes(q) {
					return &planner.Failure{Reason: "NodePorts",
						Message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"}
				}
			}
		}
	}
	return nil
}

// allocations is what all pods of the node hold, from their admission until
// nothing of them runs.
type allocations struct {
	mu       sync.Mutex
	pods     map[types.UID]holding
	deferred map[types.UID]bool // pods that wait to be resized
}

func newAllocations() *allocations {
	return &allocations{pods: map[types.UID]holding{}, deferred: map[types.UID]bool{}}
}

// admit holds what a new pod asks for, or says why it cannot.
func (t *allocations) admit(uid types.UID, h holding, allocatable v1.ResourceList) *planner.Failure {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := h.refusal(t.pods, uid, allocatable); f != nil {
		return f
	}
	t.pods[uid] = h
	return nil
}

// hold notes what a pod has that was admitted before.
func (t *allocations) hold(uid types.UID, h holding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pods[uid] = h
}

// resize is admit for a pod that holds something already. A pod that is
// refused is among those that release returns.
func (t *allocations) resize(uid types.UID, h holding, allocatable v1.ResourceList) *planner.Failure {
	f := t.admit(uid, h, allocatable)
	t.mu.Lock()
	defer t.mu.Unlock()
	if f != nil {
		t.deferred[uid] = true
	} else {
		delete(t.deferred, uid)
	}
	return f
}

// release gives up what a pod holds. It returns the pods that may be resized
// now.
func (t *allocations) release(uid types.UID) []types.UID {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.deferred, uid)
	if _, held := t.pods[uid]; !held {
		return nil
	}
	delete(t.pods, uid)
	var waiting []types.UID
	for uid := range t.deferred {
		waiting = append(waiting, uid)
	}
	return waiting
}

// release gives up what a pod holds and lets those be considered again that
// wait to be resized. Workers' locks may be held.
func (a *Agent) release(uid types.UID) {
	for _, other := range a.allocations.release(uid) {
		if w := a.worker(other); w != nil {
			go w.update(func(*planner.State) { w.reconsider = true })
		}
	}
}
