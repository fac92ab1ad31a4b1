package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateWindowsPod refuses what only Linux has.
func validateWindowsPod(s *corev1.PodSpec, spec *field.Path) (errs field.ErrorList) {
	forbid := func(set bool, path *field.Path) {
		if set {
			errs = append(errs, field.Forbidden(path, "cannot be set for a windows pod"))
		}
	}
	sc, path := s.SecurityContext, spec.Child("securityContext")
	if sc == nil {
		sc = &corev1.PodSecurityContext{}
	}
	forbid(sc.AppArmorProfile != nil, path.Child("appArmorProfile"))
	forbid(sc.SELinuxOptions != nil, path.Child("seLinuxOptions"))
	forbid(s.HostUsers != nil, spec.Child("hostUsers"))
	forbid(s.HostPID, spec.Child("hostPID"))
	forbid(s.HostIPC, spec.Child("hostIPC"))
	forbid(sc.SeccompProfile != nil, path.Child("seccompProfile"))
	forbid(sc.FSGroup != nil, path.Child("fsGroup"))
	forbid(sc.FSGroupChangePolicy != nil, path.Child("fsGroupChangePolicy"))
	forbid(len(sc.Sysctls) > 0, path.Child("sysctls"))
	forbid(s.ShareProcessNamespace != nil, spec.Child("shareProcessNamespace"))
	forbid(sc.RunAsUser != nil, path.Child("runAsUser"))
	forbid(sc.RunAsGroup != nil, path.Child("runAsGroup"))
	forbid(sc.SupplementalGroups != nil, path.Child("supplementalGroups"))
	forbid(sc.SupplementalGroupsPolicy != nil, path.Child("supplementalGroupsPolicy"))
	forbid(sc.SELinuxChangePolicy != nil, path.Child("seLinuxChangePolicy"))
	eachContainer(s, spec, func(c *corev1.Container, at *field.Path) {
		sc, path := c.SecurityContext, at.Child("securityContext")
		if sc == nil {
			return
		}
		forbid(sc.AppArmorProfile != nil, path.Child("appArmorProfile"))
		forbid(sc.SELinuxOptions != nil, path.Child("seLinuxOptions"))
		forbid(sc.SeccompProfile != nil, path.Child("seccompProfile"))
		forbid(sc.Capabilities != nil, path.Child("capabilities"))
		forbid(sc.ReadOnlyRootFilesystem != nil, path.Child("readOnlyRootFilesystem"))
		forbid(sc.Privileged != nil, path.Child("privileged"))
		forbid(sc.AllowPrivilegeEscalation != nil, path.Child("allowPrivilegeEscalation"))
		forbid(sc.ProcMount != nil, path.Child("procMount"))
		forbid(sc.RunAsUser != nil, path.Child("runAsUser"))
		forbid(sc.RunAsGroup != nil, path.Child("runAsGroup"))
	})
	return errs
}
