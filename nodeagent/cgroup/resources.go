package cgroup

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

const (
	// Period is the CFS period in microseconds.
	Period    = 100000
	minQuota  = 1000
	minShares = 2
	maxShares = 262144
)

// Shares turns a CPU request in thousandths of a core into cgroup shares.
func Shares(milli int64) uint64 {
	if milli <= 0 {
		return minShares
	}
	return uint64(min(max(milli*1024/1000, minShares), maxShares))
}

// Quota turns a CPU limit in thousandths of a core into microseconds per
// Period; 0 for no limit.
func Quota(milli int64) int64 {
	if milli <= 0 {
		return 0
	}
	return max(milli*Period/1000, minQuota)
}

// Limits are what a pod's cgroup enforces; zero fields are not set.
type Limits struct {
	Shares uint64
	Quota  int64
	// Memory in bytes.
	Memory int64
}

// loosest allows what either of two limits does.
func loosest(a, b Limits) Limits {
	limit := func(x, y int64) int64 {
		if x == 0 || y == 0 {
			return 0
		}
		return max(x, y)
	}
	return Limits{Shares: max(a.Shares, b.Shares), Quota: limit(a.Quota, b.Quota), Memory: limit(a.Memory, b.Memory)}
}

// explicit says "no limit" in the kernel's way, so that one set before goes.
func (l Limits) explicit() Limits {
	if l.Quota == 0 {
		l.Quota = -1
	}
	if l.Memory == 0 {
		l.Memory = -1
	}
	return l
}

// LimitsOf returns a pod's limits. CPU or memory is limited only if every
// container of the pod limits it.
func LimitsOf(pod *v1.Pod, qos v1.PodQOSClass) Limits {
	if qos == v1.PodQOSBestEffort {
		return Limits{Shares: minShares}
	}
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	limits := resource.PodLimits(pod, resource.PodResourcesOptions{})
	l := Limits{Shares: Shares(requests.Cpu().MilliValue())}
	cpu, memory := true, true
	check := func(r v1.ResourceRequirements) {
		cpu = cpu && !r.Limits.Cpu().IsZero()
		memory = memory && !r.Limits.Memory().IsZero()
	}
	if r := pod.Spec.Resources; r != nil && len(r.Limits) > 0 {
		check(*r)
	} else {
		for i := range pod.Spec.InitContainers {
			check(pod.Spec.InitContainers[i].Resources)
		}
		for i := range pod.Spec.Containers {
			check(pod.Spec.Containers[i].Resources)
		}
	}
	if cpu {
		l.Quota = Quota(limits.Cpu().MilliValue())
	}
	if memory {
		l.Memory = limits.Memory().Value()
	}
	return l
}
