package resource

import (
	"context"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/core"
	"proa/apis/kind"
)

type claim = *resourcev1.ResourceClaim

// ResourceClaim asks for devices; its status says which it got and who uses them.
func ResourceClaim() *kind.Kind[claim] {
	var may access
	return &kind.Kind[claim]{
		GVK:              resourcev1.SchemeGroupVersion.WithKind("ResourceClaim"),
		Resource:         "resourceclaims",
		ReturnDeleted:    true,
		New:              func() claim { return &resourcev1.ResourceClaim{} },
		NewList:          func() runtime.Object { return &resourcev1.ResourceClaimList{} },
		Default:          func(c claim) { defaultClaim(&c.Spec.Devices) },
		PrepareForCreate: func(_ context.Context, c claim) { c.Status = resourcev1.ResourceClaimStatus{} },
		PrepareForUpdate: func(_ context.Context, c, old claim) { c.Status = old.Status },
		Validate: func(ctx context.Context, c claim) field.ErrorList {
			errs := may.admin(ctx, c.Namespace, requestsAdmin(c.Spec.Devices.Requests))
			return append(errs, validateClaim(&c.Spec.Devices, field.NewPath("spec", "devices"))...)
		},
		// The spec never changes, so nothing in it needs another look.
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, c, old claim) field.ErrorList {
			return core.ValidateImmutable(c.Spec, old.Spec, field.NewPath("spec"))
		},
		Status: &kind.Status[claim]{
			NoTable:     true,
			ResetFields: []string{"spec", "metadata"},
			Prepare: func(_ context.Context, c, old claim) {
				c.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&c.ObjectMeta, &old.ObjectMeta)
				dropDeallocated(&c.Status, &old.Status)
			},
			Validate: func(ctx context.Context, c, old claim) (errs field.ErrorList) {
				if resultsAdmin(old.Status.Allocation) == nil {
					errs = may.admin(ctx, c.Namespace, resultsAdmin(c.Status.Allocation))
				}
				errs = append(errs, may.status(ctx, &c.Status, &old.Status)...)
				return append(errs, validateClaimStatus(c, &old.Status, field.NewPath("status"))...)
			},
		},
		Columns: []kind.Column[claim]{
			kind.NameColumn[claim](),
			{Name: "State", Type: "string", Description: "A summary of the current state (allocated, pending, reserved, etc.).", Value: func(c claim) any { return state(c) }},
			kind.AgeColumn[claim](),
		},
		Extend: func(d *kind.Deps, _ *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			may = access{client: d.Client, authorizer: d.Authorizer}
			return nil, nil, nil
		},
	}
}

func state(c claim) string {
	var states []string
	if c.DeletionTimestamp != nil {
		states = append(states, "deleted")
	}
	switch {
	case c.Status.Allocation != nil:
		states = append(states, "allocated")
		if len(c.Status.ReservedFor) > 0 {
			states = append(states, "reserved")
		}
	case c.DeletionTimestamp == nil:
		states = append(states, "pending")
	}
	return strings.Join(states, ",")
}
