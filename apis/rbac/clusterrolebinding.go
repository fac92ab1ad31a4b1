package rbac

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// clusterRoleBinding is rbac.authorization.k8s.io/v1 ClusterRoleBinding: a
// cluster role given to subjects everywhere.
func clusterRoleBinding() *kind.Kind[*rbacv1.ClusterRoleBinding] {
	return &kind.Kind[*rbacv1.ClusterRoleBinding]{
		GVK:                 rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"),
		Resource:            "clusterrolebindings",
		ClusterScoped:       true,
		New:                 func() *rbacv1.ClusterRoleBinding { return &rbacv1.ClusterRoleBinding{} },
		NewList:             func() runtime.Object { return &rbacv1.ClusterRoleBindingList{} },
		AllowCreateOnUpdate: true,
		ValidateName:        validateName,
		Default: func(b *rbacv1.ClusterRoleBinding) {
			defaultBinding(&b.RoleRef, b.Subjects)
		},
		Validate: func(_ context.Context, b *rbacv1.ClusterRoleBinding) field.ErrorList {
			return validateBinding(b.RoleRef, b.Subjects, false)
		},
		ValidateUpdate: func(_ context.Context, b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
			return validateSameRef(b.RoleRef, old.RoleRef)
		},
		Columns: bindingColumns("clusterRoleBinding", rbacv1.ClusterRoleBinding{}.SwaggerDoc()["roleRef"],
			func(b *rbacv1.ClusterRoleBinding) (rbacv1.RoleRef, []rbacv1.Subject) { return b.RoleRef, b.Subjects }),
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			e := newEscalation(d)
			return &guarded[*rbacv1.ClusterRoleBinding]{r, func(ctx context.Context, o, _ *rbacv1.ClusterRoleBinding) error {
				return e.checkBinding(ctx, o.RoleRef, "")
			}}, nil, nil
		},
	}
}
