package rbac

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/component-helpers/auth/rbac/validation"

	"proa/apis/kind"
)

// escalation decides whether a user may write roles and bindings: one may grant
// only what one holds, unless allowed to "escalate" roles or "bind" to them.
type escalation struct {
	authorizer authorizer.UnconditionalAuthorizer
	resolver   authorizer.RuleResolver
	// roleRules are the rules of the role a binding in the namespace refers to.
	roleRules func(ctx context.Context, ref rbacv1.RoleRef, bindingNamespace string) ([]rbacv1.PolicyRule, error)
}

func newEscalation(d *kind.Deps) escalation {
	return escalation{authorizer: d.Authorizer, resolver: d.RuleResolver, roleRules: func(ctx context.Context, ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
		resource := map[string]string{"Role": "roles", "ClusterRole": "clusterroles"}[ref.Kind]
		if resource == "" {
			return nil, fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
		}
		store := d.StoreOf(rbacv1.Resource(resource))
		if store == nil {
			return nil, fmt.Errorf("%s are not served", resource)
		}
		o, err := store.Get(request.WithNamespace(ctx, namespace), ref.Name, &metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		switch r := o.(type) {
		case *rbacv1.Role:
			return r.Rules, nil
		case *rbacv1.ClusterRole:
			return r.Rules, nil
		}
		return nil, fmt.Errorf("storage of %s holds a %T", resource, o)
	}}
}

// checkRole returns an error if the user of ctx may not write a role with these
// rules; resource is "roles" or "clusterroles".
func (e escalation) checkRole(ctx context.Context, resource, namespace, name string, rules []rbacv1.PolicyRule) error {
	if resource == "roles" {
		namespace = namespaceOf(ctx, namespace)
	}
	if master(ctx) || e.may(ctx, "escalate", resource, namespace, name) {
		return nil
	}
	return e.holds(ctx, namespace, rules)
}

// checkBinding returns an error if the user of ctx may not bind to the role in
// the namespace (empty for a ClusterRoleBinding).
func (e escalation) checkBinding(ctx context.Context, ref rbacv1.RoleRef, namespace string) error {
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
	rules, err := e.roleRules(ctx, ref, namespace)
	if err != nil {
		return err
	}
	return e.holds(ctx, namespace, rules)
}

// policyRules are all rules that hold for a user in a namespace. With an error,
// those returned hold nevertheless.
func (e escalation) policyRules(ctx context.Context, u user.Info, namespace string) ([]rbacv1.PolicyRule, error) {
	resources, urls, _, err := e.resolver.RulesFor(ctx, u, namespace)
	rules := make([]rbacv1.PolicyRule, 0, len(resources)+len(urls))
	for _, r := range resources {
		rules = append(rules, rbacv1.PolicyRule{Verbs: r.GetVerbs(), APIGroups: r.GetAPIGroups(), Resources: r.GetResources(), ResourceNames: r.GetResourceNames()})
	}
	for _, r := range urls {
		rules = append(rules, rbacv1.PolicyRule{Verbs: r.GetVerbs(), NonResourceURLs: r.GetNonResourceURLs()})
	}
	return rules, err
}

func master(ctx context.Context) bool {
	u, ok := request.UserFrom(ctx)
	return ok && slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup)
}

func (e escalation) may(ctx context.Context, verb, resource, namespace, name string) bool {
	u, ok := request.UserFrom(ctx)
	if !ok || e.authorizer == nil {
		return false
	}
	decision, _, _ := e.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: u, Verb: verb, APIGroup: rbacv1.GroupName, APIVersion: "*",
		Resource: resource, Namespace: namespace, Name: name, ResourceRequest: true,
	})
	return decision == authorizer.DecisionAllow
}

// holds returns an error, worded as upstream's, that lists what the user lacks.
func (e escalation) holds(ctx context.Context, namespace string, rules []rbacv1.PolicyRule) error {
	u, ok := request.UserFrom(ctx)
	if !ok {
		return errors.New("no user on context")
	}
	have, resolveErr := e.policyRules(ctx, u, namespace)
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
