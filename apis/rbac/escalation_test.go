package rbac

import (
	"context"
	"errors"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// static resolves users' rules from a table.
type static map[string][]rbacv1.PolicyRule

func (s static) RulesFor(_ context.Context, u user.Info, _ string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	var out []authorizer.ResourceRuleInfo
	for _, r := range s[u.GetName()] {
		out = append(out, &authorizer.DefaultResourceRuleInfo{Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames})
	}
	return out, nil, false, nil
}

func get0() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}
}

func TestEscalation(t *testing.T) {
	resolver := static{"ann": {get0()}}
	roles := func(_ context.Context, ref rbacv1.RoleRef, _ string) ([]rbacv1.PolicyRule, error) {
		switch ref.Name {
		case "reader":
			return []rbacv1.PolicyRule{get0()}, nil
		case "nodes":
			return []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"nodes"}}}, nil
		}
		return nil, errors.New("not found")
	}
	deny := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionNoOpinion, "", nil
	})
	allow := func(verb string) authorizer.Authorizer {
		return authorizer.AuthorizerFunc(func(_ context.Context, at authorizer.Attributes) (authorizer.Decision, string, error) {
			if at.GetVerb() == verb && at.GetAPIGroup() == rbacv1.GroupName {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", errors.New("not this")
		})
	}
	get := get0()
	more := rbacv1.PolicyRule{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"pods"}}
	ctx := func(name string, groups ...string) context.Context {
		return request.WithUser(context.Background(), &user.DefaultInfo{Name: name, Groups: groups})
	}
	tests := []struct {
		name string
		ctx  context.Context
		auth authorizer.Authorizer
		f    func(escalation, context.Context) error
		want string
	}{
		{"what one has", ctx("ann"), deny, func(e escalation, c context.Context) error {
			return e.checkRole(c, "roles", "ns", "r", []rbacv1.PolicyRule{get})
		}, ""},
		{"more than one has", ctx("ann"), deny, func(e escalation, c context.Context) error {
			return e.checkRole(c, "roles", "ns", "r", []rbacv1.PolicyRule{more})
		}, "user \"ann\" (groups=[]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}"},
		{"may escalate", ctx("ann"), allow("escalate"), func(e escalation, c context.Context) error {
			return e.checkRole(c, "roles", "ns", "r", []rbacv1.PolicyRule{more})
		}, ""},
		{"master", ctx("root", "system:masters"), deny, func(e escalation, c context.Context) error {
			return e.checkRole(c, "clusterroles", "", "r", []rbacv1.PolicyRule{more})
		}, ""},
		{"bind to what one has", ctx("ann"), deny, func(e escalation, c context.Context) error {
			return e.checkBinding(c, rbacv1.RoleRef{Kind: "Role", Name: "reader"}, "ns")
		}, ""},
		{"bind to more", ctx("ann"), deny, func(e escalation, c context.Context) error {
			return e.checkBinding(c, rbacv1.RoleRef{Kind: "ClusterRole", Name: "nodes"}, "")
		}, "user \"ann\" (groups=[]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"list\"]}"},
		{"may bind", ctx("ann"), allow("bind"), func(e escalation, c context.Context) error {
			return e.checkBinding(c, rbacv1.RoleRef{Kind: "ClusterRole", Name: "nodes"}, "")
		}, ""},
		{"bind to nothing", ctx("ann"), deny, func(e escalation, c context.Context) error {
			return e.checkBinding(c, rbacv1.RoleRef{Kind: "ClusterRole", Name: "gone"}, "")
		}, "not found"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			err := tc.f(escalation{authorizer: tc.auth, resolver: resolver, roleRules: roles}, tc.ctx)
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got %q", got)
			}
		})
	}
}
