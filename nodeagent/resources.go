package nodeagent

import (
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/cgroup"
	"proa/nodeagent/status"
)

// Scores that the kernel's out-of-memory killer starts from.
const (
	oomGuaranteed  = -997
	oomBestEffort  = 1000
	systemCritical = 2000000000
)

// containerResources turns requests and limits into the runtime's terms.
// memory is the node's capacity in bytes.
func containerResources(pod *v1.Pod, c *v1.Container, memory int64) *runtimeapi.LinuxContainerResources {
	cpuRequest, cpuLimit := c.Resources.Requests.Cpu(), c.Resources.Limits.Cpu()
	shares := cgroup.Shares(cpuRequest.MilliValue())
	if _, ok := c.Resources.Requests[v1.ResourceCPU]; !ok && !cpuLimit.IsZero() {
		shares = cgroup.Shares(cpuLimit.MilliValue())
	}
	out := &runtimeapi.LinuxContainerResources{
		CpuShares:          int64(shares),
		MemoryLimitInBytes: c.Resources.Limits.Memory().Value(),
		OomScoreAdj:        oomScore(pod, c, memory),
	}
	if q := cgroup.Quota(cpuLimit.MilliValue()); q > 0 {
		out.CpuPeriod, out.CpuQuota = cgroup.Period, q
	}
	return out
}

// oomScore says how early the kernel kills the container when memory runs out:
// guaranteed and critical pods last, others by the share of memory that they
// did not request.
func oomScore(pod *v1.Pod, c *v1.Container, memory int64) int64 {
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical {
		return oomGuaranteed
	}
	switch status.QOS(pod) {
	case v1.PodQOSGuaranteed:
		return oomGuaranteed
	case v1.PodQOSBestEffort:
		return oomBestEffort
	}
	if memory <= 0 {
		return oomBestEffort - 1
	}
	score := 1000 - 1000*c.Resources.Requests.Memory().Value()/memory
	return min(max(score, 1000+oomGuaranteed), oomBestEffort-1)
}
