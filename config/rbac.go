package config

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
)

// rbacWork returns the steps that bring roles and bindings up to date. What is
// there is listed once; comparing it needs no further request, so that a restart
// costs four lists and no write.
func rbacWork(ctx context.Context, client kubernetes.Interface, o *Objects) ([]func() error, error) {
	rbac := client.RbacV1()
	first := metav1.ListOptions{ResourceVersion: "0"}
	clusterRoles, err := rbac.ClusterRoles().List(ctx, first)
	if err != nil {
		return nil, wrap("list", "cluster roles", err)
	}
	clusterRoleBindings, err := rbac.ClusterRoleBindings().List(ctx, first)
	if err != nil {
		return nil, wrap("list", "cluster role bindings", err)
	}
	roles, err := rbac.Roles("").List(ctx, first)
	if err != nil {
		return nil, wrap("list", "roles", err)
	}
	roleBindings, err := rbac.RoleBindings("").List(ctx, first)
	if err != nil {
		return nil, wrap("list", "role bindings", err)
	}

	type owner = reconciliation.RuleOwner
	type binding = reconciliation.RoleBinding
	haveRoles, haveBindings := map[string]owner{}, map[string]binding{}
	for i := range clusterRoles.Items {
		haveRoles["/"+clusterRoles.Items[i].Name] = reconciliation.ClusterRoleRuleOwner{ClusterRole: &clusterRoles.Items[i]}
	}
	for i := range roles.Items {
		haveRoles[roles.Items[i].Namespace+"/"+roles.Items[i].Name] = reconciliation.RoleRuleOwner{Role: &roles.Items[i]}
	}
	for i := range clusterRoleBindings.Items {
		haveBindings["/"+clusterRoleBindings.Items[i].Name] = reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &clusterRoleBindings.Items[i]}
	}
	for i := range roleBindings.Items {
		haveBindings[roleBindings.Items[i].Namespace+"/"+roleBindings.Items[i].Name] = reconciliation.RoleBindingAdapter{RoleBinding: &roleBindings.Items[i]}
	}

	var todo []func() error
	role := func(want owner, writer reconciliation.RuleOwnerModifier) {
		have := haveRoles[want.GetNamespace()+"/"+want.GetName()]
		todo = append(todo, func() error {
			_, err := (&reconciliation.ReconcileRoleOptions{Role: want, Client: &knownRoles{writer, have}, Confirm: true}).Run()
			return wrap("role", want.GetName(), err)
		})
	}
	bind := func(want binding, writer reconciliation.RoleBindingModifier) {
		have := haveBindings[want.GetNamespace()+"/"+want.GetName()]
		todo = append(todo, func() error {
			_, err := (&reconciliation.ReconcileRoleBindingOptions{RoleBinding: want, Client: &knownBindings{writer, have}, Confirm: true}).Run()
			return wrap("role binding", want.GetName(), err)
		})
	}
	for _, r := range o.ClusterRoles {
		role(reconciliation.ClusterRoleRuleOwner{ClusterRole: r.DeepCopy()}, reconciliation.ClusterRoleModifier{Client: rbac.ClusterRoles()})
	}
	for _, b := range o.ClusterRoleBindings {
		bind(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: b.DeepCopy()}, reconciliation.ClusterRoleBindingClientAdapter{Client: rbac.ClusterRoleBindings()})
	}
	for _, r := range o.Roles {
		role(reconciliation.RoleRuleOwner{Role: r.DeepCopy()}, reconciliation.RoleModifier{Client: rbac, NamespaceClient: client.CoreV1().Namespaces()})
	}
	for _, b := range o.RoleBindings {
		bind(reconciliation.RoleBindingAdapter{RoleBinding: b.DeepCopy()}, reconciliation.RoleBindingClientAdapter{Client: rbac, NamespaceClient: client.CoreV1().Namespaces()})
	}
	return todo, nil
}

// knownRoles answers the first Get from what was listed.
type knownRoles struct {
	reconciliation.RuleOwnerModifier
	have reconciliation.RuleOwner
}

// Get implements reconciliation.RuleOwnerModifier.
func (k *knownRoles) Get(_, name string) (reconciliation.RuleOwner, error) {
	if k.have == nil {
		return nil, apierrors.NewNotFound(rbacv1.Resource("roles"), name)
	}
	return k.have, nil
}

// Create implements reconciliation.RuleOwnerModifier; one that came meanwhile is left to the next start.
func (k *knownRoles) Create(o reconciliation.RuleOwner) (reconciliation.RuleOwner, error) {
	out, err := k.RuleOwnerModifier.Create(o)
	if apierrors.IsAlreadyExists(err) {
		return o, nil
	}
	return out, err
}

// knownBindings is knownRoles for bindings.
type knownBindings struct {
	reconciliation.RoleBindingModifier
	have reconciliation.RoleBinding
}

// Get implements reconciliation.RoleBindingModifier.
func (k *knownBindings) Get(_, name string) (reconciliation.RoleBinding, error) {
	if k.have == nil {
		return nil, apierrors.NewNotFound(rbacv1.Resource("rolebindings"), name)
	}
	return k.have, nil
}

// Delete implements reconciliation.RoleBindingModifier: a binding to another role is replaced.
func (k *knownBindings) Delete(namespace, name string, uid types.UID) error {
	k.have = nil
	return k.RoleBindingModifier.Delete(namespace, name, uid)
}

// Create implements reconciliation.RoleBindingModifier; see knownRoles.Create.
func (k *knownBindings) Create(o reconciliation.RoleBinding) (reconciliation.RoleBinding, error) {
	out, err := k.RoleBindingModifier.Create(o)
	if apierrors.IsAlreadyExists(err) {
		return o, nil
	}
	return out, err
}
