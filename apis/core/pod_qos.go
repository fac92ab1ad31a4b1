package core

import (
	corev1 "k8s.io/api/core/v1"
)

// podQOS classes a pod by its requests and limits for CPU and memory.
func podQOS(p *corev1.Pod) corev1.PodQOSClass {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	guaranteed := true
	add := func(sum, l corev1.ResourceList) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q := l[name]; q.Sign() > 0 {
				have := sum[name].DeepCopy()
				have.Add(q)
				sum[name] = have
			}
		}
	}
	// limited tells that both are limited.
	limited := func(l corev1.ResourceList) bool {
		cpu, memory := l[corev1.ResourceCPU], l[corev1.ResourceMemory]
		return cpu.Sign() > 0 && memory.Sign() > 0
	}
	if r := p.Spec.Resources; r != nil {
		add(requests, r.Requests)
		add(limits, r.Limits)
		guaranteed = len(r.Limits) == 0 || limited(r.Limits)
	} else {
		for _, containers := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
			for i := range containers {
				r := &containers[i].Resources
				add(requests, r.Requests)
				add(limits, r.Limits)
				guaranteed = guaranteed && limited(r.Limits)
			}
		}
	}
	if len(requests) == 0 && len(limits) == 0 {
		return corev1.PodQOSBestEffort
	}
	for name, request := range requests {
		limit, ok := limits[name]
		guaranteed = guaranteed && ok && limit.Cmp(request) == 0
	}
	if guaranteed && len(requests) == len(limits) {
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
