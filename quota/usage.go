package quota

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	apiquota "k8s.io/apiserver/pkg/quota/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

func quantityOf(n int) resource.Quantity { return *resource.NewQuantity(int64(n), resource.DecimalSI) }

// Usage is what one object of the resource (as Measured names it) uses at a time.
// Of a resource claim it is the number alone: see DeviceUsage.
func Usage(measured string, obj runtime.Object, now time.Time) corev1.ResourceList {
	used := corev1.ResourceList{corev1.ResourceName(countPrefix + measured): quantityOf(1)}
	if alias := LegacyCount(measured); alias != "" {
		used[alias] = quantityOf(1)
	}
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: true}
	switch obj := obj.(type) {
	case *corev1.Pod:
		if podCharged(obj, now) {
			used = apiquota.Add(used, PodResources(resourcehelper.PodRequests(obj, opts), resourcehelper.PodLimits(obj, opts)))
		}
	case *corev1.Service:
		used = apiquota.Add(used, serviceUsage(obj))
	case *corev1.PersistentVolumeClaim:
		used = apiquota.Add(used, claimUsage(obj))
	}
	return used
}

// podCharged reports whether a pod uses more than its place among the objects:
// not at its end, and not still there after its grace period, for a lost node
// must not keep its owner from starting others.
func podCharged(p *corev1.Pod, now time.Time) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	if p.DeletionTimestamp == nil || p.DeletionGracePeriodSeconds == nil {
		return true
	}
	return !now.After(p.DeletionTimestamp.Add(time.Duration(*p.DeletionGracePeriodSeconds) * time.Second))
}

// PodResources are the limits that a pod or container with these requests and
// limits is charged against.
func PodResources(requests, limits corev1.ResourceList) corev1.ResourceList {
	used := corev1.ResourceList{corev1.ResourcePods: quantityOf(1)}
	for name, n := range requests {
		asked := corev1.DefaultResourceRequestsPrefix + name
		switch {
		case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage,
			strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
			used[name] = n
			used[asked] = n
		case extendedResource(name), strings.HasPrefix(string(name), resourcev1.ResourceDeviceClassPrefix):
			// Nobody can use more of these than asked for, so only requests are limited.
			used[asked] = n
		}
	}
	for name, limit := range map[corev1.ResourceName]corev1.ResourceName{
		corev1.ResourceCPU:              corev1.ResourceLimitsCPU,
		corev1.ResourceMemory:           corev1.ResourceLimitsMemory,
		corev1.ResourceEphemeralStorage: corev1.ResourceLimitsEphemeralStorage,
	} {
		if n, ok := limits[name]; ok {
			used[limit] = n
		}
	}
	return used
}

func serviceUsage(s *corev1.Service) corev1.ResourceList {
	ports, balancers := 0, 0
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		ports = len(s.Spec.Ports)
	case corev1.ServiceTypeLoadBalancer:
		balancers = 1
		ports = len(s.Spec.Ports)
		if a := s.Spec.AllocateLoadBalancerNodePorts; a != nil && !*a {
			ports = 0
			for i := range s.Spec.Ports {
				if s.Spec.Ports[i].NodePort != 0 {
					ports++
				}
			}
		}
	}
	return corev1.ResourceList{
		corev1.ResourceServices:              quantityOf(1),
		corev1.ResourceServicesNodePorts:     quantityOf(ports),
		corev1.ResourceServicesLoadBalancers: quantityOf(balancers),
	}
}

func claimUsage(c *corev1.PersistentVolumeClaim) corev1.ResourceList {
	class := c.Annotations[corev1.BetaStorageClassAnnotation]
	if class == "" && c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	used := corev1.ResourceList{corev1.ResourcePersistentVolumeClaims: quantityOf(1)}
	if storage, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
		// An expansion under way uses what it was given.
		if given, ok := c.Status.AllocatedResources[corev1.ResourceStorage]; ok && given.Cmp(storage) > 0 {
			storage = given
		}
		storage = storage.DeepCopy()
		storage.RoundUp(0)
		used[corev1.ResourceRequestsStorage] = storage
	}
	if class != "" {
		for _, name := range []corev1.ResourceName{corev1.ResourcePersistentVolumeClaims, corev1.ResourceRequestsStorage} {
			if n, ok := used[name]; ok {
				used[corev1.ResourceName(class+storageClassInfix+string(name))] = n
			}
		}
	}
	return used
}

// Scopes are all conditions that an object must meet to be counted.
func Scopes(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, s := range q.Spec.Scopes {
		out = append(out, corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		out = append(out, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return out
}

// InScopes reports whether the object meets all scopes. Objects that a scope
// does not apply to do not meet it.
func InScopes(scopes []corev1.ScopedResourceSelectorRequirement, obj runtime.Object) bool {
	for i := range scopes {
		if !InScope(&scopes[i], obj) {
			return false
		}
	}
	return true
}

// InScope reports whether the object meets one scope.
func InScope(s *corev1.ScopedResourceSelectorRequirement, obj runtime.Object) bool {
	switch obj := obj.(type) {
	case *corev1.Pod:
		terminating := obj.Spec.ActiveDeadlineSeconds != nil && *obj.Spec.ActiveDeadlineSeconds >= 0
		switch s.ScopeName {
		case corev1.ResourceQuotaScopeTerminating:
			return terminating
		case corev1.ResourceQuotaScopeNotTerminating:
			return !terminating
		case corev1.ResourceQuotaScopeBestEffort:
			return bestEffort(obj)
		case corev1.ResourceQuotaScopeNotBestEffort:
			return !bestEffort(obj)
		case corev1.ResourceQuotaScopePriorityClass:
			return scopeSelects(s, obj.Spec.PriorityClassName)
		case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			return crossNamespaceAffinity(obj)
		}
	case *corev1.PersistentVolumeClaim:
		if s.ScopeName == corev1.ResourceQuotaScopeVolumeAttributesClass {
			return scopeSelects(s, AttributesClasses(obj)...)
		}
	}
	return false
}

// scopeSelects reports whether the scope's selector selects one of the values;
// empty ones count as absent.
func scopeSelects(s *corev1.ScopedResourceSelectorRequirement, values ...string) bool {
	op, ok := map[corev1.ScopeSelectorOperator]selection.Operator{
		corev1.ScopeSelectorOpIn:           selection.In,
		corev1.ScopeSelectorOpNotIn:        selection.NotIn,
		corev1.ScopeSelectorOpExists:       selection.Exists,
		corev1.ScopeSelectorOpDoesNotExist: selection.DoesNotExist,
	}[s.Operator]
	if !ok {
		return false
	}
	requirement, err := labels.NewRequirement(string(s.ScopeName), op, s.Values)
	if err != nil {
		return false
	}
	absent := true
	for _, v := range values {
		if v == "" {
			continue
		}
		absent = false
		if requirement.Matches(labels.Set{string(s.ScopeName): v}) {
			return true
		}
	}
	return absent && requirement.Matches(labels.Set{})
}

// AttributesClasses are the classes that a claim has, wants or is changing to.
func AttributesClasses(c *corev1.PersistentVolumeClaim) []string {
	var out []string
	if n := c.Spec.VolumeAttributesClassName; n != nil {
		out = append(out, *n)
	}
	if n := c.Status.CurrentVolumeAttributesClassName; n != nil {
		out = append(out, *n)
	}
	if m := c.Status.ModifyVolumeStatus; m != nil {
		out = append(out, m.TargetVolumeAttributesClassName)
	}
	return out
}

// bestEffort reports whether the pod asks for no cpu or memory at all. The API
// server says so when it creates the pod.
func bestEffort(p *corev1.Pod) bool {
	if p.Status.QOSClass != "" {
		return p.Status.QOSClass == corev1.PodQOSBestEffort
	}
	none := func(r corev1.ResourceList) bool { return r.Cpu().IsZero() && r.Memory().IsZero() }
	if p.Spec.Resources != nil && !(none(p.Spec.Resources.Requests) && none(p.Spec.Resources.Limits)) {
		return false
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if !none(list[i].Resources.Requests) || !none(list[i].Resources.Limits) {
				return false
			}
		}
	}
	return true
}

// crossNamespaceAffinity reports whether the pod's affinity looks at pods of
// other namespaces.
func crossNamespaceAffinity(p *corev1.Pod) bool {
	if p.Spec.Affinity == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	var weighted []corev1.WeightedPodAffinityTerm
	if a := p.Spec.Affinity.PodAffinity; a != nil {
		terms = append(terms, a.RequiredDuringSchedulingIgnoredDuringExecution...)
		weighted = append(weighted, a.PreferredDuringSchedulingIgnoredDuringExecution...)
	}
	if a := p.Spec.Affinity.PodAntiAffinity; a != nil {
		terms = append(terms, a.RequiredDuringSchedulingIgnoredDuringExecution...)
		weighted = append(weighted, a.PreferredDuringSchedulingIgnoredDuringExecution...)
	}
	for i := range weighted {
		terms = append(terms, weighted[i].PodAffinityTerm)
	}
	for i := range terms {
		if len(terms[i].Namespaces) > 0 || terms[i].NamespaceSelector != nil {
			return true
		}
	}
	return false
}
