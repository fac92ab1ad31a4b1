package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// Four fields say the same thing: clusterIP, clusterIPs, ipFamilies and
// ipFamilyPolicy (KEP-563). This file checks that they agree.

func validateClusterIPs(s, old *corev1.Service, spec *field.Path) (errs field.ErrorList) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	ips, families := spec.Child("clusterIPs"), spec.Child("ipFamilies")
	switch have := s.Spec.ClusterIPs; {
	case s.Spec.ClusterIP != "" && len(have) == 0:
		errs = append(errs, field.Required(ips, ""))
	case s.Spec.ClusterIP != "" && have[0] != s.Spec.ClusterIP:
		errs = append(errs, field.Invalid(ips, have, "first value must match `clusterIP`"))
	case s.Spec.ClusterIP == "" && len(have) > 0:
		errs = append(errs, field.Invalid(ips, have, "must be empty when `clusterIP` is not specified"))
	}
	for i, f := range s.Spec.IPFamilies {
		errs = append(errs, supported(f, families.Index(i), corev1.IPv4Protocol, corev1.IPv6Protocol)...)
		if slices.Contains(s.Spec.IPFamilies[:i], f) {
			errs = append(errs, field.Duplicate(families.Index(i), f))
		}
	}
	if p := s.Spec.IPFamilyPolicy; p != nil {
		errs = append(errs, supported(*p, spec.Child("ipFamilyPolicy"), corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	}
	wellFormed := true
	for i, ip := range s.Spec.ClusterIPs {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(s.Spec.ClusterIPs) > 1 {
				wellFormed = false
				errs = append(errs, field.Invalid(ips, s.Spec.ClusterIPs, "'None' must be the first and only value"))
			}
			continue
		}
		bad := validation.IsValidIPForLegacyField(ips.Index(i), ip, true, old.Spec.ClusterIPs)
		wellFormed = wellFormed && len(bad) == 0
		errs = append(errs, bad...)
	}
	if len(s.Spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(ips, s.Spec.ClusterIPs, "may only hold up to 2 values"))
	}
	if !wellFormed { // the rest would only confuse
		return errs
	}
	if len(s.Spec.ClusterIPs) > 1 {
		dual, err := netutils.IsDualStackIPStrings(s.Spec.ClusterIPs)
		if err != nil {
			errs = append(errs, field.InternalError(ips, fmt.Errorf("failed to check for dual stack with error:%w", err)))
		}
		if !dual {
			errs = append(errs, field.Invalid(ips, s.Spec.ClusterIPs, "may specify no more than one IP for each IP family"))
		}
	}
	if isHeadless(s) {
		return errs
	}
	for i, ip := range s.Spec.ClusterIPs {
		if i >= len(s.Spec.IPFamilies) {
			break
		}
		if want := s.Spec.IPFamilies[i]; (want == corev1.IPv4Protocol || want == corev1.IPv6Protocol) && want != familyOf(ip) {
			errs = append(errs, field.Invalid(ips.Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%v]`", want, i)))
		}
	}
	return errs
}

func familyOf(ip string) corev1.IPFamily {
	if netutils.IsIPv6String(ip) {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

// validateClusterIPChange: the first address stays; the second may come, and go
// if single-stack is asked for.
func validateClusterIPChange(s, old *corev1.Service) (errs field.ErrorList) {
	if isHeadless(s) && isHeadless(old) {
		return nil
	}
	path := field.NewPath("spec", "clusterIPs")
	now, before := s.Spec.ClusterIPs, old.Spec.ClusterIPs
	const fixed = "may not change once set"
	switch {
	case len(now) == len(before):
		for i := range before {
			if now[i] != before[i] {
				errs = append(errs, field.Invalid(path.Index(i), now, fixed))
			}
		}
		return errs
	case len(now) == 0:
		errs = append(errs, field.Invalid(path.Index(0), now, "primary clusterIP can not be unset"))
	case len(before) > 0 && now[0] != before[0]:
		errs = append(errs, field.Invalid(path.Index(0), now, fixed))
	}
	if len(now) < len(before) && len(now) == 1 && familyPolicy(s) != corev1.IPFamilyPolicySingleStack {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), s.Spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary clusterIP"))
	}
	return errs
}

func validateFamilyChange(s, old *corev1.Service) (errs field.ErrorList) {
	if isHeadless(s) || isHeadless(old) {
		return nil
	}
	path := field.NewPath("spec", "ipFamilies").Index(0)
	now, before := s.Spec.IPFamilies, old.Spec.IPFamilies
	const fixed = "may not change once set"
	switch {
	case len(now) == len(before):
		for i := range before {
			if now[i] != before[i] {
				errs = append(errs, field.Invalid(path, now, fixed))
			}
		}
		return errs
	case len(now) < len(before) && len(s.Spec.ClusterIPs) == 0:
		errs = append(errs, field.Invalid(path, now, "primary ipFamily can not be unset"))
	}
	if len(now) > 0 && len(before) > 0 && now[0] != before[0] {
		errs = append(errs, field.Invalid(path, s.Spec.ClusterIPs, fixed))
	}
	if len(now) < len(before) && len(now) == 1 && familyPolicy(s) != corev1.IPFamilyPolicySingleStack {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), s.Spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary ipFamily"))
	}
	return errs
}

func familyPolicy(s *corev1.Service) corev1.IPFamilyPolicy {
	if s.Spec.IPFamilyPolicy == nil {
		return ""
	}
	return *s.Spec.IPFamilyPolicy
}

// completeService fills clusterIPs, ipFamilies and ipFamilyPolicy of a service
// that was stored before they existed. It sets fields only, so that what it
// shares with others stays.
func completeService(s *corev1.Service, configured []corev1.IPFamily) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		s.Spec.InternalTrafficPolicy = nil // was defaulted once
		return
	}
	syncClusterIPs(s, nil)
	if !hasCluster(s.Spec.Type) || len(s.Spec.IPFamilies) > 0 || len(configured) == 0 {
		return
	}
	policy := corev1.IPFamilyPolicySingleStack
	switch first := configured[0]; {
	case s.Spec.ClusterIP == corev1.ClusterIPNone && len(s.Spec.Selector) == 0:
		policy = corev1.IPFamilyPolicyRequireDualStack
		s.Spec.IPFamilies = []corev1.IPFamily{first, otherFamily(first)}
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		s.Spec.IPFamilies = []corev1.IPFamily{first}
	default:
		for _, ip := range s.Spec.ClusterIPs {
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, familyOf(ip))
		}
		switch len(s.Spec.IPFamilies) {
		case 1:
		case 2:
			policy = corev1.IPFamilyPolicyRequireDualStack
		default:
			return
		}
	}
	s.Spec.IPFamilyPolicy = &policy
}

func otherFamily(f corev1.IPFamily) corev1.IPFamily {
	if f == corev1.IPv4Protocol {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}
