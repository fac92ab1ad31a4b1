package rbac

import (
	"context"
	"errors"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// clusterRole is rbac.authorization.k8s.io/v1 ClusterRole: rules for the whole
// cluster, or for a namespace where a RoleBinding refers to it.
func clusterRole() *kind.Kind[*rbacv1.ClusterRole] {
	return &kind.Kind[*rbacv1.ClusterRole]{
		GVK:                  rbacv1.SchemeGroupVersion.WithKind("ClusterRole"),
		Resource:             "clusterroles",
		ClusterScoped:        true,
		New:                  func() *rbacv1.ClusterRole { return &rbacv1.ClusterRole{} },
		NewList:              func() runtime.Object { return &rbacv1.ClusterRoleList{} },
		AllowCreateOnUpdate:  true,
		ValidateName:         validateName,
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		Validate: func(_ context.Context, r *rbacv1.ClusterRole) field.ErrorList {
			return append(validateRules(r.Rules, false), validateAggregation(r, metav1validation.LabelSelectorValidationOptions{})...)
		},
		ValidateUpdate: func(_ context.Context, r, old *rbacv1.ClusterRole) field.ErrorList {
			// A selector that was stored before its values were checked stays usable.
			tolerate := len(validateAggregation(old, metav1validation.LabelSelectorValidationOptions{})) > 0
			return append(validateRules(r.Rules, false), validateAggregation(r, metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: tolerate})...)
		},
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			e := newEscalation(d)
			return &guarded[*rbacv1.ClusterRole]{r, func(ctx context.Context, o, old *rbacv1.ClusterRole) error {
				if err := e.checkRole(ctx, "clusterroles", "", o.Name, o.Rules); err != nil {
					return err
				}
				// An aggregation gathers anything: to set it one must hold everything.
				if aggregates(o) || aggregates(old) {
					if e.checkRole(ctx, "clusterroles", "", o.Name, everything()) != nil {
						return errors.New("must have cluster-admin privileges to use the aggregationRule")
					}
				}
				return nil
			}}, nil, nil
		},
	}
}

func aggregates(r *rbacv1.ClusterRole) bool {
	return r != nil && r.AggregationRule != nil && len(r.AggregationRule.ClusterRoleSelectors) > 0
}

func everything() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
		{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
	}
}

func validateAggregation(r *rbacv1.ClusterRole, o metav1validation.LabelSelectorValidationOptions) field.ErrorList {
	if r.AggregationRule == nil {
		return nil
	}
	var errs field.ErrorList
	path := field.NewPath("aggregationRule", "clusterRoleSelectors")
	if len(r.AggregationRule.ClusterRoleSelectors) == 0 {
		errs = append(errs, field.Required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
	}
	for i := range r.AggregationRule.ClusterRoleSelectors {
		s := &r.AggregationRule.ClusterRoleSelectors[i]
		errs = append(errs, metav1validation.ValidateLabelSelector(s, o, path.Index(i))...)
		if selector, err := metav1.LabelSelectorAsSelector(s); err != nil {
			errs = append(errs, field.Invalid(path.Index(i), selector, "invalid label selector."))
		}
	}
	return errs
}
