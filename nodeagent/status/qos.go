package status

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// QOS returns a pod's quality-of-service class, from its containers' requests
// and limits of cpu and memory.
func QOS(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	requests, limits := v1.ResourceList{}, v1.ResourceList{}
	guaranteed := true
	add := func(into, from v1.ResourceList) map[v1.ResourceName]bool {
		seen := map[v1.ResourceName]bool{}
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			q, ok := from[name]
			if !ok || q.Cmp(resource.Quantity{}) != 1 {
				continue
			}
			seen[name] = true
			sum := into[name]
			sum.Add(q)
			into[name] = sum
		}
		return seen
	}
	count := func(r v1.ResourceRequirements) {
		add(requests, r.Requests)
		if got := add(limits, r.Limits); !got[v1.ResourceCPU] || !got[v1.ResourceMemory] {
			guaranteed = false
		}
	}
	if r := pod.Spec.Resources; r != nil && (len(r.Requests) > 0 || len(r.Limits) > 0) {
		count(*r)
	} else {
		for i := range pod.Spec.InitContainers {
			count(pod.Spec.InitContainers[i].Resources)
		}
		for i := range pod.Spec.Containers {
			count(pod.Spec.Containers[i].Resources)
		}
	}
	if len(requests) == 0 && len(limits) == 0 {
		return v1.PodQOSBestEffort
	}
	if guaranteed && len(requests) == len(limits) {
		for name, q := range requests {
			if l, ok := limits[name]; !ok || l.Cmp(q) != 0 {
				return v1.PodQOSBurstable
			}
		}
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}
