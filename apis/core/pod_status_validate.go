package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

func validatePodStatusUpdate(p, old *corev1.Pod) field.ErrorList {
	s, path := &p.Status, field.NewPath("status")
	errs := validateAnnotationsUpdate(p, old, lenienceFor(&old.Spec, &old.ObjectMeta))
	for i, c := range s.Conditions {
		at := path.Child("conditions").Index(i)
		errs = append(errs, generation(c.ObservedGeneration, at.Child("observedGeneration"))...)
		switch c.Type {
		case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized:
		default:
			errs = append(errs, ValidateQualifiedName(string(c.Type), at.Child("Type"))...)
		}
	}
	if now, was := s.NominatedNodeName, old.Status.NominatedNodeName; now != "" && now != was {
		at := path.Child("nominatedNodeName")
		errs = append(errs, invalidEach(at, now, apivalidation.NameIsDNSSubdomain(now, false))...)
		if old.Spec.NodeName != "" {
			errs = append(errs, field.Forbidden(at, "may not be set on pods that are already bound to a node"))
		}
	}
	errs = append(errs, generation(s.ObservedGeneration, path.Child("observedGeneration"))...)
	errs = append(errs, ValidateImmutable(s.QOSClass, old.Status.QOSClass, path.Child("qosClass"))...)
	errs = append(errs, validateStays(s.ContainerStatuses, old.Status.ContainerStatuses, &old.Spec, old.Spec.Containers, path.Child("containerStatuses"))...)
	errs = append(errs, validateStays(s.InitContainerStatuses, old.Status.InitContainerStatuses, &old.Spec, old.Spec.InitContainers, path.Child("initContainerStatuses"))...)
	errs = append(errs, validateStays(s.EphemeralContainerStatuses, old.Status.EphemeralContainerStatuses, nil, nil, path.Child("ephemeralContainerStatuses"))...)
	errs = append(errs, validateClaimStatuses(s.ResourceClaimStatuses, p.Spec.ResourceClaims, path.Child("resourceClaimStatuses"))...)
	errs = append(errs, validateExtendedClaim(s.ExtendedResourceClaimStatus, &p.Spec, path.Child("extendedResourceClaimStatus"))...)
	errs = append(errs, validatePodAddresses(p, old, path)...)
	return append(errs, validateContainerStatuses(p, path)...)
}

// validatePodAddresses checks the pod's and its node's addresses; those that are
// there already may be badly written.
func validatePodAddresses(p, old *corev1.Pod, path *field.Path) field.ErrorList {
	s := &p.Status
	now, was := make([]string, len(s.PodIPs)), make([]string, len(old.Status.PodIPs))
	for i := range s.PodIPs {
		now[i] = s.PodIPs[i].IP
	}
	for i := range old.Status.PodIPs {
		was[i] = old.Status.PodIPs[i].IP
	}
	errs := validateAddressPair(now, was, s.PodIPs, path.Child("podIPs"))

	now, was = make([]string, len(s.HostIPs)), make([]string, len(old.Status.HostIPs))
	for i := range s.HostIPs {
		now[i] = s.HostIPs[i].IP
	}
	for i := range old.Status.HostIPs {
		was[i] = old.Status.HostIPs[i].IP
	}
	if len(now) > 0 && s.HostIP != now[0] {
		errs = append(errs, field.Invalid(path.Child("hostIPs").Index(0).Child("ip"), now[0], "must be equal to `hostIP`"))
	}
	return append(errs, validateAddressPair(now, was, s.HostIPs, path.Child("hostIPs"))...)
}

func generation(n int64, path *field.Path) field.ErrorList {
	if n < 0 {
		return field.ErrorList{field.Invalid(path, n, "must be a non-negative integer")}
	}
	return nil
}

// validateAddressPair wants addresses, at most one of each family; value is what
// the message shows.
func validateAddressPair(now, was []string, value any, path *field.Path) (errs field.ErrorList) {
	for i, ip := range now {
		errs = append(errs, validation.IsValidIPForLegacyField(path.Index(i), ip, true, was)...)
	}
	if len(now) < 2 {
		return errs
	}
	dual, err := netutils.IsDualStackIPStrings(now)
	if err != nil {
		errs = append(errs, field.InternalError(path, fmt.Errorf("failed to check for dual stack with error:%w", err)))
	}
	if !dual || len(now) > 2 {
		errs = append(errs, field.Invalid(path, value, "may specify no more than one IP for each IP family"))
	}
	return errs
}

// validateStays: a container that terminated for good does not run again. spec
// is nil for containers that never restart.
func validateStays(now, was []corev1.ContainerStatus, spec *corev1.PodSpec, containers []corev1.Container, path *field.Path) (errs field.ErrorList) {
	if spec != nil && anyRestartsAll(spec) { // the rule may start it again
		return nil
	}
	for i := range was {
		t := was[i].State.Terminated
		if t == nil {
			continue
		}
		n := slices.IndexFunc(now, func(s corev1.ContainerStatus) bool { return s.Name == was[i].Name })
		if n < 0 || now[n].State.Terminated != nil {
			continue
		}
		c := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == was[i].Name })
		if spec == nil || c < 0 || !restarts(&containers[c], spec.RestartPolicy, t.ExitCode) {
			errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
		}
	}
	return errs
}

// anyRestartsAll: some container's exit may restart all of them (KEP-5532).
func anyRestartsAll(s *corev1.PodSpec) bool {
	for _, l := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range l {
			for _, r := range l[i].RestartPolicyRules {
				if r.Action == corev1.ContainerRestartRuleActionRestartAllContainers {
					return true
				}
			}
		}
	}
	return false
}

// restarts tells whether a container that exited with code is started again: by
// its own rules, its own policy, or the pod's.
func restarts(c *corev1.Container, pod corev1.RestartPolicy, code int32) bool {
	for _, r := range c.RestartPolicyRules {
		if r.ExitCodes != nil && r.Action == corev1.ContainerRestartRuleActionRestart &&
			slices.Contains(r.ExitCodes.Values, code) == (r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn) {
			return true
		}
	}
	policy := string(pod)
	if c.RestartPolicy != nil {
		policy = string(*c.RestartPolicy)
	}
	switch policy {
	case string(corev1.RestartPolicyAlways):
		return true
	case string(corev1.RestartPolicyOnFailure):
		return code != 0
	}
	return false
}
