package flowcontrol

import (
	"context"
	"fmt"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	flowcontrolv1beta3 "k8s.io/api/flowcontrol/v1beta3"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/util/shufflesharding"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

type level = *flowcontrolv1.PriorityLevelConfiguration

// PriorityLevelConfiguration says how many requests of a level run at once and
// what becomes of those beyond.
func PriorityLevelConfiguration() *kind.Kind[level] {
	queuing := flowcontrolv1.QueuingConfiguration{}.SwaggerDoc()
	return &kind.Kind[level]{
		GVK:              flowcontrolv1.SchemeGroupVersion.WithKind("PriorityLevelConfiguration"),
		Resource:         "prioritylevelconfigurations",
		ClusterScoped:    true,
		New:              func() level { return &flowcontrolv1.PriorityLevelConfiguration{} },
		NewList:          func() runtime.Object { return &flowcontrolv1.PriorityLevelConfigurationList{} },
		Default:          defaultLevel,
		PrepareForCreate: func(_ context.Context, l level) { l.Status = flowcontrolv1.PriorityLevelConfigurationStatus{} },
		PrepareForUpdate: func(_ context.Context, l, old level) { l.Status = old.Status },
		Spec:             func(l level) any { return &l.Spec },
		Validate: func(_ context.Context, l level) (errs field.ErrorList) {
			// Only v1beta3 could say zero shares that way.
			if key := flowcontrolv1beta3.PriorityLevelPreserveZeroConcurrencySharesKey; hasKey(l.Annotations, key) {
				errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations"), fmt.Sprintf("annotation '%s' is forbidden", key)))
			}
			errs = append(errs, validateLevel(l.Name, &l.Spec, field.NewPath("spec"))...)
			errs = append(errs, validateMandatoryLevel(l, field.NewPath("spec"))...)
			return append(errs, validateLevelConditions(l)...)
		},
		Status: &kind.Status[level]{
			ResetFields: []string{"spec", "metadata"},
			Prepare: func(_ context.Context, l, old level) {
				l.Spec = old.Spec
				keepMeta(&l.ObjectMeta, &old.ObjectMeta)
			},
			Validate: func(_ context.Context, l, _ level) field.ErrorList { return validateLevelConditions(l) },
		},
		Columns: []kind.Column[level]{
			kind.NameColumn[level](),
			{Name: "Type", Type: "string", Description: flowcontrolv1.PriorityLevelConfigurationSpec{}.SwaggerDoc()["type"],
				Value: func(l level) any { return string(l.Spec.Type) }},
			{Name: "NominalConcurrencyShares", Type: "string", Description: flowcontrolv1.LimitedPriorityLevelConfiguration{}.SwaggerDoc()["nominalConcurrencyShares"],
				Value: func(l level) any {
					if l.Spec.Limited == nil {
						return "<none>"
					}
					return int64(ptr.Deref(l.Spec.Limited.NominalConcurrencyShares, 0))
				}},
			{Name: "Queues", Type: "string", Description: queuing["queues"],
				Value: queuingCell(func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.Queues })},
			{Name: "HandSize", Type: "string", Description: queuing["handSize"],
				Value: queuingCell(func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.HandSize })},
			{Name: "QueueLengthLimit", Type: "string", Description: queuing["queueLengthLimit"],
				Value: queuingCell(func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.QueueLengthLimit })},
			kind.AgeColumn[level](),
		},
	}
}

func hasKey(m map[string]string, key string) bool { _, ok := m[key]; return ok }

func queuingCell(value func(*flowcontrolv1.QueuingConfiguration) int32) func(level) any {
	return func(l level) any {
		if l.Spec.Limited == nil || l.Spec.Limited.LimitResponse.Queuing == nil {
			return "<none>"
		}
		return int64(value(l.Spec.Limited.LimitResponse.Queuing))
	}
}

func defaultLevel(l level) {
	setDefault := func(p **int32, value int32) {
		if *p == nil {
			*p = &value
		}
	}
	if e := l.Spec.Exempt; e != nil {
		setDefault(&e.NominalConcurrencyShares, 0)
		setDefault(&e.LendablePercent, 0)
	}
	s := l.Spec.Limited
	if s == nil {
		return
	}
	setDefault(&s.NominalConcurrencyShares, 30)
	setDefault(&s.LendablePercent, 0)
	q := s.LimitResponse.Queuing
	if q == nil {
		return
	}
	if q.HandSize == 0 {
		q.HandSize = 8
	}
	if q.Queues == 0 {
		q.Queues = 64
	}
	if q.QueueLengthLimit == 0 {
		q.QueueLengthLimit = 50
	}
}

// validateMandatoryLevel keeps the two levels that every server has as they are.
func validateMandatoryLevel(l level, path *field.Path) field.ErrorList {
	for _, m := range bootstrap.MandatoryPriorityLevelConfigurations {
		if m.Name != l.Name {
			continue
		}
		want := &flowcontrolv1.PriorityLevelConfiguration{Spec: *m.Spec.DeepCopy()}
		defaultLevel(want)
		have, msg := l.Spec.DeepCopy(), fixed(l.Name)
		if l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt {
			have.Exempt = want.Spec.Exempt
			msg = fmt.Sprintf("spec of '%s' except the 'spec.exempt' field must equal the fixed value", l.Name)
		}
		if !equality.Semantic.DeepEqual(&want.Spec, have) {
			return field.ErrorList{field.Invalid(path, l.Spec, msg)}
		}
	}
	return nil
}

func validateLevel(name string, s *flowcontrolv1.PriorityLevelConfigurationSpec, path *field.Path) (errs field.ErrorList) {
	exempt := s.Type == flowcontrolv1.PriorityLevelEnablementExempt
	if (name == flowcontrolv1.PriorityLevelConfigurationNameExempt) != exempt {
		errs = append(errs, field.Invalid(path.Child("type"), s.Type, "must be 'Exempt' if and only if `name` is 'exempt'"))
	}
	switch s.Type {
	case flowcontrolv1.PriorityLevelEnablementExempt:
		if s.Limited != nil {
			errs = append(errs, field.Forbidden(path.Child("limited"), "must be nil if the type is not Limited"))
		}
		if s.Exempt != nil {
			errs = append(errs, validateShares(s.Exempt.NominalConcurrencyShares, path.Child("exempt"))...)
			errs = append(errs, validateLendable(s.Exempt.LendablePercent, path.Child("exempt"))...)
		}
	case flowcontrolv1.PriorityLevelEnablementLimited:
		if s.Exempt != nil {
			errs = append(errs, field.Forbidden(path.Child("exempt"), "must be nil if the type is Limited"))
		}
		if s.Limited == nil {
			return append(errs, field.Required(path.Child("limited"), "must not be empty when type is Limited"))
		}
		at := path.Child("limited")
		errs = append(errs, validateShares(s.Limited.NominalConcurrencyShares, at)...)
		errs = append(errs, validateLimitResponse(&s.Limited.LimitResponse, at.Child("limitResponse"))...)
		errs = append(errs, validateLendable(s.Limited.LendablePercent, at)...)
		if p := ptr.Deref(s.Limited.BorrowingLimitPercent, 0); p < 0 {
			errs = append(errs, field.Invalid(at.Child("borrowingLimitPercent"), p, "if specified, must be a non-negative integer"))
		}
	case "":
		errs = append(errs, field.Required(path.Child("type"), ""))
	default:
		errs = append(errs, field.NotSupported(path.Child("type"), s.Type,
			[]flowcontrolv1.PriorityLevelEnablement{flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited}))
	}
	return errs
}

func validateShares(n *int32, path *field.Path) field.ErrorList {
	if v := ptr.Deref(n, 0); v < 0 {
		return field.ErrorList{field.Invalid(path.Child("nominalConcurrencyShares"), v, "must be a non-negative integer")}
	}
	return nil
}

func validateLendable(n *int32, path *field.Path) field.ErrorList {
	if v := ptr.Deref(n, 0); v < 0 || v > 100 {
		return field.ErrorList{field.Invalid(path.Child("lendablePercent"), v, "must be between 0 and 100, inclusive")}
	}
	return nil
}

func validateLimitResponse(r *flowcontrolv1.LimitResponse, path *field.Path) field.ErrorList {
	at := path.Child("queuing")
	switch r.Type {
	case flowcontrolv1.LimitResponseTypeReject:
		if r.Queuing != nil {
			return field.ErrorList{field.Forbidden(at, "must be nil if limited.limitResponse.type is not Limited")}
		}
		return nil
	case flowcontrolv1.LimitResponseTypeQueue:
		if r.Queuing == nil {
			return field.ErrorList{field.Required(at, "must not be empty if limited.limitResponse.type is Limited")}
		}
		return validateQueuing(r.Queuing, at)
	case "":
		return field.ErrorList{field.Required(path.Child("type"), "")}
	}
	return field.ErrorList{field.NotSupported(path.Child("type"), r.Type,
		[]flowcontrolv1.LimitResponseType{flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject})}
}

const maxQueues = 10_000_000

func validateQueuing(q *flowcontrolv1.QueuingConfiguration, path *field.Path) (errs field.ErrorList) {
	if q.QueueLengthLimit <= 0 {
		errs = append(errs, field.Invalid(path.Child("queueLengthLimit"), q.QueueLengthLimit, "must be positive"))
	}
	if q.Queues <= 0 {
		errs = append(errs, field.Invalid(path.Child("queues"), q.Queues, "must be positive"))
	} else if q.Queues > maxQueues {
		errs = append(errs, field.Invalid(path.Child("queues"), q.Queues, fmt.Sprintf("must not be greater than %d", maxQueues)))
	}
	at := path.Child("handSize")
	if q.HandSize <= 0 {
		return append(errs, field.Invalid(at, q.HandSize, "must be positive"))
	}
	if q.HandSize > q.Queues {
		return append(errs, field.Invalid(at, q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues)))
	}
	if bits := shufflesharding.RequiredEntropyBits(int(q.Queues), int(q.HandSize)); bits > shufflesharding.MaxHashBits {
		errs = append(errs, field.Invalid(at, q.HandSize, fmt.Sprintf("required entropy bits of deckSize %d and handSize %d should not be greater than %d", q.Queues, q.HandSize, shufflesharding.MaxHashBits)))
	}
	return errs
}

func validateLevelConditions(l level) field.ErrorList {
	types := make([]string, len(l.Status.Conditions))
	for i, c := range l.Status.Conditions {
		types[i] = string(c.Type)
	}
	return validateConditionTypes(types)
}
