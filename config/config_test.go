package config

import (
	"context"
	"errors"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
)

func TestLoad(t *testing.T) {
	o, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Namespaces) != 4 || len(o.PriorityClasses) != 2 || len(o.NodeRules()) < 20 {
		t.Errorf("%d namespaces, %d priority classes, %d node rules", len(o.Namespaces), len(o.PriorityClasses), len(o.NodeRules()))
	}
	roles := map[string]bool{}
	for _, r := range o.ClusterRoles {
		roles[r.Name] = true
	}
	for _, name := range []string{"cluster-admin", "admin", "edit", "view", "system:kube-scheduler", "system:controller:deployment-controller"} {
		if !roles[name] {
			t.Errorf("no cluster role %s", name)
		}
	}
	for _, b := range o.ClusterRoleBindings {
		if b.RoleRef.Kind != "ClusterRole" || !roles[b.RoleRef.Name] {
			t.Errorf("cluster role binding %s refers to %s %s, which is none of ours", b.Name, b.RoleRef.Kind, b.RoleRef.Name)
		}
	}
	names := map[string]bool{}
	for _, r := range o.Roles {
		names[r.Namespace+"/"+r.Name] = true
	}
	for _, b := range o.RoleBindings {
		if b.RoleRef.Kind != "Role" || !names[b.Namespace+"/"+b.RoleRef.Name] {
			t.Errorf("role binding %s/%s refers to %s %s, which is none of ours", b.Namespace, b.Name, b.RoleRef.Kind, b.RoleRef.Name)
		}
	}
}

func reconcile(ctx context.Context, client kubernetes.Interface, o *Objects) error {
	return errors.Join(o.RBAC(ctx, client), o.Priorities(ctx, client))
}

func TestReconcile(t *testing.T) {
	ctx := context.Background()
	o, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset()
	if err := reconcile(ctx, client, o); err != nil {
		t.Fatal(err)
	}
	created := writes(client)
	if want := len(o.Namespaces) + len(o.PriorityClasses) + len(o.ClusterRoles) + len(o.ClusterRoleBindings) + len(o.Roles) + len(o.RoleBindings); created < want {
		t.Errorf("%d writes, want at least %d", created, want)
	}
	client.ClearActions()
	if err := reconcile(ctx, client, o); err != nil {
		t.Fatal(err)
	}
	if n := writes(client); n != 0 {
		t.Errorf("the second time wrote %d times", n)
	}

	roles := client.RbacV1().ClusterRoles()
	edit := func(name string, f func(*rbacv1.ClusterRole)) {
		r, err := roles.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		f(r)
		if _, err := roles.Update(ctx, r, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	own := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{"example.com"}, Resources: []string{"things"}}
	edit("system:basic-user", func(r *rbacv1.ClusterRole) { r.Rules = []rbacv1.PolicyRule{own} })
	edit("system:discovery", func(r *rbacv1.ClusterRole) { r.Rules, r.Annotations[autoupdate] = nil, "false" })
	if err := client.RbacV1().ClusterRoleBindings().Delete(ctx, "cluster-admin", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := reconcile(ctx, client, o); err != nil {
		t.Fatal(err)
	}
	basic, err := roles.Get(ctx, "system:basic-user", metav1.GetOptions{})
	if err != nil || len(basic.Rules) < 2 || !slices.ContainsFunc(basic.Rules, func(r rbacv1.PolicyRule) bool { return r.APIGroups[0] == "example.com" }) {
		t.Errorf("lost rules must come back and added ones stay: %+v, %v", basic, err)
	}
	if d, err := roles.Get(ctx, "system:discovery", metav1.GetOptions{}); err != nil || len(d.Rules) != 0 {
		t.Errorf("autoupdate=false must be respected: %+v, %v", d, err)
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Get(ctx, "cluster-admin", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func writes(c *fake.Clientset) int {
	n := 0
	for _, a := range c.Actions() {
		if v := a.GetVerb(); v == "create" || v == "update" || v == "delete" || v == "patch" {
			n++
		}
	}
	return n
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load(); err != nil {
			b.Fatal(err)
		}
	}
}
