package core

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	sysctls "k8s.io/component-helpers/node/util/sysctl"
)

const maxSysctlName = 253

var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

func validatePodSecurityContext(s *corev1.PodSpec, l lenience, path *field.Path) (errs field.ErrorList) {
	sc := s.SecurityContext
	shared := func() {
		if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace && s.HostPID {
			errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), *s.ShareProcessNamespace, "ShareProcessNamespace and HostPID cannot both be enabled"))
		}
	}
	if sc == nil {
		shared()
		return errs
	}
	if g := sc.FSGroup; g != nil {
		errs = append(errs, invalidEach(path.Child("fsGroup"), *g, validation.IsValidGroupID(*g))...)
	}
	if u := sc.RunAsUser; u != nil {
		errs = append(errs, invalidEach(path.Child("runAsUser"), *u, validation.IsValidUserID(*u))...)
	}
	if g := sc.RunAsGroup; g != nil {
		errs = append(errs, invalidEach(path.Child("runAsGroup"), *g, validation.IsValidGroupID(*g))...)
	}
	for i, g := range sc.SupplementalGroups {
		errs = append(errs, invalidEach(path.Child("supplementalGroups").Index(i), g, validation.IsValidGroupID(g))...)
	}
	shared()
	errs = append(errs, validateSysctls(s, sc.Sysctls, l.hostSysctls, path.Child("sysctls"))...)
	if p := sc.FSGroupChangePolicy; p != nil {
		errs = append(errs, supported(*p, path.Child("fsGroupChangePolicy"), corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	}
	errs = append(errs, validateSeccomp(sc.SeccompProfile, path.Child("seccompProfile"))...)
	errs = append(errs, validateWindowsOptions(sc.WindowsOptions, path.Child("windowsOptions"))...)
	errs = append(errs, validateAppArmor(sc.AppArmorProfile, path.Child("appArmorProfile"))...)
	if p := sc.SupplementalGroupsPolicy; p != nil {
		errs = append(errs, supported(*p, path.Child("supplementalGroupsPolicy"), corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	}
	if p := sc.SELinuxChangePolicy; p != nil {
		allowed := []corev1.PodSELinuxChangePolicy{corev1.SELinuxChangePolicyRecursive} // others need SELinuxMount
		if l.selinuxPolicy {
			allowed = []corev1.PodSELinuxChangePolicy{corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive}
		}
		errs = append(errs, supported(*p, path.Child("seLinuxChangePolicy"), allowed...)...)
	}
	return errs
}

func validateSysctls(s *corev1.PodSpec, list []corev1.Sysctl, anyNamespace bool, path *field.Path) (errs field.ErrorList) {
	seen := map[string]bool{}
	for i, c := range list {
		at := path.Index(i).Child("name")
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(at, ""))
		case len(c.Name) > maxSysctlName || !sysctlName.MatchString(c.Name):
			errs = append(errs, field.Invalid(at, c.Name, fmt.Sprintf("must have at most %d characters and match regex %s", maxSysctlName, sysctlName)))
		case seen[c.Name]:
			errs = append(errs, field.Duplicate(at, c.Name))
		}
		seen[c.Name] = true
		if err := validateHostSysctl(s, c.Name, at); err != nil && !anyNamespace {
			errs = append(errs, err)
		}
	}
	return errs
}

// validateHostSysctl: what the pod shares with the host is not the pod's to set.
func validateHostSysctl(s *corev1.PodSpec, sysctl string, at *field.Path) *field.Error {
	switch namespace, _, _ := sysctls.GetNamespace(sysctl); {
	case s.HostNetwork && namespace == sysctls.NetNamespace:
		return field.Invalid(at, sysctl, "may not be specified when 'hostNetwork' is true")
	case s.HostIPC && namespace == sysctls.IPCNamespace:
		return field.Invalid(at, sysctl, "may not be specified when 'hostIPC' is true")
	}
	return nil
}

func validateSecurityContext(sc *corev1.SecurityContext, hostUsers bool, path *field.Path) (errs field.ErrorList) {
	if sc == nil {
		return nil
	}
	if u := sc.RunAsUser; u != nil {
		errs = append(errs, invalidEach(path.Child("runAsUser"), *u, validation.IsValidUserID(*u))...)
	}
	if g := sc.RunAsGroup; g != nil {
		errs = append(errs, invalidEach(path.Child("runAsGroup"), *g, validation.IsValidGroupID(*g))...)
	}
	if m := sc.ProcMount; m != nil {
		errs = append(errs, supported(*m, path.Child("procMount"), corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
		if hostUsers && *m == corev1.UnmaskedProcMount {
			errs = append(errs, field.Invalid(path.Child("procMount"), sc.ProcMount, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	errs = append(errs, validateSeccomp(sc.SeccompProfile, path.Child("seccompProfile"))...)
	if sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation {
		if sc.Privileged != nil && *sc.Privileged {
			errs = append(errs, field.Invalid(path, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if sc.Capabilities != nil && slices.Contains(sc.Capabilities.Add, "CAP_SYS_ADMIN") {
			errs = append(errs, field.Invalid(path, sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
		}
	}
	errs = append(errs, validateWindowsOptions(sc.WindowsOptions, path.Child("windowsOptions"))...)
	return append(errs, validateAppArmor(sc.AppArmorProfile, path.Child("appArmorProfile"))...)
}

func validateSeccomp(p *corev1.SeccompProfile, path *field.Path) (errs field.ErrorList) {
	if p == nil {
		return nil
	}
	if p.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "type is required when seccompProfile is set"))
	} else {
		errs = append(errs, supported(p.Type, path.Child("type"), corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)...)
	}
	local := path.Child("localhostProfile")
	switch {
	case p.Type != corev1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile != nil {
			errs = append(errs, field.Invalid(local, p, "can only be set when seccomp type is Localhost"))
		}
	case p.LocalhostProfile == nil:
		errs = append(errs, field.Required(local, "must be set when seccomp type is Localhost"))
	default:
		errs = append(errs, validateDescendingPath(*p.LocalhostProfile, local)...)
	}
	return errs
}

func validateAppArmor(p *corev1.AppArmorProfile, path *field.Path) (errs field.ErrorList) {
	if p == nil {
		return nil
	}
	local := path.Child("localhostProfile")
	const required = "must be set when AppArmor type is Localhost"
	switch p.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		switch {
		case p.LocalhostProfile == nil || *p.LocalhostProfile == "":
			return field.ErrorList{field.Required(local, required)}
		case strings.TrimSpace(*p.LocalhostProfile) != *p.LocalhostProfile:
			errs = append(errs, field.Invalid(local, *p.LocalhostProfile, "must not be padded with whitespace"))
		}
		if len(*p.LocalhostProfile) > 4095 {
			errs = append(errs, field.TooLong(local, "", 4095))
		}
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if p.LocalhostProfile != nil {
			errs = append(errs, field.Invalid(local, p.LocalhostProfile, "can only be set when AppArmor type is Localhost"))
		}
	case "":
		errs = append(errs, field.Required(path.Child("type"), "type is required when appArmorProfile is set"))
	default:
		errs = append(errs, supported(p.Type, path.Child("type"), corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)...)
	}
	return errs
}
