package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"
)

// DefaultPod fills what a pod leaves out; more than in a template: requests
// follow limits, service links are on, and host ports follow container ports.
func DefaultPod(p *corev1.Pod) {
	s := &p.Spec
	requestsFromLimits(s.Containers)
	requestsFromLimits(s.InitContainers)
	if s.Resources != nil {
		defaultPodHugePages(p)
		defaultPodRequests(p)
	}
	if s.EnableServiceLinks == nil {
		s.EnableServiceLinks = ptr.To(corev1.DefaultEnableServiceLinks)
	}
	if s.HostNetwork {
		defaultHostPorts(s.Containers)
		defaultHostPorts(s.InitContainers)
	}
	DefaultPodSpec(s)
	if *s.TerminationGracePeriodSeconds < 0 {
		s.TerminationGracePeriodSeconds = ptr.To(int64(1)) // the least that is graceful
	}
	p.Annotations = withoutInitAnnotations(p.Annotations)

	// podIP is the first of podIPs; who writes one means both.
	switch st := &p.Status; {
	case st.PodIP != "" && (len(st.PodIPs) == 0 || st.PodIPs[0].IP != st.PodIP):
		st.PodIPs = []corev1.PodIP{{IP: st.PodIP}}
	case st.PodIP == "" && len(st.PodIPs) > 0:
		st.PodIP = st.PodIPs[0].IP
	}
	for _, l := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range l {
			roundResources(l[i].AllocatedResources)
			if r := l[i].Resources; r != nil {
				roundResources(r.Limits)
				roundResources(r.Requests)
			}
		}
	}
}

func requestsFromLimits(containers []corev1.Container) {
	for i := range containers {
		r := &containers[i].Resources
		if r.Limits == nil {
			continue
		}
		if r.Requests == nil {
			r.Requests = make(corev1.ResourceList, len(r.Limits))
		}
		for name, limit := range r.Limits {
			if _, set := r.Requests[name]; !set {
				r.Requests[name] = limit.DeepCopy()
			}
		}
	}
}

// defaultHostPorts: in the host's network every container port is a host port.
func defaultHostPorts(containers []corev1.Container) {
	for i := range containers {
		for j := range containers[i].Ports {
			if p := &containers[i].Ports[j]; p.HostPort == 0 {
				p.HostPort = p.ContainerPort
			}
		}
	}
}

// defaultPodHugePages: huge pages cannot be overcommitted, so a pod-level limit
// is the sum of the containers' (KEP-2837).
func defaultPodHugePages(p *corev1.Pod) {
	r := p.Spec.Resources
	if len(r.Limits) == 0 && len(r.Requests) == 0 {
		return
	}
	for name, sum := range resourcehelper.AggregateContainerLimits(p, resourcehelper.PodResourcesOptions{}) {
		_, requested := r.Requests[name]
		_, limited := r.Limits[name]
		if !isHugePages(name) || requested || limited {
			continue
		}
		if r.Limits == nil {
			r.Limits = corev1.ResourceList{}
		}
		r.Limits[name] = sum.DeepCopy()
	}
}

// defaultPodRequests: what a pod with limits does not request as a whole is what
// its containers do, or else the limit (KEP-2837).
func defaultPodRequests(p *corev1.Pod) {
	r := p.Spec.Resources
	if len(r.Limits) == 0 {
		return
	}
	requests := r.Requests.DeepCopy()
	if requests == nil {
		requests = corev1.ResourceList{}
	}
	for name, sum := range resourcehelper.AggregateContainerRequests(p, resourcehelper.PodResourcesOptions{}) {
		if _, set := requests[name]; !set && resourcehelper.IsSupportedPodLevelResource(name) && isOvercommittable(name) {
			requests[name] = sum.DeepCopy()
		}
	}
	for name, limit := range r.Limits {
		if _, set := requests[name]; !set && resourcehelper.IsSupportedPodLevelResource(name) {
			requests[name] = limit.DeepCopy()
		}
	}
	if len(requests) > 0 {
		r.Requests = requests
	}
}

// expandMatchLabelKeys turns matchLabelKeys into selector terms with the values
// of the pod's own labels (KEP-3633, KEP-3243).
func expandMatchLabelKeys(p *corev1.Pod) {
	expand := func(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator) {
		for _, key := range keys {
			value, ok := p.Labels[key]
			if !ok || s == nil {
				continue
			}
			r := metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: []string{value}}
			s.MatchExpressions = append(s.MatchExpressions, r)
		}
	}
	term := func(t *corev1.PodAffinityTerm) {
		expand(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn)
		expand(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn)
	}
	terms := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range preferred {
			term(&preferred[i].PodAffinityTerm)
		}
		for i := range required {
			term(&required[i])
		}
	}
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			terms(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
		if a.PodAntiAffinity != nil {
			terms(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
	}
	for i := range p.Spec.TopologySpreadConstraints {
		c := &p.Spec.TopologySpreadConstraints[i]
		expand(c.LabelSelector, c.MatchLabelKeys, metav1.LabelSelectorOpIn)
	}
}
