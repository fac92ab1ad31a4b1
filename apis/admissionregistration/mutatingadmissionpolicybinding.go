package admissionregistration

import (
	"context"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

type mutatingBinding = *registrationv1.MutatingAdmissionPolicyBinding

// MutatingAdmissionPolicyBinding puts a mutating policy into force, with parameters.
func MutatingAdmissionPolicyBinding() *kind.Kind[mutatingBinding] {
	return &kind.Kind[mutatingBinding]{
		GVK:                       registrationv1.SchemeGroupVersion.WithKind("MutatingAdmissionPolicyBinding"),
		Resource:                  "mutatingadmissionpolicybindings",
		Categories:                []string{"api-extensions"},
		ClusterScoped:             true,
		RefuseUnconditionalUpdate: true,
		New:                       func() mutatingBinding { return &registrationv1.MutatingAdmissionPolicyBinding{} },
		NewList:                   func() runtime.Object { return &registrationv1.MutatingAdmissionPolicyBindingList{} },
		Default:                   func(b mutatingBinding) { defaultMatch(b.Spec.MatchResources) },
		Spec:                      func(b mutatingBinding) any { return &b.Spec },
		Validate: func(_ context.Context, b mutatingBinding) field.ErrorList {
			return append(validateMutatingBinding(&b.Spec, field.NewPath("spec")), refuseStaticName(b.Name)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, b, _ mutatingBinding) field.ErrorList {
			return validateMutatingBinding(&b.Spec, field.NewPath("spec"))
		},
		Warnings: func(_ context.Context, b, old mutatingBinding) []string { return warnStaticName(b.Name, old == nil) },
		Columns: []kind.Column[mutatingBinding]{
			kind.NameColumn[mutatingBinding](),
			{Name: "PolicyName", Type: "string", Description: "PolicyName indicates the policy definition which the policy binding binded to",
				Value: func(b mutatingBinding) any { return b.Spec.PolicyName }},
			{Name: "ParamRef", Type: "string", Description: "ParamRef indicates the param resource which sets the configuration param",
				Value: func(b mutatingBinding) any { return paramRefCell(b.Spec.ParamRef) }},
			kind.AgeColumn[mutatingBinding](),
		},
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			allowed := newParams(d, "mutatingadmissionpolicies")
			asking(r, field.NewPath("spec", "paramRef"), func(ctx context.Context, b, old mutatingBinding) error {
				if old != nil && sameRef(b.Spec.ParamRef, old.Spec.ParamRef) && b.Spec.PolicyName == old.Spec.PolicyName {
					return nil
				}
				return allowed.checkRef(ctx, b.Spec.PolicyName, b.Spec.ParamRef)
			})
			return nil, nil, nil
		},
	}
}

func validateMutatingBinding(s *registrationv1.MutatingAdmissionPolicyBindingSpec, path *field.Path) (errs field.ErrorList) {
	errs = append(errs, validatePolicyName(s.PolicyName, path.Child("policyName"))...)
	errs = append(errs, validateParamRef(s.ParamRef, path.Child("paramRef"))...)
	errs = append(errs, validateMatch(s.MatchResources, path.Child("matchResources"))...)
	return append(errs, validateMutatingRules(s.MatchResources, path.Child("matchResources"))...)
}
