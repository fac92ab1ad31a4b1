package admissionregistration

import (
	"context"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

type validatingPolicy = *registrationv1.ValidatingAdmissionPolicy

// ValidatingAdmissionPolicy refuses requests by CEL expressions.
func ValidatingAdmissionPolicy() *kind.Kind[validatingPolicy] {
	compilers := newCompilers()
	return &kind.Kind[validatingPolicy]{
		GVK:                       registrationv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy"),
		Resource:                  "validatingadmissionpolicies",
		Categories:                []string{"api-extensions"},
		ClusterScoped:             true,
		RefuseUnconditionalUpdate: true,
		New:                       func() validatingPolicy { return &registrationv1.ValidatingAdmissionPolicy{} },
		NewList:                   func() runtime.Object { return &registrationv1.ValidatingAdmissionPolicyList{} },
		Default: func(p validatingPolicy) {
			setDefault(&p.Spec.FailurePolicy, registrationv1.Fail)
			defaultMatch(p.Spec.MatchConstraints)
		},
		PrepareForCreate: func(_ context.Context, p validatingPolicy) {
			p.Status = registrationv1.ValidatingAdmissionPolicyStatus{}
		},
		PrepareForUpdate: func(_ context.Context, p, old validatingPolicy) { p.Status = old.Status },
		Spec:             func(p validatingPolicy) any { return &p.Spec },
		Validate: func(_ context.Context, p validatingPolicy) field.ErrorList {
			return append(validateValidatingPolicy(p, nil, compilers), refuseStaticName(p.Name)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, p, old validatingPolicy) field.ErrorList {
			return validateValidatingPolicy(p, old, compilers)
		},
		Warnings: func(_ context.Context, p, old validatingPolicy) []string { return warnStaticName(p.Name, old == nil) },
		Status: &kind.Status[validatingPolicy]{
			ResetFields: []string{"spec", "metadata"},
			Prepare: func(_ context.Context, p, old validatingPolicy) {
				p.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&p.ObjectMeta, &old.ObjectMeta)
			},
			Validate: func(_ context.Context, p, _ validatingPolicy) field.ErrorList {
				errs := validateTypeChecking(p.Status.TypeChecking, field.NewPath("status", "typeChecking"))
				return append(errs, metav1validation.ValidateConditions(p.Status.Conditions, field.NewPath("status", "conditions"))...)
			},
		},
		Columns: []kind.Column[validatingPolicy]{
			kind.NameColumn[validatingPolicy](),
			{Name: "Validations", Type: "integer", Description: "Validations indicates the number of validation rules defined in this configuration",
				Value: func(p validatingPolicy) any { return int64(len(p.Spec.Validations)) }},
			{Name: "ParamKind", Type: "string", Description: "ParamKind specifies the kind of resources used to parameterize this policy",
				Value: func(p validatingPolicy) any { return paramKindCell(p.Spec.ParamKind) }},
			kind.AgeColumn[validatingPolicy](),
		},
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			allowed := newParams(d, "validatingadmissionpolicies")
			asking(r, field.NewPath("spec", "paramKind"), func(ctx context.Context, p, old validatingPolicy) error {
				var was *registrationv1.ParamKind
				if old != nil {
					was = old.Spec.ParamKind
				}
				return allowed.checkKind(ctx, p.Spec.ParamKind, was)
			})
			return nil, nil, nil
		},
	}
}

// sameConditions says whether match conditions need no new look.
func sameConditions(now, old []registrationv1.MatchCondition, kind, oldKind *registrationv1.ParamKind) bool {
	return equality.Semantic.DeepEqual(now, old) && equality.Semantic.DeepEqual(kind, oldKind)
}
