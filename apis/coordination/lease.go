// Package coordination holds the kinds of group coordination.k8s.io.
package coordination

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any { return []kind.Any{Lease()} }

type lease = *coordinationv1.Lease

// Lease says who holds something, and until when: node heartbeats, leader election.
func Lease() *kind.Kind[lease] {
	return &kind.Kind[lease]{
		GVK:                 coordinationv1.SchemeGroupVersion.WithKind("Lease"),
		GenerateName:        kind.PrefixOnCreate,
		Resource:            "leases",
		New:                 func() lease { return &coordinationv1.Lease{} },
		NewList:             func() runtime.Object { return &coordinationv1.LeaseList{} },
		Validate:            func(_ context.Context, l lease) field.ErrorList { return validateLease(&l.Spec) },
		PrepareForCreate:    func(_ context.Context, l lease) { l.Spec.Strategy, l.Spec.PreferredHolder = nil, nil },
		PrepareForUpdate:    dropCoordination,
		AllowCreateOnUpdate: true,
		// A heartbeat must not overwrite another holder's unseen.
		RefuseUnconditionalUpdate: true,
		Columns: []kind.Column[lease]{
			kind.NameColumn[lease](),
			{Name: "Holder", Type: "string", Description: coordinationv1.LeaseSpec{}.SwaggerDoc()["holderIdentity"],
				Value: func(l lease) any { return ptr.Deref(l.Spec.HolderIdentity, "") }},
			kind.AgeColumn[lease](),
		},
	}
}

// dropCoordination: coordinated leader election (KEP-4355) is off, but what has its
// fields keeps them.
func dropCoordination(_ context.Context, l, old lease) {
	if old.Spec.Strategy == nil {
		l.Spec.Strategy = nil
	}
	if old.Spec.PreferredHolder == nil {
		l.Spec.PreferredHolder = nil
	}
}

func validateLease(s *coordinationv1.LeaseSpec) (errs field.ErrorList) {
	path := field.NewPath("spec")
	if n := s.LeaseDurationSeconds; n != nil && *n <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), *n, "must be greater than 0"))
	}
	if n := s.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(path.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	if s.Strategy != nil && *s.Strategy != coordinationv1.OldestEmulationVersion {
		errs = append(errs, core.ValidateQualifiedName(string(*s.Strategy), path.Child("strategy"))...)
	}
	if ptr.Deref(s.PreferredHolder, "") != "" && ptr.Deref(s.Strategy, "") == "" {
		errs = append(errs, field.Forbidden(path.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}
