package core

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	requiredTerms  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferredTerms = "preferredDuringSchedulingIgnoredDuringExecution"
	weightMsg      = "must be in the range 1-100"
)

func validateAffinity(a *corev1.Affinity, l lenience, path *field.Path) (errs field.ErrorList) {
	if a == nil {
		return nil
	}
	if n := a.NodeAffinity; n != nil {
		at := path.Child("nodeAffinity")
		if n.RequiredDuringSchedulingIgnoredDuringExecution != nil {
			errs = append(errs, validateNodeSelector(n.RequiredDuringSchedulingIgnoredDuringExecution, l.nodeValues, at.Child(requiredTerms))...)
		}
		for i, t := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			term := at.Child(preferredTerms).Index(i)
			if t.Weight <= 0 || t.Weight > 100 {
				errs = append(errs, field.Invalid(term.Child("weight"), t.Weight, weightMsg))
			}
			errs = append(errs, validateNodeSelectorTerm(&t.Preference, true, term.Child("preference"))...)
		}
	}
	if p := a.PodAffinity; p != nil {
		errs = append(errs, validatePodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, l.selectors, path.Child("podAffinity"))...)
	}
	if p := a.PodAntiAffinity; p != nil {
		errs = append(errs, validatePodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, l.selectors, path.Child("podAntiAffinity"))...)
	}
	return errs
}

// ValidateNodeSelector returns what is wrong with a required node selector.
func ValidateNodeSelector(s *corev1.NodeSelector, path *field.Path) field.ErrorList {
	return validateNodeSelector(s, false, path)
}

// validateNodeSelector: anyValue as in validateNodeSelectorTerm.
func validateNodeSelector(s *corev1.NodeSelector, anyValue bool, path *field.Path) (errs field.ErrorList) {
	terms := path.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(terms, "must have at least one node selector term")}
	}
	for i := range s.NodeSelectorTerms {
		errs = append(errs, validateNodeSelectorTerm(&s.NodeSelectorTerms[i], anyValue, terms.Index(i))...)
	}
	return errs
}

// validateNodeSelectorTerm checks a term; anyValue lets values be no label values
// (a preference that never matches does no harm).
func validateNodeSelectorTerm(t *corev1.NodeSelectorTerm, anyValue bool, path *field.Path) (errs field.ErrorList) {
	for i, r := range t.MatchExpressions {
		at := path.Child("matchExpressions").Index(i)
		values := at.Child("values")
		switch r.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(values, "must be specified when `operator` is 'In' or 'NotIn'"))
			}
		case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				errs = append(errs, field.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
			}
		case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
			if len(r.Values) != 1 {
				errs = append(errs, field.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
			}
		default:
			errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
		}
		errs = append(errs, metav1validation.ValidateLabelName(r.Key, at.Child("key"))...)
		for j, v := range r.Values {
			if !anyValue {
				errs = append(errs, invalidEach(values.Index(j), v, validation.IsValidLabelValue(v))...)
			}
		}
	}
	for i, r := range t.MatchFields {
		at := path.Child("matchFields").Index(i)
		switch r.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if len(r.Values) != 1 {
				errs = append(errs, field.Required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
			}
		default:
			errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
		}
		if r.Key != metav1.ObjectNameField {
			errs = append(errs, field.Invalid(at.Child("key"), r.Key, "not a valid field selector key"))
			continue
		}
		for j, v := range r.Values {
			errs = append(errs, invalidEach(at.Child("values").Index(j), v, apivalidation.NameIsDNSSubdomain(v, false))...)
		}
	}
	return errs
}

func validatePodTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, anyValue bool, path *field.Path) (errs field.ErrorList) {
	for i := range required {
		errs = append(errs, validatePodTerm(&required[i], anyValue, path.Child(requiredTerms).Index(i))...)
	}
	for i := range preferred {
		at := path.Child(preferredTerms).Index(i)
		if w := preferred[i].Weight; w <= 0 || w > 100 {
			errs = append(errs, field.Invalid(at.Child("weight"), w, weightMsg))
		}
		errs = append(errs, validatePodTerm(&preferred[i].PodAffinityTerm, anyValue, at.Child("podAffinityTerm"))...)
	}
	return errs
}

func validateTermSelectors(t *corev1.PodAffinityTerm, anyValue bool, path *field.Path) field.ErrorList {
	o := metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: anyValue}
	errs := metav1validation.ValidateLabelSelector(t.LabelSelector, o, path.Child("labelSelector"))
	return append(errs, metav1validation.ValidateLabelSelector(t.NamespaceSelector, o, path.Child("namespaceSelector"))...)
}

func validatePodTerm(t *corev1.PodAffinityTerm, anyValue bool, path *field.Path) field.ErrorList {
	errs := validateTermSelectors(t, anyValue, path)
	for _, n := range t.Namespaces {
		errs = append(errs, invalidEach(path.Child("namespace"), n, apivalidation.ValidateNamespaceName(n, false))...)
	}
	errs = append(errs, validateLabelKeys(t.MatchLabelKeys, t.MismatchLabelKeys, t.LabelSelector, path)...)
	if t.TopologyKey == "" {
		errs = append(errs, field.Required(path.Child("topologyKey"), "can not be empty"))
	}
	return append(errs, metav1validation.ValidateLabelName(t.TopologyKey, path.Child("topologyKey"))...)
}

// validateLabelKeys checks keys whose values the pod's own labels give; a key
// cannot be selected in two ways (KEP-3633).
func validateLabelKeys(match, mismatch []string, s *metav1.LabelSelector, path *field.Path) (errs field.ErrorList) {
	for _, l := range []struct {
		name string
		keys []string
	}{{"matchLabelKeys", match}, {"mismatchLabelKeys", mismatch}} {
		if len(l.keys) > 0 && s == nil {
			errs = append(errs, field.Forbidden(path.Child(l.name), "must not be specified when labelSelector is not set"))
			continue
		}
		for i, key := range l.keys {
			errs = append(errs, metav1validation.ValidateLabelName(key, path.Child(l.name).Index(i))...)
		}
	}
	if s != nil {
		// The selector has the terms made from the keys by now; a second one is the user's.
		seen := map[string]bool{}
		for key := range s.MatchLabels {
			seen[key] = true
		}
		last := map[string]int{}
		for i, key := range match {
			last[key] = i
		}
		for _, e := range s.MatchExpressions {
			if i, ok := last[e.Key]; ok && seen[e.Key] {
				errs = append(errs, field.Invalid(path.Index(i), e.Key, "exists in both matchLabelKeys and labelSelector"))
			}
			seen[e.Key] = true
		}
	}
	for i, key := range match {
		if slices.Contains(mismatch, key) {
			errs = append(errs, field.Invalid(path.Child("matchLabelKeys").Index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys"))
		}
	}
	return errs
}

func validateSpread(list []corev1.TopologySpreadConstraint, l lenience, path *field.Path) (errs field.ErrorList) {
	for i := range list {
		s, at := &list[i], path.Index(i)
		errs = append(errs, ValidatePositive(int64(s.MaxSkew), at.Child("maxSkew"))...)
		if s.TopologyKey == "" {
			errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
		}
		errs = append(errs, supported(s.WhenUnsatisfiable, at.Child("whenUnsatisfiable"), corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
		for _, other := range list[i+1:] {
			if other.TopologyKey == s.TopologyKey && other.WhenUnsatisfiable == s.WhenUnsatisfiable {
				errs = append(errs, field.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", s.TopologyKey, s.WhenUnsatisfiable)))
				break
			}
		}
		if n := s.MinDomains; n != nil {
			errs = append(errs, ValidatePositive(int64(*n), at.Child("minDomains"))...)
			if s.WhenUnsatisfiable != corev1.DoNotSchedule {
				errs = append(errs, field.Invalid(at.Child("minDomains"), n, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, s.WhenUnsatisfiable)))
			}
		}
		if p := s.NodeAffinityPolicy; p != nil {
			errs = append(errs, supported(*p, at.Child("nodeAffinityPolicy"), corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		if p := s.NodeTaintsPolicy; p != nil {
			errs = append(errs, supported(*p, at.Child("nodeTaintsPolicy"), corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		if l.spreadKeys {
			errs = append(errs, validateOldSpreadKeys(s, at.Child("matchLabelKeys"))...)
		} else {
			errs = append(errs, validateLabelKeys(s.MatchLabelKeys, nil, s.LabelSelector, at)...)
		}
		if !l.spreadSelectors {
			errs = append(errs, metav1validation.ValidateLabelSelector(s.LabelSelector, metav1validation.LabelSelectorValidationOptions{}, at.Child("labelSelector"))...)
		}
	}
	return errs
}

// validateOldSpreadKeys is how keys were checked before their terms were put
// into the selector.
func validateOldSpreadKeys(s *corev1.TopologySpreadConstraint, path *field.Path) (errs field.ErrorList) {
	if len(s.MatchLabelKeys) == 0 {
		return nil
	}
	selected := map[string]bool{}
	if s.LabelSelector == nil {
		errs = append(errs, field.Forbidden(path, "must not be specified when labelSelector is not set"))
	} else {
		for key := range s.LabelSelector.MatchLabels {
			selected[key] = true
		}
		for _, e := range s.LabelSelector.MatchExpressions {
			selected[e.Key] = true
		}
	}
	for i, key := range s.MatchLabelKeys {
		errs = append(errs, metav1validation.ValidateLabelName(key, path.Index(i))...)
		if selected[key] {
			errs = append(errs, field.Invalid(path.Index(i), key, "exists in both matchLabelKeys and labelSelector"))
		}
	}
	return errs
}

// ValidateTolerations checks which taints a pod puts up with.
func ValidateTolerations(list []corev1.Toleration, path *field.Path) field.ErrorList {
	return validateTolerations(list, false, path)
}

// validateTolerations: comparisons are allowed where they are in use (KEP-5471).
func validateTolerations(list []corev1.Toleration, comparisons bool, path *field.Path) (errs field.ErrorList) {
	for i, t := range list {
		at := path.Index(i)
		if t.Key != "" {
			errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		}
		if t.Key == "" && t.Operator != corev1.TolerationOpExists {
			errs = append(errs, field.Invalid(at.Child("operator"), t.Operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(at.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
		}
		switch t.Operator {
		case corev1.TolerationOpEqual, "":
			if msgs := validation.IsValidLabelValue(t.Value); len(msgs) > 0 {
				errs = append(errs, field.Invalid(at.Child("operator"), t.Value, strings.Join(msgs, ";")))
			}
		case corev1.TolerationOpExists:
			if t.Value != "" {
				errs = append(errs, field.Invalid(at.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'"))
			}
		case corev1.TolerationOpLt, corev1.TolerationOpGt:
			if !comparisons {
				errs = append(errs, field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists, corev1.TolerationOpLt, corev1.TolerationOpGt}))
				break
			}
			errs = append(errs, invalidEach(at.Child("value"), t.Value, content.IsDecimalInteger(t.Value))...)
			if _, err := strconv.ParseInt(t.Value, 10, 64); err != nil {
				errs = append(errs, field.Invalid(at.Child("value"), t.Value, err.Error()))
			}
		default:
			errs = append(errs, field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		errs = append(errs, validateTaintEffect(t.Effect, true, at.Child("effect"))...)
	}
	return errs
}
