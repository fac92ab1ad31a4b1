package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// Escalation decides whether a user may write roles and bindings: one may grant
// only what one holds, unless allowed to "escalate" roles or "bind" to them.
type Escalation struct {
	Rules      PolicyRuler
	Authorizer authorizer.UnconditionalAuthorizer
}

// PolicyRuler tells what a user may do and what a role gives; RBAC is one.
type PolicyRuler interface {
	PolicyRules(u user.Info, namespace string) ([]rbacv1.PolicyRule, error)
	RoleRules(ref rbacv1.RoleRef, bindingNamespace string) ([]rbacv1.PolicyRule, error)
}

// CheckRole returns an error if the user of ctx may not write a role with these
// rules; resource is "roles" or "clusterroles".
func (e Escalation) CheckRole(ctx context.Context, resource, namespace, name string, rules []rbacv1.PolicyRule) error {
	if master(ctx) || e.may(ctx, "escalate", resource, namespace, name) {
		return nil
	}
	return e.holds(ctx, namespace, rules)
}

// CheckBinding returns an error if the user of ctx may not bind to the role in
// the namespace (empty for a ClusterRoleBinding).
func (e Escalation) CheckBinding(ctx context.Context, ref rbacv1.RoleRef, namespace string) error {
	if master(ctx) {
		return nil
	}
	switch ref.Kind {
	case "ClusterRole":
		if e.may(ctx, "bind", "clusterroles", namespace, ref.Name) {
			return nil
		}
	case "Role":
		if e.may(ctx, "bind", "roles", namespace, ref.Name) {
			return nil
		}
	}
	rules, err := e.Rules.RoleRules(ref, namespace)
	if err != nil {
		return err
	}
	return e.holds(ctx, namespace, rules)
}

func master(ctx context.Context) bool {
	u, ok := request.UserFrom(ctx)
	return ok && slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup)
}

func (e Escalation) may(ctx context.Context, verb, resource, namespace, name string) bool {
	u, ok := request.UserFrom(ctx)
	if !ok || e.Authorizer == nil {
		return false
	}
	decision, _, _ := e.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: u, Verb: verb, APIGroup: rbacv1.GroupName, APIVersion: "*",
		Resource: resource, Namespace: namespace, Name: name, ResourceRequest: true,
	})
	return decision == authorizer.DecisionAllow
}

// holds returns an error, worded as upstream's, that lists what the user lacks.
func (e Escalation) holds(ctx context.Context, namespace string, rules []rbacv1.PolicyRule) error {
	u, ok := request.UserFrom(ctx)
	if !ok {
		return errors.New("no user on context")
	}
	have, resolveErr := e.Rules.PolicyRules(u, namespace)
	covered, missing := validation.Covers(have, rules)
	if covered {
		return nil
	}
	var lines []string
	for _, m := range compact(missing) {
		lines = append(lines, ruleString(m))
	}
	slices.Sort(lines)
	msg := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		u.GetName(), u.GetGroups(), strings.Join(slices.Compact(lines), "\n"))
	if resolveErr != nil {
		msg += fmt.Sprintf("; resolution errors: %v", []error{resolveErr})
	}
	return errors.New(msg)
}

// compact joins rules that differ in their verbs only; missing ones come one verb each.
func compact(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	type simple struct {
		group, resource, name string
		named                 bool
	}
	var out []rbacv1.PolicyRule
	at := map[simple]int{}
	for _, r := range rules {
		if len(r.APIGroups) != 1 || len(r.Resources) != 1 || len(r.ResourceNames) > 1 || len(r.NonResourceURLs) > 0 {
			out = append(out, r)
			continue
		}
		k := simple{group: r.APIGroups[0], resource: r.Resources[0]}
		if len(r.ResourceNames) == 1 {
			k.named, k.name = true, r.ResourceNames[0]
		}
		if i, ok := at[k]; ok {
			out[i].Verbs = append(out[i].Verbs, r.Verbs...)
			continue
		}
		at[k] = len(out)
		out = append(out, *r.DeepCopy())
	}
	return out
}

func ruleString(r rbacv1.PolicyRule) string {
	var parts []string
	for _, p := range []struct {
		name   string
		values []string
	}{
		{"APIGroups", r.APIGroups}, {"Resources", r.Resources}, {"NonResourceURLs", r.NonResourceURLs},
		{"ResourceNames", r.ResourceNames}, {"Verbs", r.Verbs},
	} {
		if len(p.values) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", p.name, p.values))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
