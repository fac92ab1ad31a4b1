package admissionregistration

import (
	"context"
	"slices"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

type validatingBinding = *registrationv1.ValidatingAdmissionPolicyBinding

// ValidatingAdmissionPolicyBinding puts a policy into force, with parameters.
func ValidatingAdmissionPolicyBinding() *kind.Kind[validatingBinding] {
	return &kind.Kind[validatingBinding]{
		GVK:                       registrationv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"),
		Resource:                  "validatingadmissionpolicybindings",
		Categories:                []string{"api-extensions"},
		ClusterScoped:             true,
		RefuseUnconditionalUpdate: true,
		New:                       func() validatingBinding { return &registrationv1.ValidatingAdmissionPolicyBinding{} },
		NewList:                   func() runtime.Object { return &registrationv1.ValidatingAdmissionPolicyBindingList{} },
		Default:                   func(b validatingBinding) { defaultMatch(b.Spec.MatchResources) },
		Spec:                      func(b validatingBinding) any { return &b.Spec },
		Validate: func(_ context.Context, b validatingBinding) field.ErrorList {
			return append(validateValidatingBinding(&b.Spec, field.NewPath("spec")), refuseStaticName(b.Name)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, b, _ validatingBinding) field.ErrorList {
			return validateValidatingBinding(&b.Spec, field.NewPath("spec"))
		},
		Warnings: func(_ context.Context, b, old validatingBinding) []string { return warnStaticName(b.Name, old == nil) },
		Columns: []kind.Column[validatingBinding]{
			kind.NameColumn[validatingBinding](),
			{Name: "PolicyName", Type: "string", Description: "PolicyName indicates the policy definition which the policy binding binded to",
				Value: func(b validatingBinding) any { return b.Spec.PolicyName }},
			{Name: "ParamRef", Type: "string", Description: "ParamRef indicates the param resource which sets the configuration param",
				Value: func(b validatingBinding) any { return paramRefCell(b.Spec.ParamRef) }},
			kind.AgeColumn[validatingBinding](),
		},
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			allowed := newParams(d, "validatingadmissionpolicies")
			asking(r, field.NewPath("spec", "paramRef"), func(ctx context.Context, b, old validatingBinding) error {
				if old != nil && sameRef(b.Spec.ParamRef, old.Spec.ParamRef) && b.Spec.PolicyName == old.Spec.PolicyName {
					return nil
				}
				return allowed.checkRef(ctx, b.Spec.PolicyName, b.Spec.ParamRef)
			})
			return nil, nil, nil
		},
	}
}

// sameRef says whether a binding refers to what it did.
func sameRef(now, old *registrationv1.ParamRef) bool {
	return now != nil && old != nil && equality.Semantic.DeepEqual(now, old)
}

func validateValidatingBinding(s *registrationv1.ValidatingAdmissionPolicyBindingSpec, path *field.Path) (errs field.ErrorList) {
	errs = append(errs, validatePolicyName(s.PolicyName, path.Child("policyName"))...)
	errs = append(errs, validateParamRef(s.ParamRef, path.Child("paramRef"))...)
	errs = append(errs, validateMatch(s.MatchResources, path.Child("matchResources"))...)
	all := []registrationv1.ValidationAction{registrationv1.Audit, registrationv1.Deny, registrationv1.Warn}
	at, seen := path.Child("validationActions"), map[registrationv1.ValidationAction]bool{}
	for i, a := range s.ValidationActions {
		if !slices.Contains(all, a) {
			errs = append(errs, field.NotSupported(at.Index(i), a, all))
		}
		if seen[a] {
			errs = append(errs, field.Duplicate(at.Index(i), a))
		}
		seen[a] = true
	}
	if seen[registrationv1.Deny] && seen[registrationv1.Warn] {
		errs = append(errs, field.Invalid(at, s.ValidationActions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	if len(seen) == 0 {
		errs = append(errs, field.Required(at, "at least one validation action is required"))
	}
	return errs
}
