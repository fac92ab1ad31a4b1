package rbac

import (
	"context"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// roleBinding is rbac.authorization.k8s.io/v1 RoleBinding: a role, or a cluster
// role, given to subjects within a namespace.
func roleBinding() *kind.Kind[*rbacv1.RoleBinding] {
	return &kind.Kind[*rbacv1.RoleBinding]{
		GVK:                 rbacv1.SchemeGroupVersion.WithKind("RoleBinding"),
		Resource:            "rolebindings",
		New:                 func() *rbacv1.RoleBinding { return &rbacv1.RoleBinding{} },
		NewList:             func() runtime.Object { return &rbacv1.RoleBindingList{} },
		AllowCreateOnUpdate: true,
		ValidateName:        validateName,
		Default: func(b *rbacv1.RoleBinding) {
			defaultBinding(&b.RoleRef, b.Subjects)
		},
		Validate: func(_ context.Context, b *rbacv1.RoleBinding) field.ErrorList {
			return validateBinding(b.RoleRef, b.Subjects, true)
		},
		ValidateUpdate: func(_ context.Context, b, old *rbacv1.RoleBinding) field.ErrorList {
			return validateSameRef(b.RoleRef, old.RoleRef)
		},
		Columns: bindingColumns("roleBinding", rbacv1.RoleBinding{}.SwaggerDoc()["roleRef"],
			func(b *rbacv1.RoleBinding) (rbacv1.RoleRef, []rbacv1.Subject) { return b.RoleRef, b.Subjects }),
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			e := newEscalation(d)
			return &guarded[*rbacv1.RoleBinding]{r, func(ctx context.Context, o, _ *rbacv1.RoleBinding) error {
				return e.checkBinding(ctx, o.RoleRef, namespaceOf(ctx, o.Namespace))
			}}, nil, nil
		},
	}
}

// bindingColumns are those of both kinds of binding; the wide ones list the subjects.
func bindingColumns[T kind.Object](name, refDoc string, get func(T) (rbacv1.RoleRef, []rbacv1.Subject)) []kind.Column[T] {
	of := func(k string) func(T) any {
		return func(o T) any {
			_, subjects := get(o)
			var out []string
			for _, s := range subjects {
				if s.Kind != k {
					continue
				}
				if k == rbacv1.ServiceAccountKind && s.Namespace != "" {
					out = append(out, s.Namespace+"/"+s.Name)
				} else if k == rbacv1.ServiceAccountKind {
					out = append(out, "/"+s.Name)
				} else {
					out = append(out, s.Name)
				}
			}
			return strings.Join(out, ", ")
		}
	}
	return []kind.Column[T]{
		kind.NameColumn[T](),
		{Name: "Role", Description: refDoc, Value: func(o T) any {
			ref, _ := get(o)
			return ref.Kind + "/" + ref.Name
		}},
		kind.AgeColumn[T](),
		{Name: "Users", Priority: 1, Description: "Users in the " + name, Value: of(rbacv1.UserKind)},
		{Name: "Groups", Priority: 1, Description: "Groups in the " + name, Value: of(rbacv1.GroupKind)},
		{Name: "ServiceAccounts", Priority: 1, Description: "ServiceAccounts in the " + name, Value: of(rbacv1.ServiceAccountKind)},
	}
}
