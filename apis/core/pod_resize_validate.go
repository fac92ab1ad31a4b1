package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateResize: of a running pod, CPU and memory may change, to other amounts (KEP-1287).
func validateResize(p, old *corev1.Pod) field.ErrorList {
	whole, spec := field.NewPath(""), field.NewPath("spec")
	if _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; static {
		return field.ErrorList{field.Forbidden(whole, "static pods cannot be resized")}
	}
	if old.Spec.OS != nil && old.Spec.OS.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(whole, "windows pods cannot be resized")}
	}
	errs := append(ValidateMeta(p, true), validatePod(p, lenienceFor(&old.Spec, &old.ObjectMeta))...)
	class := old.Status.QOSClass
	if class == "" {
		class = podQOS(old)
	}
	if class != podQOS(p) {
		errs = append(errs, field.Invalid(spec, p.Status.QOSClass, "Pod QOS Class may not change as a result of resizing"))
	}
	if !resizable(old) {
		errs = append(errs, field.Forbidden(spec, "Pod running on node without support for resize"))
	}
	rest := p.Spec.DeepCopy()
	if hasPodResources(&old.Spec) || hasPodResources(&p.Spec) {
		errs = append(errs, validatePodLevelResize(p, old, rest, spec)...)
	}
	if len(old.Status.NodeAllocatableResourceClaimStatuses) > 0 {
		errs = append(errs, field.Forbidden(spec, "pods with node allocatable resource claims cannot be resized"))
	}
	if moved := validateSameContainers(p, old, spec); len(moved) > 0 {
		return append(errs, moved...)
	}
	for i := range old.Spec.InitContainers {
		errs = append(errs, validateKept(&p.Spec.InitContainers[i].Resources, &old.Spec.InitContainers[i].Resources, spec.Child("initContainers").Index(i).Child("resources"))...)
	}
	for i := range old.Spec.Containers {
		errs = append(errs, validateKept(&p.Spec.Containers[i].Resources, &old.Spec.Containers[i].Resources, spec.Child("containers").Index(i).Child("resources"))...)
	}
	for i := range rest.Containers {
		restoreCompute(&rest.Containers[i], &old.Spec.Containers[i])
		if !equality.Semantic.DeepEqual(rest.Containers[i], old.Spec.Containers[i]) {
			errs = append(errs, field.Forbidden(spec, "only cpu and memory resources are mutable"))
		}
	}
	for i := range rest.InitContainers {
		errs = append(errs, validateInitResize(&rest.InitContainers[i], &old.Spec.InitContainers[i], spec.Child("initContainers").Index(i))...)
	}
	if len(errs) == 0 && !equality.Semantic.DeepEqual(rest, &old.Spec) {
		errs = append(errs, field.Forbidden(spec, "only cpu and memory resources are mutable"))
	}
	return errs
}

// resizable: nodes that can resize report what running containers got.
func resizable(p *corev1.Pod) bool {
	for i := range p.Status.ContainerStatuses {
		if s := &p.Status.ContainerStatuses[i]; s.State.Running != nil {
			return s.Resources != nil
		}
	}
	return true
}

func hasPodResources(s *corev1.PodSpec) bool {
	return s.Resources != nil && len(s.Resources.Requests)+len(s.Resources.Limits) > 0
}

// validatePodLevelResize checks resources of the pod as a whole (KEP-5419), and
// takes the allowed changes out of rest.
func validatePodLevelResize(p, old *corev1.Pod, rest *corev1.PodSpec, spec *field.Path) (errs field.ErrorList) {
	now, was := p.Spec.Resources, old.Spec.Resources
	at := spec.Child("resources")
	if was != nil && now == nil {
		return field.ErrorList{field.Forbidden(at, "pod-level resources cannot be removed")}
	}
	if was != nil {
		if removed(now.Requests, was.Requests) {
			errs = append(errs, field.Forbidden(at.Child("requests"), "pod-level resource requests cannot be removed"))
		}
		if removed(now.Limits, was.Limits) {
			errs = append(errs, field.Forbidden(at.Child("limits"), "pod-level resource limits cannot be removed"))
		}
	}
	if r := rest.Resources; r != nil {
		before := was
		if before == nil {
			before = &corev1.ResourceRequirements{}
		}
		r.Requests, r.Limits = withCompute(r.Requests, before.Requests), withCompute(r.Limits, before.Limits)
		if was == nil && len(r.Requests)+len(r.Limits)+len(r.Claims) == 0 {
			rest.Resources = nil
		}
	}
	if !equality.Semantic.DeepEqual(rest.Resources, was) {
		errs = append(errs, field.Forbidden(spec, "only cpu and memory resources are mutable at pod-level"))
	}
	return errs
}

func validateSameContainers(p, old *corev1.Pod, spec *field.Path) (errs field.ErrorList) {
	for _, l := range []struct {
		name     string
		now, was []corev1.Container
	}{{"containers", p.Spec.Containers, old.Spec.Containers}, {"initContainers", p.Spec.InitContainers, old.Spec.InitContainers}} {
		if len(l.now) != len(l.was) {
			errs = append(errs, field.Forbidden(spec.Child(l.name), l.name+" may not be added or removed on resize"))
			continue
		}
		for i := range l.was {
			if l.now[i].Name != l.was[i].Name {
				errs = append(errs, field.Forbidden(spec.Child(l.name).Index(i).Child("name"), l.name+" may not be renamed or reordered on resize"))
			}
		}
	}
	return errs
}

func validateKept(now, was *corev1.ResourceRequirements, path *field.Path) (errs field.ErrorList) {
	if removed(now.Requests, was.Requests) {
		errs = append(errs, field.Forbidden(path.Child("requests"), "resource requests cannot be removed"))
	}
	if removed(now.Limits, was.Limits) {
		errs = append(errs, field.Forbidden(path.Child("limits"), "resource limits cannot be removed"))
	}
	return errs
}

func removed(now, was corev1.ResourceList) bool {
	for name := range was {
		if _, ok := now[name]; !ok {
			return true
		}
	}
	return false
}

// validateInitResize: an init container that has run cannot be restarted for it.
func validateInitResize(now, was *corev1.Container, path *field.Path) (errs field.ErrorList) {
	changed := !equality.Semantic.DeepEqual(now, was)
	restoreCompute(now, was)
	if !equality.Semantic.DeepEqual(now, was) {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable"))
	}
	for _, p := range now.ResizePolicy {
		if changed && !isSidecar(now) && p.RestartPolicy == corev1.RestartContainer {
			errs = append(errs, field.Forbidden(path, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"))
		}
	}
	return errs
}

// restoreCompute takes CPU and memory back from was, to see what else changed.
func restoreCompute(now, was *corev1.Container) {
	now.Resources = corev1.ResourceRequirements{
		Limits:   withCompute(now.Resources.Limits, was.Resources.Limits),
		Requests: withCompute(now.Resources.Requests, was.Resources.Requests),
	}
}

func withCompute(now, was corev1.ResourceList) corev1.ResourceList {
	if now == nil && was == nil {
		return nil
	}
	l := now.DeepCopy()
	if l == nil {
		l = corev1.ResourceList{}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		delete(l, name)
		if q, ok := was[name]; ok {
			l[name] = q
		}
	}
	return l
}
