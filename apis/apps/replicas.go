package apps

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

// What the kinds of this group have in common.

// validateSelected checks a selector and the template of the pods it selects;
// owner is the kind's name, in lower case in the message about empty selectors;
// old is the template before, nil if there is none.
func validateSelected(selector *metav1.LabelSelector, template, old *corev1.PodTemplateSpec, owner, emptyOwner string, spec *field.Path) (errs field.ErrorList) {
	path := spec.Child("selector")
	if selector == nil {
		errs = append(errs, field.Required(path, ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, path)...)
		if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(path, selector, "empty selector is invalid for "+emptyOwner))
		}
	}
	if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
		return append(errs, field.Invalid(path, selector, "invalid label selector"))
	}
	return append(errs, core.ValidateReplicatedTemplate(template, old, selector, owner, spec.Child("template"))...)
}

// validateIntOrPercent wants an integer that is not negative, or a percentage.
func validateIntOrPercent(v intstr.IntOrString, path *field.Path) (errs field.ErrorList) {
	switch v.Type {
	case intstr.String:
		for _, msg := range validation.IsValidPercent(v.StrVal) {
			errs = append(errs, field.Invalid(path, v, msg))
		}
	case intstr.Int:
		errs = core.ValidateNonnegative(int64(v.IntValue()), path)
	default:
		errs = append(errs, field.Invalid(path, v, "must be an integer or percentage (e.g '5%%')"))
	}
	return errs
}

// percent is the value of a well-formed percentage.
func percent(v intstr.IntOrString) (int, bool) {
	if v.Type != intstr.String || len(validation.IsValidPercent(v.StrVal)) > 0 {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	return n, err == nil
}

func isZero(v intstr.IntOrString) bool {
	if n, ok := percent(v); ok {
		return n == 0
	}
	return v.IntValue() == 0
}

func atMost100Percent(v intstr.IntOrString, path *field.Path) field.ErrorList {
	if n, ok := percent(v); ok && n > 100 {
		return field.ErrorList{field.Invalid(path, v, "must not be greater than 100%")}
	}
	return nil
}

// count is one number of a status.
type count struct {
	name  string
	value int64
}

func validateCounts(path *field.Path, counts ...count) (errs field.ErrorList) {
	for _, c := range counts {
		errs = append(errs, core.ValidateNonnegative(c.value, path.Child(c.name))...)
	}
	return errs
}

// validateParts: what is a part of the replicas cannot be more than they are.
func validateParts(path *field.Path, replicas, ready, available int32, readyMsg string, parts ...count) (errs field.ErrorList) {
	for _, p := range parts {
		if p.value > int64(replicas) {
			errs = append(errs, field.Invalid(path.Child(p.name), int32(p.value), "cannot be greater than status.replicas"))
		}
	}
	if available > ready {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), available, readyMsg))
	}
	return errs
}

// validateCollisions: the count of name collisions only grows.
func validateCollisions(now, old *int32, path *field.Path) field.ErrorList {
	if now == nil && old != nil || now != nil && old != nil && *now < *old {
		return field.ErrorList{field.Invalid(path.Child("collisionCount"), ptr.Deref(now, 0), "cannot be decremented")}
	}
	return nil
}

// nameWarnings: names that cannot be host names of pods.
func nameWarnings(name string) []string {
	if msgs := validation.IsDNS1123Label(name); len(msgs) > 0 {
		return []string{fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", msgs)}
	}
	return nil
}

// templateWarnings are given for new templates and changed ones.
func templateWarnings(changed bool, t *corev1.PodTemplateSpec) []string {
	if !changed {
		return nil
	}
	return core.PodTemplateWarnings(t, field.NewPath("spec", "template"))
}

// scaled adds the /scale subresource.
func scaled[T kind.Object](replicas func(T) **int32, status func(T) int32, selector func(T) *metav1.LabelSelector) func(*kind.Deps, *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
	return func(_ *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
		return nil, map[string]rest.Storage{"scale": core.NewScaleREST(r, core.ScaleOf[T]{
			Replicas: replicas,
			Status:   status,
			Selector: func(o T) (string, error) {
				s, err := metav1.LabelSelectorAsSelector(selector(o))
				if err != nil {
					return "", err
				}
				return s.String(), nil
			},
		})}, nil
	}
}

func selectorColumn[T kind.Object](description string, selector func(T) *metav1.LabelSelector) kind.Column[T] {
	return kind.Column[T]{Name: "Selector", Type: "string", Priority: 1, Description: description,
		Value: func(o T) any { return core.FormatSelector(selector(o)) }}
}
