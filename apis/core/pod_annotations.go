package core

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const tolerationsAnnotation = "scheduler.alpha.kubernetes.io/tolerations"

// validatePodAnnotations checks annotations that mean something for pods.
func validatePodAnnotations(annotations map[string]string, s *corev1.PodSpec, l lenience, path *field.Path) (errs field.ErrorList) {
	if value, mirror := annotations[corev1.MirrorPodAnnotationKey]; mirror && s.NodeName == "" {
		errs = append(errs, field.Invalid(path.Key(corev1.MirrorPodAnnotationKey), value, "must set spec.nodeName if mirror pod annotation is set"))
	}
	if value := annotations[tolerationsAnnotation]; value != "" {
		var list []corev1.Toleration
		if err := json.Unmarshal([]byte(value), &list); err != nil {
			errs = append(errs, field.Invalid(path, tolerationsAnnotation, err.Error()))
		} else {
			errs = append(errs, validateTolerations(list, l.comparisons, path.Child(tolerationsAnnotation))...)
		}
	}
	if value, ok := annotations[corev1.PodDeletionCost]; ok && !l.deletionCost && !isDeletionCost(value) {
		errs = append(errs, field.Invalid(path.Key(corev1.PodDeletionCost), value, "must be a 32bit integer"))
	}
	for _, key := range sorted(annotations) {
		if key == corev1.SeccompPodAnnotationKey || strings.HasPrefix(key, corev1.SeccompContainerAnnotationKeyPrefix) {
			errs = append(errs, validateSeccompName(annotations[key], path.Child(key))...)
		}
	}
	for _, key := range sorted(annotations) {
		name, ok := strings.CutPrefix(key, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix)
		if !ok {
			continue
		}
		if !anyContainer(s, func(c *corev1.Container) bool { return c.Name == name }) {
			errs = append(errs, field.Invalid(path.Key(key), name, "container not found"))
		}
		switch value := annotations[key]; {
		case value == "", value == corev1.DeprecatedAppArmorBetaProfileRuntimeDefault, value == corev1.DeprecatedAppArmorBetaProfileNameUnconfined,
			strings.HasPrefix(value, corev1.DeprecatedAppArmorBetaProfileNamePrefix):
		default:
			errs = append(errs, field.Invalid(path.Key(key), value, fmt.Sprintf("invalid AppArmor profile name: %q", value)))
		}
	}
	return errs
}

// isDeletionCost wants a 32-bit integer without a plus sign and leading zeros.
func isDeletionCost(value string) bool {
	_, err := strconv.ParseInt(value, 10, 32)
	return err == nil && (value == "0" || value[0] != '+' && value[0] != '0')
}

func validateSeccompName(name string, path *field.Path) field.ErrorList {
	switch name {
	case corev1.SeccompProfileRuntimeDefault, corev1.DeprecatedSeccompProfileDockerDefault, corev1.SeccompProfileNameUnconfined:
		return nil
	}
	if file, ok := strings.CutPrefix(name, corev1.SeccompLocalhostProfileNamePrefix); ok {
		return validateDescendingPath(file, path)
	}
	return field.ErrorList{field.Invalid(path, name, "must be a valid seccomp profile")}
}

// validateAnnotationsAgree: what an old annotation and the field that took its
// place both say must be the same. spec is the path of s.
func validateAnnotationsAgree(meta *metav1.ObjectMeta, s *corev1.PodSpec, spec *field.Path) (errs field.ErrorList) {
	seccomp := func(key string, p *corev1.SeccompProfile, at *field.Path) {
		if value, ok := meta.Annotations[key]; ok && p != nil {
			errs = append(errs, validateSeccompAgrees(value, p, at.Child("securityContext", "seccompProfile"))...)
		}
	}
	if sc := s.SecurityContext; sc != nil {
		seccomp(corev1.SeccompPodAnnotationKey, sc.SeccompProfile, spec)
	}
	eachContainer(s, spec, func(c *corev1.Container, at *field.Path) {
		if c.SecurityContext != nil {
			seccomp(corev1.SeccompContainerAnnotationKeyPrefix+c.Name, c.SecurityContext.SeccompProfile, at)
		}
	})
	if s.OS != nil && s.OS.Name == corev1.Windows {
		return errs
	}
	eachContainer(s, spec, func(c *corev1.Container, at *field.Path) {
		p := podAppArmor(s)
		if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
			p = c.SecurityContext.AppArmorProfile
		}
		if value, ok := meta.Annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]; ok && p != nil {
			errs = append(errs, validateAppArmorAgrees(value, p, at.Child("securityContext", "appArmorProfile"))...)
		}
	})
	return errs
}

func validateSeccompAgrees(value string, p *corev1.SeccompProfile, at *field.Path) field.ErrorList {
	file, local := strings.CutPrefix(value, corev1.SeccompLocalhostProfileNamePrefix)
	same := true
	switch p.Type {
	case corev1.SeccompProfileTypeUnconfined:
		same = value == corev1.SeccompProfileNameUnconfined
	case corev1.SeccompProfileTypeRuntimeDefault:
		same = value == corev1.SeccompProfileRuntimeDefault || value == corev1.DeprecatedSeccompProfileDockerDefault
	case corev1.SeccompProfileTypeLocalhost:
		if local && (p.LocalhostProfile == nil || file != *p.LocalhostProfile) {
			return field.ErrorList{field.Forbidden(at.Child("localhostProfile"), "seccomp profile in annotation and field must match")}
		}
		same = local
	}
	if !same {
		return field.ErrorList{field.Forbidden(at.Child("type"), "seccomp type in annotation and field must match")}
	}
	return nil
}

func validateAppArmorAgrees(value string, p *corev1.AppArmorProfile, at *field.Path) field.ErrorList {
	file, local := strings.CutPrefix(value, corev1.DeprecatedAppArmorBetaProfileNamePrefix)
	same := true
	switch p.Type {
	case corev1.AppArmorProfileTypeUnconfined:
		same = value == corev1.DeprecatedAppArmorBetaProfileNameUnconfined
	case corev1.AppArmorProfileTypeRuntimeDefault:
		same = value == corev1.DeprecatedAppArmorBetaProfileRuntimeDefault
	case corev1.AppArmorProfileTypeLocalhost:
		if local && (p.LocalhostProfile == nil || file != *p.LocalhostProfile) {
			return field.ErrorList{field.Forbidden(at.Child("localhostProfile"), "apparmor profile in annotation and field must match")}
		}
		same = local
	}
	if !same {
		return field.ErrorList{field.Forbidden(at.Child("type"), "apparmor type in annotation and field must match")}
	}
	return nil
}

// validateAnnotationChange: which profile confines a pod, and whether it mirrors
// a node's static pod, is fixed.
func validateAnnotationChange(now, was map[string]string, path *field.Path) (errs field.ErrorList) {
	apparmor := func(key string) bool {
		return strings.HasPrefix(key, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix)
	}
	for _, key := range sorted(was) {
		if value, ok := now[key]; ok && value == was[key] {
			continue
		}
		if apparmor(key) {
			errs = append(errs, field.Forbidden(path.Key(key), "may not remove or update AppArmor annotations"))
		}
		if key == corev1.MirrorPodAnnotationKey {
			errs = append(errs, field.Forbidden(path.Key(key), "may not remove or update mirror pod annotation"))
		}
	}
	for _, key := range sorted(now) {
		if _, ok := was[key]; ok {
			continue
		}
		if apparmor(key) {
			errs = append(errs, field.Forbidden(path.Key(key), "may not add AppArmor annotations"))
		}
		if key == corev1.MirrorPodAnnotationKey {
			errs = append(errs, field.Forbidden(path.Key(key), "may not add mirror pod annotation"))
		}
	}
	return errs
}
