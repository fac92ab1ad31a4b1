package core

import (
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// updatableFields are those of a running pod that may change, as messages list them.
const updatableFields = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

func validatePodCreate(p *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validatePod(p, lenience{})
	if len(p.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return append(errs, validateAnnotationsAgree(&p.ObjectMeta, &p.Spec, spec)...)
}

// validatePod checks what must hold for pods at all times; more than for templates.
func validatePod(p *corev1.Pod, l lenience) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validatePodAnnotations(p.Annotations, &p.Spec, l, field.NewPath("metadata", "annotations"))
	errs = append(errs, validatePodSpec(&p.Spec, &p.ObjectMeta, l, spec, true)...)
	if p.Spec.ServiceAccountName == "" {
		for i, v := range p.Spec.Volumes {
			if v.Projected == nil {
				continue
			}
			for j, s := range v.Projected.Sources {
				if s.ServiceAccountToken != nil {
					errs = append(errs, field.Forbidden(spec.Child("volumes").Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken"),
						"must not be specified when serviceAccountName is not set"))
				}
			}
		}
	}
	for i := range p.Spec.Containers {
		errs = append(errs, validateImageSpace(&p.Spec.Containers[i], spec.Child("containers").Index(i))...)
	}
	for i := range p.Spec.InitContainers {
		errs = append(errs, validateImageSpace(&p.Spec.InitContainers[i], spec.Child("initContainers").Index(i))...)
	}
	return errs
}

// validatePodAgain checks a pod after a change as if it were new, but for what was
// wrong before.
func validatePodAgain(p, old *corev1.Pod) field.ErrorList {
	l := lenienceFor(&old.Spec, &old.ObjectMeta)
	errs := append(ValidateMeta(p, true), validatePod(p, l)...)
	return append(errs, validateAnnotationsUpdate(p, old, l)...)
}

func validatePodUpdate(p, old *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validatePodAgain(p, old)
	for _, l := range []struct {
		now, was []corev1.Container
		name     string
	}{{p.Spec.Containers, old.Spec.Containers, "containers"}, {p.Spec.InitContainers, old.Spec.InitContainers, "initContainers"}} {
		if len(l.now) != len(l.was) {
			return append(errs, field.Forbidden(spec.Child(l.name), "pod updates may not add or remove containers"))
		}
		for i := range l.now {
			if l.now[i].Image == "" {
				errs = append(errs, field.Required(spec.Child(l.name).Index(i).Child("image"), ""))
			}
			errs = append(errs, validateImageSpace(&l.now[i], spec.Child(l.name).Index(i))...)
		}
	}
	path := spec.Child("activeDeadlineSeconds")
	switch now, was := p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds; {
	case now != nil && (*now < 0 || *now > math.MaxInt32):
		return append(errs, field.Invalid(path, *now, validation.InclusiveRangeError(0, math.MaxInt32)))
	case now != nil && was != nil && *was < *now:
		return append(errs, field.Invalid(path, *now, "must be less than or equal to previous value"))
	case now == nil && was != nil:
		errs = append(errs, field.Invalid(path, now, "must not update from a positive integer to nil value"))
	}
	errs = append(errs, validateAddedTolerations(p.Spec.Tolerations, old.Spec.Tolerations, lenienceFor(&old.Spec, nil).comparisons, spec.Child("tolerations"))...)
	errs = append(errs, validateDeletedGates(p.Spec.SchedulingGates, old.Spec.SchedulingGates, spec.Child("schedulingGates"))...)
	if equality.Semantic.DeepEqual(&p.Spec, &old.Spec) {
		return errs
	}

	// Everything else must be as it was.
	rest := p.Spec.DeepCopy()
	for i := range rest.Containers {
		rest.Containers[i].Image = old.Spec.Containers[i].Image
	}
	for i := range rest.InitContainers {
		rest.InitContainers[i].Image = old.Spec.InitContainers[i].Image
	}
	rest.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
	rest.SchedulingGates = old.Spec.SchedulingGates
	rest.Tolerations = old.Spec.Tolerations
	if was, now := old.Spec.TerminationGracePeriodSeconds, rest.TerminationGracePeriodSeconds; was != nil && *was < 0 && now != nil && *now == 1 {
		rest.TerminationGracePeriodSeconds = was
	}
	if len(old.Spec.SchedulingGates) > 0 {
		errs = append(errs, validateGatedChange(rest, &old.Spec, spec)...)
	}
	if !equality.Semantic.DeepEqual(rest, &old.Spec) {
		errs = append(errs, field.Forbidden(spec, fmt.Sprintf("pod updates may not change fields other than %s\n%v", updatableFields, diff.Diff(old.Spec, *rest))))
	}
	return errs
}

// validateAnnotationsUpdate checks annotations and their change.
func validateAnnotationsUpdate(p, old *corev1.Pod, l lenience) field.ErrorList {
	path := field.NewPath("metadata", "annotations")
	return append(validateAnnotationChange(p.Annotations, old.Annotations, path), validatePodAnnotations(p.Annotations, &p.Spec, l, path)...)
}

func validateAddedTolerations(now, was []corev1.Toleration, comparisons bool, path *field.Path) field.ErrorList {
	for _, old := range was {
		kept := false
		for _, t := range now {
			old.TolerationSeconds = t.TolerationSeconds // may change
			kept = kept || equality.Semantic.DeepEqual(old, t)
		}
		if !kept {
			return field.ErrorList{field.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return validateTolerations(now, comparisons, path)
}

func validateDeletedGates(now, was []corev1.PodSchedulingGate, path *field.Path) (errs field.ErrorList) {
	had := map[string]bool{}
	for _, g := range was {
		had[g.Name] = true
	}
	last := map[string]int{}
	for i, g := range now {
		last[g.Name] = i
	}
	for i, g := range now {
		if !had[g.Name] && last[g.Name] == i {
			errs = append(errs, field.Forbidden(path.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name)))
		}
	}
	return errs
}

// validateGatedChange: where a pod that is not to be scheduled yet may go can
// still be narrowed (KEP-3838). It takes the allowed changes out of rest.
func validateGatedChange(rest, old *corev1.PodSpec, spec *field.Path) (errs field.ErrorList) {
	for key, value := range old.NodeSelector {
		if now, ok := rest.NodeSelector[key]; !ok || now != value {
			errs = append(errs, field.Invalid(spec.Child("nodeSelector"), rest.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
			break
		}
	}
	rest.NodeSelector = old.NodeSelector

	var now, was *corev1.NodeAffinity
	if rest.Affinity != nil {
		now = rest.Affinity.NodeAffinity
	}
	if old.Affinity != nil {
		was = old.Affinity.NodeAffinity
	}
	errs = append(errs, validateNarrowed(now, was, spec.Child("affinity", "nodeAffinity", requiredTerms, "nodeSelectorTerms"))...)
	switch {
	case rest.Affinity == nil && was != nil:
		rest.Affinity = &corev1.Affinity{NodeAffinity: was}
	case rest.Affinity != nil && old.Affinity == nil && rest.Affinity.PodAffinity == nil && rest.Affinity.PodAntiAffinity == nil:
		rest.Affinity = nil
	case rest.Affinity != nil:
		rest.Affinity.NodeAffinity = was
	}
	return errs
}

// validateNarrowed: required terms only get more requirements.
func validateNarrowed(now, was *corev1.NodeAffinity, path *field.Path) (errs field.ErrorList) {
	if was == nil || was.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	old := was.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	var terms []corev1.NodeSelectorTerm
	if now != nil && now.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		terms = now.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	if len(old) > 0 && len(old) != len(terms) {
		return field.ErrorList{field.Invalid(path, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	starts := func(now, was []corev1.NodeSelectorRequirement) bool {
		return len(now) >= len(was) && equality.Semantic.DeepEqual(now[:len(was)], was)
	}
	for i := range old {
		empty := len(old[i].MatchExpressions)+len(old[i].MatchFields) == 0
		more := len(terms[i].MatchExpressions)+len(terms[i].MatchFields) > 0
		if empty && more || !starts(terms[i].MatchExpressions, old[i].MatchExpressions) || !starts(terms[i].MatchFields, old[i].MatchFields) {
			errs = append(errs, field.Invalid(path.Index(i), terms[i], "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

func validateEphemeralUpdate(p, old *corev1.Pod) field.ErrorList {
	if _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; static {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers")}
	}
	errs := validatePodAgain(p, old)
	path := field.NewPath("spec", "ephemeralContainers")
	now := map[string]*corev1.EphemeralContainer{}
	for i := range p.Spec.EphemeralContainers {
		now[p.Spec.EphemeralContainers[i].Name] = &p.Spec.EphemeralContainers[i]
	}
	for _, was := range old.Spec.EphemeralContainers {
		if c, ok := now[was.Name]; !ok {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", was.Name)))
		} else if !equality.Semantic.DeepEqual(was, *c) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", was.Name, diff.Diff(was, *c))))
		}
	}
	return errs
}
