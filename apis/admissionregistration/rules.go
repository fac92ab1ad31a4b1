package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func failurePolicies() []registrationv1.FailurePolicyType {
	return []registrationv1.FailurePolicyType{registrationv1.Fail, registrationv1.Ignore}
}

func matchPolicies() []registrationv1.MatchPolicyType {
	return []registrationv1.MatchPolicyType{registrationv1.Equivalent, registrationv1.Exact}
}

func reinvocationPolicies() []registrationv1.ReinvocationPolicyType {
	return []registrationv1.ReinvocationPolicyType{registrationv1.IfNeededReinvocationPolicy, registrationv1.NeverReinvocationPolicy}
}

// setDefault points *p at value if it points nowhere.
func setDefault[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

func defaultRule(r *registrationv1.Rule) { setDefault(&r.Scope, registrationv1.AllScopes) }

func defaultMatch(m *registrationv1.MatchResources) {
	if m == nil {
		return
	}
	setDefault(&m.MatchPolicy, registrationv1.Equivalent)
	setDefault(&m.NamespaceSelector, metav1.LabelSelector{})
	setDefault(&m.ObjectSelector, metav1.LabelSelector{})
	for i := range m.ResourceRules {
		defaultRule(&m.ResourceRules[i].Rule)
	}
	for i := range m.ExcludeResourceRules {
		defaultRule(&m.ExcludeResourceRules[i].Rule)
	}
}

// validateMatch checks what requests a policy or binding is for; nil is fine.
func validateMatch(m *registrationv1.MatchResources, path *field.Path) (errs field.ErrorList) {
	if m == nil {
		return nil
	}
	if at := path.Child("matchPolicy"); m.MatchPolicy == nil {
		errs = append(errs, field.Required(at, ""))
	} else if !slices.Contains(matchPolicies(), *m.MatchPolicy) {
		errs = append(errs, field.NotSupported(at, *m.MatchPolicy, matchPolicies()))
	}
	errs = append(errs, validateSelector(m.NamespaceSelector, path.Child("namespaceSelector"))...)
	errs = append(errs, validateSelector(m.ObjectSelector, path.Child("objectSelector"))...)
	for i := range m.ResourceRules {
		errs = append(errs, validateNamedRule(&m.ResourceRules[i], path.Child("resourceRules").Index(i))...)
	}
	for i := range m.ExcludeResourceRules {
		errs = append(errs, validateNamedRule(&m.ExcludeResourceRules[i], path.Child("excludeResourceRules").Index(i))...)
	}
	return errs
}

func validateSelector(s *metav1.LabelSelector, path *field.Path) field.ErrorList {
	if s == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	return metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, path)
}

func validateNamedRule(r *registrationv1.NamedRuleWithOperations, path *field.Path) (errs field.ErrorList) {
	seen := map[string]bool{}
	for i, name := range r.ResourceNames {
		at := path.Child("resourceNames").Index(i)
		for _, msg := range content.IsPathSegmentName(name) {
			errs = append(errs, field.Invalid(at, name, msg))
		}
		if seen[name] {
			errs = append(errs, field.Duplicate(at, name))
		}
		seen[name] = true
	}
	return append(errs, validateRule(&r.RuleWithOperations, path)...)
}

func validateRule(r *registrationv1.RuleWithOperations, path *field.Path) (errs field.ErrorList) {
	operations := []registrationv1.OperationType{registrationv1.OperationAll, registrationv1.Connect, registrationv1.Create, registrationv1.Delete, registrationv1.Update}
	at := path.Child("operations")
	if len(r.Operations) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if len(r.Operations) > 1 && slices.Contains(r.Operations, registrationv1.OperationAll) {
		errs = append(errs, field.Invalid(at, r.Operations, "if '*' is present, must not specify other operations"))
	}
	for i, o := range r.Operations {
		if !slices.Contains(operations, o) {
			errs = append(errs, field.NotSupported(at.Index(i), o, operations))
		}
	}
	at = path.Child("apiGroups")
	if len(r.APIGroups) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if len(r.APIGroups) > 1 && slices.Contains(r.APIGroups, "*") {
		errs = append(errs, field.Invalid(at, r.APIGroups, "if '*' is present, must not specify other API groups"))
	}
	at = path.Child("apiVersions")
	if len(r.APIVersions) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if len(r.APIVersions) > 1 && slices.Contains(r.APIVersions, "*") {
		errs = append(errs, field.Invalid(at, r.APIVersions, "if '*' is present, must not specify other API versions"))
	}
	for i, v := range r.APIVersions {
		if v == "" {
			errs = append(errs, field.Required(at.Index(i), ""))
		}
	}
	errs = append(errs, validateResources(r.Resources, path.Child("resources"))...)
	scopes := []registrationv1.ScopeType{registrationv1.AllScopes, registrationv1.ClusterScope, registrationv1.NamespacedScope}
	if s := ptr.Deref(r.Scope, registrationv1.AllScopes); !slices.Contains(scopes, s) {
		errs = append(errs, field.NotSupported(path.Child("scope"), s, scopes))
	}
	return errs
}

// validateResources refuses patterns that say what another already says.
func validateResources(resources []string, path *field.Path) (errs field.ErrorList) {
	if len(resources) == 0 {
		errs = append(errs, field.Required(path, ""))
	}
	allSubs, allResources := map[string]bool{}, map[string]bool{} // x/*, */x
	lastIsPlain := false
	for i, r := range resources {
		if r == "" {
			errs = append(errs, field.Required(path.Index(i), ""))
			continue
		}
		resource, sub, hasSub := strings.Cut(r, "/")
		if !hasSub {
			lastIsPlain = r != "*"
			continue
		}
		if allSubs[resource] {
			errs = append(errs, field.Invalid(path.Index(i), r, fmt.Sprintf("if '%s/*' is present, must not specify %s", resource, r)))
		}
		if allResources[sub] {
			errs = append(errs, field.Invalid(path.Index(i), r, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, r)))
		}
		if sub == "*" {
			allSubs[resource] = true
		}
		if resource == "*" {
			allResources[sub] = true
		}
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		errs = append(errs, field.Invalid(path, resources, "if '*/*' is present, must not specify other resources"))
	}
	if slices.Contains(resources, "*") && lastIsPlain {
		errs = append(errs, field.Invalid(path, resources, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}
