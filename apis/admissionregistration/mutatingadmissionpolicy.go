package admissionregistration

import (
	"context"
	"slices"
	"strings"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

type mutatingPolicy = *registrationv1.MutatingAdmissionPolicy

// MutatingAdmissionPolicy changes objects on their way in by CEL expressions.
func MutatingAdmissionPolicy() *kind.Kind[mutatingPolicy] {
	compilers := newCompilers()
	return &kind.Kind[mutatingPolicy]{
		GVK:                       registrationv1.SchemeGroupVersion.WithKind("MutatingAdmissionPolicy"),
		Resource:                  "mutatingadmissionpolicies",
		Categories:                []string{"api-extensions"},
		ClusterScoped:             true,
		RefuseUnconditionalUpdate: true,
		New:                       func() mutatingPolicy { return &registrationv1.MutatingAdmissionPolicy{} },
		NewList:                   func() runtime.Object { return &registrationv1.MutatingAdmissionPolicyList{} },
		Default: func(p mutatingPolicy) {
			setDefault(&p.Spec.FailurePolicy, registrationv1.Fail)
			defaultMatch(p.Spec.MatchConstraints)
		},
		Spec: func(p mutatingPolicy) any { return &p.Spec },
		Validate: func(_ context.Context, p mutatingPolicy) field.ErrorList {
			return append(validateMutatingPolicy(p, nil, compilers), refuseStaticName(p.Name)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, p, old mutatingPolicy) field.ErrorList {
			return validateMutatingPolicy(p, old, compilers)
		},
		Warnings: func(_ context.Context, p, old mutatingPolicy) []string { return warnStaticName(p.Name, old == nil) },
		Columns: []kind.Column[mutatingPolicy]{
			kind.NameColumn[mutatingPolicy](),
			{Name: "Mutations", Type: "integer", Description: "Mutation indicates the number of mutations rules defined in this configuration",
				Value: func(p mutatingPolicy) any { return int64(len(p.Spec.Mutations)) }},
			{Name: "ParamKind", Type: "string", Description: "ParamKind specifies the kind of resources used to parameterize this policy",
				Value: func(p mutatingPolicy) any { return paramKindCell(p.Spec.ParamKind) }},
			kind.AgeColumn[mutatingPolicy](),
		},
		Extend: func(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			allowed := newParams(d, "mutatingadmissionpolicies")
			asking(r, field.NewPath("spec", "paramKind"), func(ctx context.Context, p, old mutatingPolicy) error {
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

// validateMutatingRules refuses operations that have no object to change.
func validateMutatingRules(m *registrationv1.MatchResources, path *field.Path) (errs field.ErrorList) {
	if m == nil {
		return nil
	}
	allowed := []registrationv1.OperationType{registrationv1.OperationAll, registrationv1.Connect, registrationv1.Create, registrationv1.Update}
	for _, r := range m.ResourceRules {
		for _, o := range r.Operations {
			if !slices.Contains(allowed, o) {
				errs = append(errs, field.NotSupported(path.Child("resourceRules", "operations"), o, allowed))
			}
		}
	}
	return errs
}

func validateMutatingPolicy(p, old mutatingPolicy, compilers compilers) (errs field.ErrorList) {
	s, path := &p.Spec, field.NewPath("spec")
	e := expressions{compile: compilers.plain, stored: stored{}, params: s.ParamKind != nil}
	if old != nil {
		e.stored.addMatch(old.Spec.MatchConditions)
		for _, m := range old.Spec.Mutations {
			if m.ApplyConfiguration != nil {
				e.stored.add(applyRole, m.ApplyConfiguration.Expression)
			}
			if m.JSONPatch != nil {
				e.stored.add(jsonPatchRole, m.JSONPatch.Expression)
			}
		}
	}
	errs = append(errs, validateFailurePolicy(s.FailurePolicy, path.Child("failurePolicy"))...)
	errs = append(errs, validateParamKind(s.ParamKind, path.Child("paramKind"))...)
	errs = append(errs, validateConstraints(s.MatchConstraints, path.Child("matchConstraints"))...)
	errs = append(errs, validateMutatingRules(s.MatchConstraints, path.Child("matchConstraints"))...)
	if old == nil || !sameConditions(s.MatchConditions, old.Spec.MatchConditions, s.ParamKind, old.Spec.ParamKind) {
		errs = append(errs, e.validateMatchConditions(s.MatchConditions, path.Child("matchConditions"))...)
	}
	composed := compilers.composed()
	e.compile = func() plugincel.Compiler { return composed }
	errs = append(errs, e.validateVariables(composed, s.Variables, path.Child("variables"))...)
	if len(s.Mutations) == 0 {
		errs = append(errs, field.Required(path.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range s.Mutations {
		errs = append(errs, e.validateMutation(&s.Mutations[i], path.Child("mutations").Index(i))...)
	}
	at := path.Child("reinvocationPolicy")
	if s.ReinvocationPolicy == "" {
		errs = append(errs, field.Required(at, ""))
	} else if !slices.Contains(reinvocationPolicies(), s.ReinvocationPolicy) {
		errs = append(errs, field.NotSupported(at, s.ReinvocationPolicy, reinvocationPolicies()))
	}
	return errs
}

func (e expressions) validateMutation(m *registrationv1.Mutation, path *field.Path) (errs field.ErrorList) {
	apply, jsonPatch := path.Child("applyConfiguration"), path.Child("jsonPatch")
	types := []registrationv1.PatchType{registrationv1.PatchTypeApplyConfiguration, registrationv1.PatchTypeJSONPatch}
	switch m.PatchType {
	case "":
		errs = append(errs, field.Required(path.Child("patchType"), ""))
	case registrationv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(jsonPatch, "must be specified when patchType is JSONPatch"))
		} else {
			text := strings.TrimSpace(m.JSONPatch.Expression)
			errs = append(errs, e.checkPatch(jsonPatchRole, m.JSONPatch.Expression, &patch.JSONPatchCondition{Expression: text}, jsonPatch)...)
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
	case registrationv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(apply, "must be specified when patchType is ApplyConfiguration"))
		} else {
			text := strings.TrimSpace(m.ApplyConfiguration.Expression)
			errs = append(errs, e.checkPatch(applyRole, m.ApplyConfiguration.Expression, &patch.ApplyConfigurationCondition{Expression: text}, apply)...)
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(jsonPatch, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("patchType"), m.PatchType, types))
	}
	return errs
}

func (e expressions) checkPatch(role, given string, a plugincel.ExpressionAccessor, path *field.Path) field.ErrorList {
	if a.GetExpression() == "" {
		return field.ErrorList{field.Required(path.Child("expression"), "")}
	}
	return e.check(e.compile(), role, given, a, plugincel.OptionalVariableDeclarations{HasAuthorizer: true, HasPatchTypes: true}, path.Child("expression"))
}
