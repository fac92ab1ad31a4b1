package authz

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
)

// RBAC authorizes by roles and bindings (rbac.authorization.k8s.io/v1). It only
// ever allows or has no opinion.
type RBAC struct{ source Source }

var (
	_ authorizer.Authorizer   = &RBAC{}
	_ authorizer.RuleResolver = &RBAC{}
)

// NewRBAC authorizes from source.
func NewRBAC(source Source) *RBAC { return &RBAC{source: source} }

// Authorize implements authorizer.Authorizer.
func (r *RBAC) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	reason, allowed := "", false
	var failed []error
	r.visit(a.GetUser(), a.GetNamespace(), func(g grant, err error) bool {
		if err != nil {
			failed = append(failed, err)
			return true
		}
		if RulesAllow(a, g.rules) {
			allowed, reason = true, "RBAC: allowed by "+g.String()
		}
		return !allowed
	})
	if allowed {
		return authorizer.DecisionAllow, reason, nil
	}
	klog.FromContext(ctx).V(5).Info("RBAC: no rules authorize", "user", a.GetUser().GetName(), "groups", a.GetUser().GetGroups(),
		"verb", a.GetVerb(), "group", a.GetAPIGroup(), "resource", a.GetResource(), "subresource", a.GetSubresource(),
		"namespace", a.GetNamespace(), "name", a.GetName(), "path", a.GetPath())
	if len(failed) > 0 {
		reason = fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(failed))
	}
	return authorizer.DecisionNoOpinion, reason, nil
}

// ConditionsAwareAuthorize implements authorizer.Authorizer; RBAC has no conditions.
func (r *RBAC) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(r.Authorize(ctx, a))
}

// EvaluateConditions implements authorizer.Authorizer.
func (*RBAC) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// PolicyRules are all rules that hold for a user in a namespace (empty: cluster
// wide). With an error, those returned hold nevertheless.
func (r *RBAC) PolicyRules(u user.Info, namespace string) ([]rbacv1.PolicyRule, error) {
	var rules []rbacv1.PolicyRule
	var failed []error
	r.visit(u, namespace, func(g grant, err error) bool {
		rules = append(rules, g.rules...)
		if err != nil {
			failed = append(failed, err)
		}
		return true
	})
	return rules, utilerrors.NewAggregate(failed)
}

// RoleRules are the rules of the role a binding in the namespace refers to.
func (r *RBAC) RoleRules(ref rbacv1.RoleRef, bindingNamespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "Role":
		role, err := r.source.Role(bindingNamespace, ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	case "ClusterRole":
		role, err := r.source.ClusterRole(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	}
	return nil, fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
}

// RulesFor implements authorizer.RuleResolver.
func (r *RBAC) RulesFor(_ context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	rules, err := r.PolicyRules(u, namespace)
	var resources []authorizer.ResourceRuleInfo
	var urls []authorizer.NonResourceRuleInfo
	for _, p := range rules {
		if len(p.Resources) > 0 {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{Verbs: p.Verbs, APIGroups: p.APIGroups, Resources: p.Resources, ResourceNames: p.ResourceNames})
		}
		if len(p.NonResourceURLs) > 0 {
			urls = append(urls, &authorizer.DefaultNonResourceRuleInfo{Verbs: p.Verbs, NonResourceURLs: p.NonResourceURLs})
		}
	}
	return resources, urls, false, err
}

// grant is what one binding gives to a user.
type grant struct {
	kind, namespace, name string
	ref                   rbacv1.RoleRef
	subject               rbacv1.Subject
	rules                 []rbacv1.PolicyRule
}

// String tells the source of a grant as upstream does (name before namespace, too).
func (g grant) String() string {
	name, subject := g.name, g.subject.Name
	if g.kind == "RoleBinding" {
		name += "/" + g.namespace
	}
	if g.subject.Kind == rbacv1.ServiceAccountKind {
		namespace := g.subject.Namespace
		if namespace == "" {
			namespace = g.namespace
		}
		subject += "/" + namespace
	}
	return fmt.Sprintf("%s %q of %s %q to %s %q", g.kind, name, g.ref.Kind, g.ref.Name, g.subject.Kind, subject)
}

// visit calls f for every grant to the user, cluster-wide ones first, and for
// every error on the way, until f returns false.
func (r *RBAC) visit(u user.Info, namespace string, f func(grant, error) bool) {
	keys := make([]string, 0, 1+len(u.GetGroups()))
	keys = append(keys, "u:"+u.GetName())
	for _, g := range u.GetGroups() {
		keys = append(keys, "g:"+g)
	}
	give := func(g grant, key string, subjects []rbacv1.Subject) bool {
		for _, s := range subjects {
			if subjectKey(s, g.namespace) == key {
				g.subject = s
				break
			}
		}
		var err error
		if g.rules, err = r.RoleRules(g.ref, g.namespace); err != nil {
			return f(grant{}, err)
		}
		return f(g, nil)
	}
	for _, key := range keys {
		bindings, err := r.source.ClusterRoleBindings(key)
		if err != nil && !f(grant{}, err) {
			return
		}
		for _, b := range bindings {
			if !give(grant{kind: "ClusterRoleBinding", name: b.Name, ref: b.RoleRef}, key, b.Subjects) {
				return
			}
		}
	}
	if namespace == "" {
		return
	}
	for _, key := range keys {
		bindings, err := r.source.RoleBindings(namespace, key)
		if err != nil && !f(grant{}, err) {
			return
		}
		for _, b := range bindings {
			if !give(grant{kind: "RoleBinding", name: b.Name, namespace: namespace, ref: b.RoleRef}, key, b.Subjects) {
				return
			}
		}
	}
}
