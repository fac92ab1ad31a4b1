package core

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

var errNoServiceCIDR = errors.New("no service CIDR is configured")

// initFamilies completes ipFamilyPolicy and ipFamilies from what the client
// said, what the service had, and what the cluster offers (KEP-563).
func (a *serviceAllocator) initFamilies(s, old *corev1.Service) error {
	if s.Spec.Type == corev1.ServiceTypeExternalName || unchangedPreferDual(s, old) {
		return nil
	}
	if len(a.families) == 0 {
		return apierrors.NewInternalError(errNoServiceCIDR)
	}
	selectorless := s.Spec.ClusterIP == corev1.ClusterIPNone && len(s.Spec.Selector) == 0
	if s.Spec.IPFamilyPolicy == nil {
		switch {
		case old != nil && old.Spec.IPFamilyPolicy != nil:
			s.Spec.IPFamilyPolicy = old.Spec.IPFamilyPolicy
		case selectorless:
			s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
		default:
			s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
		}
	}
	before := old
	if before == nil {
		before = &corev1.Service{}
	}
	spec := field.NewPath("spec")
	if errs := validateClusterIPs(s, before, spec); len(errs) > 0 {
		return serviceInvalid(s, errs...)
	}
	if errs := a.checkPolicy(s, old, spec); len(errs) > 0 {
		return serviceInvalid(s, errs...)
	}
	if selectorless {
		a.completeFamilies(s, true)
		return nil
	}
	var errs field.ErrorList
	if familyPolicy(s) == corev1.IPFamilyPolicyRequireDualStack && len(a.families) < 2 {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), s.Spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range s.Spec.IPFamilies {
		if !slices.Contains(a.families, f) {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if len(errs) > 0 {
		return serviceInvalid(s, errs...)
	}
	a.completeFamilies(s, len(a.families) == 2)
	return nil
}

// checkPolicy compares the policy with the addresses and families given, and
// infers families from addresses.
func (a *serviceAllocator) checkPolicy(s, old *corev1.Service, spec *field.Path) (errs field.ErrorList) {
	policy, path := familyPolicy(s), spec.Child("ipFamilyPolicy")
	single := policy == corev1.IPFamilyPolicySingleStack
	refuse := func(msg string) { errs = append(errs, field.Invalid(path, s.Spec.IPFamilyPolicy, msg)) }
	if old != nil {
		if single {
			if slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) && len(s.Spec.ClusterIPs) > 1 {
				s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1]
			}
			if slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies) && len(s.Spec.IPFamilies) > 1 {
				s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
			}
		} else {
			if n := len(s.Spec.ClusterIPs); n > 0 && n < len(old.Spec.ClusterIPs) {
				refuse("must be 'SingleStack' to release the secondary cluster IP")
			}
			if n := len(s.Spec.IPFamilies); n > 0 && n < len(old.Spec.IPFamilies) {
				refuse("must be 'SingleStack' to release the secondary IP family")
			}
		}
	}
	if single && len(s.Spec.ClusterIPs) == 2 {
		refuse("must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified")
	}
	if single && len(s.Spec.IPFamilies) == 2 {
		refuse("must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")
	}
	for i, ip := range s.Spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			break
		}
		if i < len(s.Spec.IPFamilies) {
			continue
		}
		if f := familyOf(ip); slices.Contains(a.families, f) {
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, f)
		} else {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(i), s.Spec.ClusterIPs, fmt.Sprintf("%s is not configured on this cluster", f)))
		}
	}
	return errs
}

// completeFamilies adds the cluster's default family if there is none, and the
// other one if two are wanted and possible.
func (a *serviceAllocator) completeFamilies(s *corev1.Service, two bool) {
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = []corev1.IPFamily{a.families[0]}
	}
	if !two || len(s.Spec.IPFamilies) > 1 || familyPolicy(s) == corev1.IPFamilyPolicySingleStack {
		return
	}
	s.Spec.IPFamilies = append(s.Spec.IPFamilies, otherFamily(s.Spec.IPFamilies[0]))
}

// unchangedPreferDual: a service that prefers two families is not upgraded only
// because the cluster now has them.
func unchangedPreferDual(s, old *corev1.Service) bool {
	return old != nil && old.Spec.Type == s.Spec.Type && hasCluster(s.Spec.Type) &&
		familyPolicy(s) == corev1.IPFamilyPolicyPreferDualStack &&
		(old.Spec.IPFamilyPolicy == nil || familyPolicy(old) == corev1.IPFamilyPolicyPreferDualStack) &&
		slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) &&
		slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies)
}
