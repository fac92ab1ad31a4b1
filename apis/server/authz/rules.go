package authz

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// RuleAllows says whether one rule grants a request.
func RuleAllows(a authorizer.Attributes, r *rbacv1.PolicyRule) bool {
	if !matches(r.Verbs, a.GetVerb(), rbacv1.VerbAll) {
		return false
	}
	if !a.IsResourceRequest() {
		return urlMatches(r.NonResourceURLs, a.GetPath())
	}
	return matches(r.APIGroups, a.GetAPIGroup(), rbacv1.APIGroupAll) &&
		resourceMatches(r.Resources, a.GetResource(), a.GetSubresource()) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.GetName()))
}

// RulesAllow says whether any of the rules grants a request.
func RulesAllow(a authorizer.Attributes, rules []rbacv1.PolicyRule) bool {
	for i := range rules {
		if RuleAllows(a, &rules[i]) {
			return true
		}
	}
	return false
}

func matches(have []string, want, all string) bool {
	for _, h := range have {
		if h == all || h == want {
			return true
		}
	}
	return false
}

// resourceMatches knows "*", "pods", "pods/log" and "*/scale".
func resourceMatches(have []string, resource, subresource string) bool {
	for _, h := range have {
		if h == rbacv1.ResourceAll {
			return true
		}
		if subresource == "" {
			if h == resource {
				return true
			}
			continue
		}
		left, right, ok := strings.Cut(h, "/")
		if ok && right == subresource && (left == resource || left == "*") {
			return true
		}
	}
	return false
}

func urlMatches(have []string, path string) bool {
	for _, h := range have {
		if h == rbacv1.NonResourceAll || h == path {
			return true
		}
		if strings.HasSuffix(h, "*") && strings.HasPrefix(path, strings.TrimRight(h, "*")) {
			return true
		}
	}
	return false
}
