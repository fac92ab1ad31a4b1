package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// FormatLabels renders labels as tables do ("a=b,c=d", "<none>").
func FormatLabels(l map[string]string) string { return orNone(labels.Set(l).String()) }

// FormatSelector renders a label selector as tables do.
func FormatSelector(s *metav1.LabelSelector) string { return metav1.FormatLabelSelector(s) }

// ReplicaCounts are the numbers that the status of every replicating kind has.
type ReplicaCounts struct {
	Replicas, FullyLabeled, Ready, Available int32
	ObservedGeneration                       int64
}

// ValidateReplicaCounts refuses negative counts, and parts greater than the whole.
func ValidateReplicaCounts(c ReplicaCounts, path *field.Path) (errs field.ErrorList) {
	parts := []struct {
		name  string
		count int32
	}{{"fullyLabeledReplicas", c.FullyLabeled}, {"readyReplicas", c.Ready}, {"availableReplicas", c.Available}}
	errs = append(errs, ValidateNonnegative(int64(c.Replicas), path.Child("replicas"))...)
	for _, p := range parts {
		errs = append(errs, ValidateNonnegative(int64(p.count), path.Child(p.name))...)
	}
	errs = append(errs, ValidateNonnegative(c.ObservedGeneration, path.Child("observedGeneration"))...)
	for _, p := range parts {
		if p.count > c.Replicas {
			errs = append(errs, field.Invalid(path.Child(p.name), p.count, "cannot be greater than status.replicas"))
		}
	}
	if c.Available > c.Ready {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), c.Available, "cannot be greater than readyReplicas"))
	}
	return errs
}

// ValidateReplicatedTemplate checks the template of pods that a controller
// keeps running for ever: its labels match the selector, and the pods restart.
// old is the template before; nil if there is none.
func ValidateReplicatedTemplate(t, old *corev1.PodTemplateSpec, selector *metav1.LabelSelector, owner string, path *field.Path) (errs field.ErrorList) {
	if s, err := metav1.LabelSelectorAsSelector(selector); err == nil {
		errs = validateMatches(t, s, path)
	}
	return append(errs, validateReplicatedPods(t, old, owner, path)...)
}

func validateMatches(t *corev1.PodTemplateSpec, s labels.Selector, path *field.Path) field.ErrorList {
	if s.Empty() || s.Matches(labels.Set(t.Labels)) {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`")}
}

// validateReplicatedPods checks the template of pods that restart for ever.
func validateReplicatedPods(t, old *corev1.PodTemplateSpec, owner string, path *field.Path) (errs field.ErrorList) {
	errs = append(errs, ValidatePodTemplate(t, old, path)...)
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(path.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in "+owner+" is not Supported"))
	}
	return errs
}
