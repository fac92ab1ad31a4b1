package flowcontrol

import (
	"cmp"
	"context"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"proa/apis/kind"
)

type flow = *flowcontrolv1.FlowSchema

// FlowSchema says which requests belong to which priority level.
func FlowSchema() *kind.Kind[flow] {
	doc := flowcontrolv1.FlowSchemaSpec{}.SwaggerDoc()
	return &kind.Kind[flow]{
		GVK:           flowcontrolv1.SchemeGroupVersion.WithKind("FlowSchema"),
		Resource:      "flowschemas",
		ClusterScoped: true,
		New:           func() flow { return &flowcontrolv1.FlowSchema{} },
		NewList:       func() runtime.Object { return &flowcontrolv1.FlowSchemaList{} },
		Default: func(f flow) {
			if f.Spec.MatchingPrecedence == 0 {
				f.Spec.MatchingPrecedence = 1000
			}
		},
		PrepareForCreate: func(_ context.Context, f flow) { f.Status = flowcontrolv1.FlowSchemaStatus{} },
		PrepareForUpdate: func(_ context.Context, f, old flow) { f.Status = old.Status },
		Spec:             func(f flow) any { return &f.Spec },
		Validate: func(_ context.Context, f flow) field.ErrorList {
			errs := validateFlow(f.Name, &f.Spec, field.NewPath("spec"))
			for _, m := range bootstrap.MandatoryFlowSchemas {
				if m.Name == f.Name && !equality.Semantic.DeepEqual(m.Spec, f.Spec) {
					errs = append(errs, field.Invalid(field.NewPath("spec"), f.Spec, fixed(f.Name)))
				}
			}
			return append(errs, validateFlowConditions(f)...)
		},
		Status: &kind.Status[flow]{
			ResetFields: []string{"spec", "metadata"},
			Prepare: func(_ context.Context, f, old flow) {
				f.Spec = old.Spec
				keepMeta(&f.ObjectMeta, &old.ObjectMeta)
			},
			Validate: func(_ context.Context, f, _ flow) field.ErrorList { return validateFlowConditions(f) },
		},
		RowOrder: func(a, b flow) int {
			return cmp.Or(cmp.Compare(a.Spec.MatchingPrecedence, b.Spec.MatchingPrecedence), cmp.Compare(a.Name, b.Name))
		},
		Columns: []kind.Column[flow]{
			kind.NameColumn[flow](),
			{Name: "PriorityLevel", Type: "string", Description: flowcontrolv1.PriorityLevelConfigurationReference{}.SwaggerDoc()["name"],
				Value: func(f flow) any { return f.Spec.PriorityLevelConfiguration.Name }},
			{Name: "MatchingPrecedence", Type: "string", Description: doc["matchingPrecedence"],
				Value: func(f flow) any { return int64(f.Spec.MatchingPrecedence) }},
			{Name: "DistinguisherMethod", Type: "string", Description: doc["distinguisherMethod"], Value: func(f flow) any {
				if m := f.Spec.DistinguisherMethod; m != nil {
					return string(m.Type)
				}
				return "<none>"
			}},
			kind.AgeColumn[flow](),
			{Name: "MissingPL", Type: "string", Description: "references a broken or non-existent PriorityLevelConfiguration", Value: func(f flow) any {
				for _, c := range f.Status.Conditions {
					if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
						return string(c.Status)
					}
				}
				return "?"
			}},
		},
	}
}

// keepMeta takes all metadata but the managed fields back from old.
func keepMeta(now, old *metav1.ObjectMeta) {
	managed := now.ManagedFields
	*now = *old.DeepCopy()
	now.ManagedFields = managed
}

func validateFlowConditions(f flow) field.ErrorList {
	types := make([]string, len(f.Status.Conditions))
	for i, c := range f.Status.Conditions {
		types[i] = string(c.Type)
	}
	return validateConditionTypes(types)
}
