package plugins

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"proa/controllers/scheduler/framework"
)

// NodeResourcesFit rejects nodes that do not have room for what the pod
// requests, and prefers those with the most room left (leastallocated.go).
type NodeResourcesFit struct{}

// Name implements framework.Plugin.
func (NodeResourcesFit) Name() string { return "NodeResourcesFit" }

// Events implements framework.Plugin.
func (NodeResourcesFit) Events() []framework.EventHint {
	return []framework.EventHint{
		{Kind: framework.PodGone},
		{Kind: framework.PodScaledDown | framework.PodSelf},
		{Kind: framework.NodeAdd | framework.NodeAllocatable, Helps: func(pod *framework.Pending, e framework.Event) bool {
			offered := framework.NewResources(e.Node.Status.Allocatable)
			if offered.Pods < 1 || shortOf(pod.Requests, offered, framework.Resources{}) != nil {
				return false
			}
			return e.OldNode == nil || offered.AtLeastSome(pod.Requests, framework.NewResources(e.OldNode.Status.Allocatable))
		}},
	}
}

// Shape implements framework.Plugin.
func (NodeResourcesFit) Shape(key framework.Key, pod *framework.Pending) framework.Key {
	return key.Resources(pod.Requests).Resources(pod.Assumed)
}

// Prepare implements framework.Plugin.
func (p NodeResourcesFit) Prepare(pod *framework.Pending, _ *framework.Cluster) framework.Prepared {
	want := pod.Requests
	// Thousands of nodes are rejected for few different reasons: share them.
	shared := map[string]*framework.Status{}
	return framework.Prepared{
		Filter: func(n *framework.Node) *framework.Status {
			tooMany := int64(len(n.Pods))+1 > n.Allocatable.Pods
			if !tooMany && fits(want, n) {
				return nil
			}
			short := shortOf(want, n.Allocatable, n.Requested)
			if tooMany {
				short = append([]shortage{{reason: "Too many pods"}}, short...)
			}
			return share(shared, p.Name(), short)
		},
		Score: leastAllocated(pod),
	}
}

// fits is the fast path: no allocation for the pods that fit.
func fits(want framework.Resources, n *framework.Node) bool {
	if len(want.Scalar) > 0 {
		return shortOf(want, n.Allocatable, n.Requested) == nil
	}
	a, r := &n.Allocatable, &n.Requested
	return (want.MilliCPU == 0 || want.MilliCPU <= a.MilliCPU-r.MilliCPU) &&
		(want.Memory == 0 || want.Memory <= a.Memory-r.Memory) &&
		(want.EphemeralStorage == 0 || want.EphemeralStorage <= a.EphemeralStorage-r.EphemeralStorage)
}

type shortage struct {
	reason string
	// never: even the empty node would be too small.
	never bool
}

// shortOf lists what a node that offers allocatable and has used given away lacks for want.
func shortOf(want, allocatable, used framework.Resources) (short []shortage) {
	check := func(name v1.ResourceName, want, allocatable, used int64) {
		if want > 0 && want > allocatable-used {
			short = append(short, shortage{reason: "Insufficient " + string(name), never: want > allocatable})
		}
	}
	check(v1.ResourceCPU, want.MilliCPU, allocatable.MilliCPU, used.MilliCPU)
	check(v1.ResourceMemory, want.Memory, allocatable.Memory, used.Memory)
	check(v1.ResourceEphemeralStorage, want.EphemeralStorage, allocatable.EphemeralStorage, used.EphemeralStorage)
	for _, name := range slices.Sorted(maps.Keys(want.Scalar)) {
		check(name, want.Scalar[name], allocatable.Scalar[name], used.Scalar[name])
	}
	return short
}

func share(shared map[string]*framework.Status, plugin string, short []shortage) *framework.Status {
	code := framework.Unschedulable
	reasons := make([]string, len(short))
	for i, s := range short {
		reasons[i] = s.reason
		if s.never {
			code = framework.UnschedulableAndUnresolvable
		}
	}
	key := strconv.Itoa(int(code)) + strings.Join(reasons, "\x00")
	if status, ok := shared[key]; ok {
		return status
	}
	status := framework.NewStatus(plugin, code, reasons...)
	shared[key] = status
	return status
}
