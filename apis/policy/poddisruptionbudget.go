// Package policy holds the kinds of group policy. Eviction, which is a
// subresource of pods, is in apis/core.
package policy

import (
	"context"
	"strconv"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
	"proa/apis/kind"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any { return []kind.Any{PodDisruptionBudget()} }

type budget = *policyv1.PodDisruptionBudget

// PodDisruptionBudget says how many of an application's pods may be evicted at once.
func PodDisruptionBudget() *kind.Kind[budget] {
	return &kind.Kind[budget]{
		GVK:              policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
		Resource:         "poddisruptionbudgets",
		ShortNames:       []string{"pdb"},
		New:              func() budget { return &policyv1.PodDisruptionBudget{} },
		NewList:          func() runtime.Object { return &policyv1.PodDisruptionBudgetList{} },
		PrepareForCreate: func(_ context.Context, b budget) { b.Status = policyv1.PodDisruptionBudgetStatus{} },
		PrepareForUpdate: func(_ context.Context, b, old budget) { b.Status = old.Status },
		Spec:             func(b budget) any { return &b.Spec },
		// Names were never checked further.
		ValidateName: core.ValidatePathSegment,
		Validate: func(_ context.Context, b budget) field.ErrorList {
			return validateBudget(&b.Spec, metav1validation.LabelSelectorValidationOptions{})
		},
		PlainMetadata:        true,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, b, old budget) field.ErrorList {
			bad := metav1validation.ValidateLabelSelector(old.Spec.Selector, metav1validation.LabelSelectorValidationOptions{}, nil)
			return validateBudget(&b.Spec, metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: len(bad) > 0})
		},
		RefuseUnconditionalUpdate: true,
		Columns: []kind.Column[budget]{
			kind.NameColumn[budget](),
			{Name: "Min Available", Type: "string", Description: "The minimum number of pods that must be available.",
				Value: func(b budget) any { return formatCount(b.Spec.MinAvailable) }},
			{Name: "Max Unavailable", Type: "string", Description: "The maximum number of pods that may be unavailable.",
				Value: func(b budget) any { return formatCount(b.Spec.MaxUnavailable) }},
			{Name: "Allowed Disruptions", Type: "integer", Description: "Calculated number of pods that may be disrupted at this time.",
				Value: func(b budget) any { return int64(b.Status.DisruptionsAllowed) }},
			kind.AgeColumn[budget](),
		},
		Status: &kind.Status[budget]{
			Prepare:  func(_ context.Context, b, old budget) { b.Spec = old.Spec },
			Validate: func(_ context.Context, b, _ budget) field.ErrorList { return validateBudgetStatus(&b.Status) },
		},
	}
}

func formatCount(v *intstr.IntOrString) string {
	if v == nil {
		return "N/A"
	}
	return v.String()
}

func validateBudget(s *policyv1.PodDisruptionBudgetSpec, selectors metav1validation.LabelSelectorValidationOptions) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(spec, *s, "minAvailable and maxUnavailable cannot be both set"))
	}
	errs = append(errs, validateCount(s.MinAvailable, spec.Child("minAvailable"))...)
	errs = append(errs, validateCount(s.MaxUnavailable, spec.Child("maxUnavailable"))...)
	errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, selectors, spec.Child("selector"))...)
	if p := s.UnhealthyPodEvictionPolicy; p != nil && *p != policyv1.IfHealthyBudget && *p != policyv1.AlwaysAllow {
		errs = append(errs, field.NotSupported(spec.Child("unhealthyPodEvictionPolicy"), *p, []policyv1.UnhealthyPodEvictionPolicyType{policyv1.AlwaysAllow, policyv1.IfHealthyBudget}))
	}
	return errs
}

// validateCount wants a number that is not negative, or a percentage up to 100%.
func validateCount(v *intstr.IntOrString, path *field.Path) (errs field.ErrorList) {
	switch {
	case v == nil:
	case v.Type == intstr.Int:
		return core.ValidateNonnegative(int64(v.IntVal), path)
	case v.Type == intstr.String:
		for _, msg := range validation.IsValidPercent(v.StrVal) {
			errs = append(errs, field.Invalid(path, *v, msg))
		}
		if n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%")); len(errs) == 0 && (err != nil || n > 100) {
			errs = append(errs, field.Invalid(path, *v, "must not be greater than 100%"))
		}
	default:
		errs = append(errs, field.Invalid(path, *v, "must be an integer or percentage (e.g '5%%')"))
	}
	return errs
}

func validateBudgetStatus(s *policyv1.PodDisruptionBudgetStatus) field.ErrorList {
	status := field.NewPath("status")
	errs := metav1validation.ValidateConditions(s.Conditions, status.Child("conditions"))
	errs = append(errs, core.ValidateNonnegative(int64(s.DisruptionsAllowed), status.Child("disruptionsAllowed"))...)
	errs = append(errs, core.ValidateNonnegative(int64(s.CurrentHealthy), status.Child("currentHealthy"))...)
	errs = append(errs, core.ValidateNonnegative(int64(s.DesiredHealthy), status.Child("desiredHealthy"))...)
	return append(errs, core.ValidateNonnegative(int64(s.ExpectedPods), status.Child("expectedPods"))...)
}
