package authz

import (
	"context"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func TestRuleAllows(t *testing.T) {
	rule := func(verbs, groups, resources, names, urls string) rbacv1.PolicyRule {
		split := func(s string) []string {
			if s == "-" {
				return nil
			}
			return strings.Split(s, ",")
		}
		return rbacv1.PolicyRule{Verbs: split(verbs), APIGroups: split(groups), Resources: split(resources), ResourceNames: split(names), NonResourceURLs: split(urls)}
	}
	res := func(verb, group, resource, sub, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Name: name, ResourceRequest: true}
	}
	url := func(verb, path string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{Verb: verb, Path: path}
	}
	tests := []struct {
		name string
		rule rbacv1.PolicyRule
		attr authorizer.AttributesRecord
		want bool
	}{
		{"exact", rule("get", "", "pods", "-", "-"), res("get", "", "pods", "", "a"), true},
		{"other verb", rule("get", "", "pods", "-", "-"), res("list", "", "pods", "", ""), false},
		{"other group", rule("get", "apps", "pods", "-", "-"), res("get", "", "pods", "", ""), false},
		{"all stars", rule("*", "*", "*", "-", "-"), res("get", "x", "y", "z", "a"), true},
		{"resource does not give subresource", rule("get", "", "pods", "-", "-"), res("get", "", "pods", "log", ""), false},
		{"subresource", rule("get", "", "pods/log", "-", "-"), res("get", "", "pods", "log", ""), true},
		{"subresource does not give resource", rule("get", "", "pods/log", "-", "-"), res("get", "", "pods", "", ""), false},
		{"any resource's subresource", rule("get", "", "*/scale", "-", "-"), res("get", "", "x", "scale", ""), true},
		{"any resource's other subresource", rule("get", "", "*/scale", "-", "-"), res("get", "", "x", "status", ""), false},
		{"name", rule("get", "", "pods", "a,b", "-"), res("get", "", "pods", "", "b"), true},
		{"other name", rule("get", "", "pods", "a,b", "-"), res("get", "", "pods", "", "c"), false},
		{"list without a name", rule("list", "", "pods", "a", "-"), res("list", "", "pods", "", ""), false},
		{"url", rule("get", "-", "-", "-", "/healthz"), url("get", "/healthz"), true},
		{"url prefix", rule("get", "-", "-", "-", "/apis/*"), url("get", "/apis/x/y"), true},
		{"url prefix is not the path itself", rule("get", "-", "-", "-", "/apis/*"), url("get", "/apis"), false},
		{"every url", rule("*", "-", "-", "-", "*"), url("post", "/x"), true},
		{"url rule for a resource", rule("get", "-", "-", "-", "*"), res("get", "", "pods", "", ""), false},
	}
	for _, tc := range tests {
		if got := RuleAllows(tc.attr, &tc.rule); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func objects() (role *rbacv1.Role, rb *rbacv1.RoleBinding, cr *rbacv1.ClusterRole, crb *rbacv1.ClusterRoleBinding, broken *rbacv1.ClusterRoleBinding) {
	role = &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "reader"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	rb = &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "readers"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "app"}, {Kind: "User", Name: "ann"}}}
	cr = &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "nodes"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"nodes"}}}}
	crb = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "ops"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "nodes"}, Subjects: []rbacv1.Subject{{Kind: "Group", Name: "ops"}}}
	broken = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "broken"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "gone"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "eve"}}}
	return
}

// informed builds the whole chain over a fake API, so the indexes are tested too.
func informed(t *testing.T, nodeRules []rbacv1.PolicyRule) *Authorization {
	t.Helper()
	role, rb, cr, crb, broken := objects()
	f := informers.NewSharedInformerFactory(fake.NewClientset(role, rb, cr, crb, broken), 0)
	ctx, cancel := context.WithCancel(context.Background())
	c, err := FromFlags(Flags{Modes: []string{"Node", "RBAC"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(ctx, Options{Configuration: c, Informers: f, NodeRules: nodeRules})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); f.Shutdown() })
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	return a
}

func TestRBAC(t *testing.T) {
	a := informed(t, nil)
	who := func(name string, groups ...string) user.Info { return &user.DefaultInfo{Name: name, Groups: groups} }
	tests := []struct {
		name                      string
		user                      user.Info
		verb, resource, namespace string
		want                      authorizer.Decision
		reason                    string
	}{
		{"role for a user", who("ann"), "get", "pods", "ns", authorizer.DecisionAllow, `RBAC: allowed by RoleBinding "readers/ns" of Role "reader" to User "ann"`},
		{"role for a service account", who("system:serviceaccount:ns:app"), "get", "pods", "ns", authorizer.DecisionAllow, `RBAC: allowed by RoleBinding "readers/ns" of Role "reader" to ServiceAccount "app/ns"`},
		{"same account of another namespace", who("system:serviceaccount:x:app"), "get", "pods", "ns", authorizer.DecisionNoOpinion, ""},
		{"role ends at its namespace", who("ann"), "get", "pods", "other", authorizer.DecisionNoOpinion, ""},
		{"cluster role for a group", who("bob", "ops"), "list", "nodes", "", authorizer.DecisionAllow, `RBAC: allowed by ClusterRoleBinding "ops" of ClusterRole "nodes" to Group "ops"`},
		{"nobody", who("eve2"), "get", "pods", "ns", authorizer.DecisionNoOpinion, ""},
		{"role that is gone", who("eve"), "get", "pods", "ns", authorizer.DecisionNoOpinion, `rbac: RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found`},
		{"masters", who("root", "system:masters"), "delete", "nodes", "", authorizer.DecisionAllow, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, reason, err := a.Authorize(context.Background(), authorizer.AttributesRecord{User: tc.user, Verb: tc.verb, Resource: tc.resource, Namespace: tc.namespace, ResourceRequest: true})
			if err != nil || got != tc.want || reason != tc.reason {
				t.Errorf("got %s %q %v", got, reason, err)
			}
		})
	}
	resources, _, incomplete, err := a.RulesFor(context.Background(), who("ann", "ops"), "ns")
	if err != nil || incomplete || len(resources) != 2 {
		t.Errorf("rules %v, %v, %v", resources, incomplete, err)
	}
}
