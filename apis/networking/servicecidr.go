package networking

import (
	"context"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"proa/apis/kind"
)

type serviceCIDR = *networkingv1.ServiceCIDR

// ServiceCIDR is a range that cluster IPs come from (KEP-1880).
func ServiceCIDR() *kind.Kind[serviceCIDR] {
	return &kind.Kind[serviceCIDR]{
		GVK:                  networkingv1.SchemeGroupVersion.WithKind("ServiceCIDR"),
		Resource:             "servicecidrs",
		ClusterScoped:        true,
		New:                  func() serviceCIDR { return &networkingv1.ServiceCIDR{} },
		NewList:              func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
		PrepareForCreate:     func(_ context.Context, c serviceCIDR) { c.Status = networkingv1.ServiceCIDRStatus{} },
		PrepareForUpdate:     func(_ context.Context, c, old serviceCIDR) { c.Status = old.Status },
		Validate:             func(_ context.Context, c serviceCIDR) field.ErrorList { return validateCIDRs(&c.Spec) },
		UpdateValidatesAlone: true,
		ValidateUpdate:       func(_ context.Context, c, old serviceCIDR) field.ErrorList { return validateCIDRChange(c, old) },
		Columns: []kind.Column[serviceCIDR]{
			kind.NameColumn[serviceCIDR](),
			{Name: "CIDRs", Type: "string", Description: networkingv1.ServiceCIDRSpec{}.SwaggerDoc()["cidrs"],
				Value: func(c serviceCIDR) any { return strings.Join(c.Spec.CIDRs, ",") }},
			kind.AgeColumn[serviceCIDR](),
		},
		Status: &kind.Status[serviceCIDR]{
			ResetFields: []string{"metadata", "spec"},
			Prepare: func(_ context.Context, c, old serviceCIDR) {
				c.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&c.ObjectMeta, &old.ObjectMeta)
			},
		},
	}
}

func validateCIDRs(s *networkingv1.ServiceCIDRSpec) (errs field.ErrorList) {
	path := field.NewPath("spec", "cidrs")
	switch {
	case len(s.CIDRs) == 0:
		return field.ErrorList{field.Required(path, "at least one CIDR required")}
	case len(s.CIDRs) > 2:
		return field.ErrorList{field.Invalid(path, s, "may only hold up to 2 values")}
	}
	for i, c := range s.CIDRs {
		errs = append(errs, validation.IsValidCIDR(path.Index(i), c)...)
	}
	if len(s.CIDRs) == 2 {
		family := netutils.IPFamilyOfCIDRString(s.CIDRs[0])
		if family != netutils.IPFamilyUnknown && family == netutils.IPFamilyOfCIDRString(s.CIDRs[1]) {
			errs = append(errs, field.Invalid(path, s.CIDRs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
		}
	}
	return errs
}

// validateCIDRChange: a range of the other family may be added, nothing else changes.
func validateCIDRChange(c, old serviceCIDR) (errs field.ErrorList) {
	path, now, was := field.NewPath("spec", "cidrs"), c.Spec.CIDRs, old.Spec.CIDRs
	grown := len(was) == 1 && len(now) == 2
	if len(now) != len(was) && !grown {
		return field.ErrorList{field.Invalid(path, now, apivalidation.FieldImmutableErrorMsg)}
	}
	for i := range was {
		if now[i] != was[i] {
			errs = append(errs, field.Invalid(path.Index(i), now[i], apivalidation.FieldImmutableErrorMsg))
		}
	}
	if grown {
		errs = append(errs, validateCIDRs(&c.Spec)...)
	}
	return errs
}
