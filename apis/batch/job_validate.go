package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
)

// manyCompletions is where an indexed job's status may get too big to store.
const manyCompletions = 100_000

// validateJob checks a job; old is nil on create.
func validateJob(j, old job) field.ErrorList {
	prefixed := true // jobs of old clusters have the labels without a prefix only
	if old != nil {
		_, name := old.Spec.Template.Labels[batchv1.JobNameLabel]
		_, uid := old.Spec.Template.Labels[batchv1.ControllerUidLabel]
		prefixed = name && uid
	}
	errs := validateGeneratedSelector(j, prefixed)
	errs = append(errs, validateSelectedSpec(j, old)...)
	if n := ptr.Deref(j.Spec.Completions, 0); isIndexed(&j.Spec) && n > 0 {
		if host := fmt.Sprintf("%s-%d", j.Name, n-1); len(validation.IsDNS1123Label(host)) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), j.Name, "will not able to create pod with invalid DNS label: "+host))
		}
	}
	return errs
}

// validateSelectedSpec checks the spec, and that the selector selects its pods.
func validateSelectedSpec(j, old job) field.ErrorList {
	spec := field.NewPath("spec")
	var template *corev1.PodTemplateSpec
	lenient := metav1validation.LabelSelectorValidationOptions{}
	if old != nil {
		template = &old.Spec.Template
		lenient.AllowInvalidLabelValueInSelector = metav1validation.LabelSelectorHasInvalidLabelValue(old.Spec.Selector)
	}
	errs := validateJobSpec(&j.Spec, template, spec)
	if j.Spec.Selector == nil {
		errs = append(errs, field.Required(spec.Child("selector"), ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelSelector(j.Spec.Selector, lenient, spec.Child("selector"))...)
	}
	if s, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !s.Matches(labels.Set(j.Spec.Template.Labels)) {
		errs = append(errs, field.Invalid(spec.Child("template", "metadata", "labels"), j.Spec.Template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}

// validateGeneratedSelector: what generateSelector made has not been tampered with.
func validateGeneratedSelector(j job, prefixed bool) (errs field.ErrorList) {
	if ptr.Deref(j.Spec.ManualSelector, false) || j.Spec.Selector == nil {
		return nil
	}
	if j.UID == "" {
		errs = append(errs, field.Required(field.NewPath("metadata", "uid"), ""))
	}
	path := field.NewPath("spec", "template", "metadata", "labels")
	want := labels.Set{}
	must := func(key, value string) {
		want[key] = value
		detail := fmt.Sprintf("must be '%s'", value)
		if have, ok := j.Spec.Template.Labels[key]; !ok {
			errs = append(errs, field.Required(path.Key(key), detail))
		} else if have != value {
			errs = append(errs, field.Invalid(path.Key(key), j.Spec.Template.Labels, detail))
		}
	}
	must(legacyControllerUIDLabel, string(j.UID))
	must(legacyJobNameLabel, j.Name)
	if prefixed {
		must(batchv1.ControllerUidLabel, string(j.UID))
		must(batchv1.JobNameLabel, j.Name)
	}
	if s, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !s.Matches(want) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

// validateJobSpec checks what jobs and templates of jobs share; old is the pods'
// template before, nil if there is none.
func validateJobSpec(s *batchv1.JobSpec, old *corev1.PodTemplateSpec, path *field.Path) (errs field.ErrorList) {
	nonnegative := func(name string, n *int32) {
		if n != nil {
			errs = append(errs, core.ValidateNonnegative(int64(*n), path.Child(name))...)
		}
	}
	nonnegative("parallelism", s.Parallelism)
	nonnegative("completions", s.Completions)
	if n := s.ActiveDeadlineSeconds; n != nil {
		errs = append(errs, core.ValidateNonnegative(*n, path.Child("activeDeadlineSeconds"))...)
	}
	nonnegative("backoffLimit", s.BackoffLimit)
	nonnegative("ttlSecondsAfterFinished", s.TTLSecondsAfterFinished)
	nonnegative("backoffLimitPerIndex", s.BackoffLimitPerIndex)
	nonnegative("maxFailedIndexes", s.MaxFailedIndexes)
	if s.MaxFailedIndexes != nil && s.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	if m := s.ManagedBy; m != nil {
		errs = append(errs, validation.IsDomainPrefixedPath(path.Child("managedBy"), *m)...)
		if len(*m) > 63 {
			errs = append(errs, field.TooLong(path.Child("managedBy"), "", 63))
		}
	}
	errs = append(errs, validateCompletionMode(s, path)...)
	if p := s.PodFailurePolicy; p != nil {
		errs = append(errs, validateFailurePolicy(s, path.Child("podFailurePolicy", "rules"))...)
	}
	if p := s.SuccessPolicy; p != nil {
		if isIndexed(s) {
			errs = append(errs, validateSuccessPolicy(s, path.Child("successPolicy", "rules"))...)
		} else {
			errs = append(errs, field.Invalid(path.Child("successPolicy"), *p, "requires indexed completion mode"))
		}
	}
	if p := s.PodReplacementPolicy; p != nil {
		allowed := []batchv1.PodReplacementPolicy{batchv1.Failed}
		if s.PodFailurePolicy == nil {
			allowed = append(allowed, batchv1.TerminatingOrFailed)
		}
		if !slices.Contains(allowed, *p) {
			errs = append(errs, field.NotSupported(path.Child("podReplacementPolicy"), *p, allowed))
		}
	}
	errs = append(errs, core.ValidatePodTemplate(&s.Template, old, path.Child("template"))...)
	return append(errs, validateJobRestart(s, path.Child("template", "spec", "restartPolicy"))...)
}

func validateJobRestart(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	switch p := s.Template.Spec.RestartPolicy; {
	case p == corev1.RestartPolicyAlways || p == "":
		return field.ErrorList{field.Required(path, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever))}
	case p != corev1.RestartPolicyOnFailure && p != corev1.RestartPolicyNever:
		return field.ErrorList{field.NotSupported(path, p, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever})}
	case s.PodFailurePolicy != nil && p != corev1.RestartPolicyNever:
		return field.ErrorList{field.Invalid(path, p, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever))}
	}
	return nil
}

func validateCompletionMode(s *batchv1.JobSpec, path *field.Path) (errs field.ErrorList) {
	mode := ptr.Deref(s.CompletionMode, batchv1.NonIndexedCompletion)
	invalid := func(name string, value any, format string, args ...any) {
		errs = append(errs, field.Invalid(path.Child(name), value, fmt.Sprintf(format, args...)))
	}
	switch mode {
	case batchv1.NonIndexedCompletion:
		if n := s.BackoffLimitPerIndex; n != nil {
			invalid("backoffLimitPerIndex", *n, "requires indexed completion mode")
		}
		if n := s.MaxFailedIndexes; n != nil {
			invalid("maxFailedIndexes", *n, "requires indexed completion mode")
		}
		return errs
	case batchv1.IndexedCompletion:
	default:
		return field.ErrorList{field.NotSupported(path.Child("completionMode"), mode, []batchv1.CompletionMode{batchv1.NonIndexedCompletion, batchv1.IndexedCompletion})}
	}
	if s.Completions == nil {
		errs = append(errs, field.Required(path.Child("completions"), fmt.Sprintf("when completion mode is %s", mode)))
	}
	parallelism, completions, failed := ptr.Deref(s.Parallelism, 0), ptr.Deref(s.Completions, 0), ptr.Deref(s.MaxFailedIndexes, 0)
	if parallelism > 100_000 {
		invalid("parallelism", parallelism, "must be less than or equal to %d when completion mode is %s", 100_000, mode)
	}
	if s.Completions != nil && failed > completions {
		invalid("maxFailedIndexes", failed, "must be less than or equal to completions")
	}
	if failed > 100_000 {
		invalid("maxFailedIndexes", failed, "must be less than or equal to %d", 100_000)
	}
	if completions <= manyCompletions || s.BackoffLimitPerIndex == nil {
		return errs
	}
	if s.MaxFailedIndexes == nil {
		errs = append(errs, field.Required(path.Child("maxFailedIndexes"), fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	}
	const many = "must be less than or equal to %d when completions are above %d and used with backoff limit per index"
	if parallelism > 10_000 {
		invalid("parallelism", parallelism, many, 10_000, manyCompletions)
	}
	if failed > 10_000 {
		invalid("maxFailedIndexes", failed, many, 10_000, manyCompletions)
	}
	return errs
}

// validateJobChange: a job's pods are of one make, so most of its spec stays.
func validateJobChange(j, old job) field.ErrorList {
	s, was, spec := &j.Spec, &old.Spec, field.NewPath("spec")
	errs := core.ValidateMeta(j, true)
	errs = append(errs, validateSelectedSpec(j, old)...) // causes come twice
	switch path := spec.Child("completions"); {
	case !isIndexed(s):
		errs = append(errs, core.ValidateImmutable(s.Completions, was.Completions, path)...)
	case s.Completions != nil && !ptr.Equal(s.Completions, was.Completions) && *s.Completions != ptr.Deref(s.Parallelism, 0):
		errs = append(errs, field.Invalid(path, s.Completions, fmt.Sprintf("can only be modified in tandem with %s", spec.Child("parallelism"))))
	}
	fixed := func(now, before any, name string) {
		errs = append(errs, core.ValidateImmutable(now, before, spec.Child(name))...)
	}
	fixed(s.Selector, was.Selector, "selector")
	if t := mutableTemplate(j, old); t == &was.Template {
		fixed(&s.Template, t, "template")
	} else {
		fixed(s.Template.Spec, t.Spec, "template.spec")
	}
	fixed(s.CompletionMode, was.CompletionMode, "completionMode")
	fixed(s.PodFailurePolicy, was.PodFailurePolicy, "podFailurePolicy")
	fixed(s.BackoffLimitPerIndex, was.BackoffLimitPerIndex, "backoffLimitPerIndex")
	fixed(s.ManagedBy, was.ManagedBy, "managedBy")
	fixed(s.SuccessPolicy, was.SuccessPolicy, "successPolicy")
	return errs
}

// mutableTemplate is the old template with what may change of it taken from the
// new one: where to schedule and what to request, while suspended and with no
// pods left (KEP-2926, KEP-5440).
func mutableTemplate(j, old job) *corev1.PodTemplateSpec {
	stopped := old.Status.StartTime == nil || hasCondition(old.Status.Conditions, batchv1.JobSuspended)
	if !ptr.Deref(old.Spec.Suspend, false) || !stopped || old.Status.Active > 0 {
		return &old.Spec.Template
	}
	t, now := old.Spec.Template.DeepCopy(), &j.Spec.Template
	switch a := now.Spec.Affinity; {
	case a == nil && t.Spec.Affinity != nil:
		t.Spec.Affinity.NodeAffinity = nil
		if equality.Semantic.DeepEqual(t.Spec.Affinity, &corev1.Affinity{}) {
			t.Spec.Affinity = nil
		}
	case a != nil && t.Spec.Affinity == nil:
		t.Spec.Affinity = &corev1.Affinity{NodeAffinity: a.NodeAffinity}
	case a != nil:
		t.Spec.Affinity.NodeAffinity = a.NodeAffinity
	}
	t.Spec.NodeSelector, t.Spec.Tolerations = now.Spec.NodeSelector, now.Spec.Tolerations
	t.Annotations, t.Labels = now.Annotations, now.Labels
	t.Spec.SchedulingGates = now.Spec.SchedulingGates
	for _, c := range []struct{ into, from []corev1.Container }{{t.Spec.Containers, now.Spec.Containers}, {t.Spec.InitContainers, now.Spec.InitContainers}} {
		for i := range c.into {
			if len(c.into) == len(c.from) && c.into[i].Name == c.from[i].Name {
				c.into[i].Resources = c.from[i].Resources
			}
		}
	}
	return t
}
