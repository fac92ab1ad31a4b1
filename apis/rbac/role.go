package rbac

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// role is rbac.authorization.k8s.io/v1 Role: rules within a namespace.
func role() *kind.Kind[*rbacv1.Role] {
	return &kind.Kind[*rbacv1.Role]{
		GVK:                 rbacv1.SchemeGroupVersion.WithKind("Role"),
		Resource:            "roles",
		New:                 func() *rbacv1.Role { return &rbacv1.Role{} },
		NewList:             func() runtime.Object { return &rbacv1.RoleList{} },
		AllowCreateOnUpdate: true,
		ValidateName:        validateName,
		Validate: func(_ context.Context, r *rbacv1.Role) field.ErrorList {
			return validateRules(r.Rules, true)
		},
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			e := newEscalation(d)
			return &guarded[*rbacv1.Role]{r, func(ctx context.Context, o, _ *rbacv1.Role) error {
				return e.checkRole(ctx, "roles", o.Namespace, o.Name, o.Rules)
			}}, nil, nil
		},
	}
}
