package core

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *podChecker) checkMounts(ctr *corev1.Container, at *field.Path) {
	mounts := at.Child("volumeMounts")
	devices, devicePaths := map[string]bool{}, map[string]bool{}
	for _, d := range ctr.VolumeDevices {
		devices[d.Name], devicePaths[d.DevicePath] = true, true
	}
	seen := map[string]bool{}
	for i, m := range ctr.VolumeMounts {
		at := mounts.Index(i)
		if m.Name == "" {
			c.add(field.Required(at.Child("name"), ""))
		}
		if _, ok := c.volumes[m.Name]; !ok {
			c.add(field.NotFound(at.Child("name"), m.Name))
		}
		if m.MountPath == "" {
			c.add(field.Required(at.Child("mountPath"), ""))
		}
		if seen[m.MountPath] {
			c.add(field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		}
		seen[m.MountPath] = true
		if devices[m.Name] {
			c.add(field.Invalid(at.Child("name"), m.Name, "must not already exist in volumeDevices"))
		}
		if devicePaths[m.MountPath] {
			c.add(field.Invalid(at.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices"))
		}
		if m.SubPath != "" {
			c.add(validateDescendingPath(m.SubPath, mounts.Child("subPath"))...)
		}
		if m.SubPathExpr != "" {
			if m.SubPath != "" {
				c.add(field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
			}
			c.add(validateDescendingPath(m.SubPathExpr, mounts.Child("subPathExpr"))...)
		}
		if p := m.MountPropagation; p != nil {
			at := mounts.Child("mountPropagation")
			c.add(supported(*p, at, corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)...)
			privileged := ctr.SecurityContext != nil && ctr.SecurityContext.Privileged != nil && *ctr.SecurityContext.Privileged
			if *p == corev1.MountPropagationBidirectional && !privileged {
				c.add(field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
			}
		}
		c.checkRecursiveReadOnly(&m, mounts.Child("recursiveReadOnly"))
	}
}

func (c *podChecker) checkRecursiveReadOnly(m *corev1.VolumeMount, at *field.Path) {
	if m.RecursiveReadOnly == nil {
		return
	}
	switch mode := *m.RecursiveReadOnly; mode {
	case corev1.RecursiveReadOnlyDisabled:
	case corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible:
		if !m.ReadOnly {
			c.add(field.Forbidden(at, "may only be specified when readOnly is true"))
		}
		if p := m.MountPropagation; p != nil && *p != corev1.MountPropagationNone {
			c.add(field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
		}
	default:
		c.add(supported(mode, at, corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)...)
	}
}

func (c *podChecker) checkDevices(ctr *corev1.Container, at *field.Path) {
	list := at.Child("volumeDevices")
	mounts, mountPaths := map[string]bool{}, map[string]bool{}
	for _, m := range ctr.VolumeMounts {
		mounts[m.Name], mountPaths[m.MountPath] = true, true
	}
	names, paths := map[string]bool{}, map[string]bool{}
	for i, d := range ctr.VolumeDevices {
		at := list.Index(i)
		if d.Name == "" {
			c.add(field.Required(at.Child("name"), ""))
		} else if names[d.Name] {
			c.add(field.Invalid(at.Child("name"), d.Name, "must be unique"))
		}
		if v, ok := c.volumes[d.Name]; !ok {
			c.add(field.NotFound(at.Child("name"), d.Name))
		} else if v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			c.add(field.Invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		if d.DevicePath == "" {
			c.add(field.Required(at.Child("devicePath"), ""))
		}
		if paths[d.DevicePath] {
			c.add(field.Invalid(at.Child("devicePath"), d.DevicePath, "must be unique"))
		}
		if len(validateNoBacksteps(d.DevicePath, at)) > 0 {
			c.add(field.Invalid(at.Child("devicePath"), d.DevicePath, "can not contain backsteps ('..')"))
		} else {
			paths[d.DevicePath] = true
		}
		if mounts[d.Name] {
			c.add(field.Invalid(at.Child("name"), d.Name, "must not already exist in volumeMounts"))
		}
		if mountPaths[d.DevicePath] {
			c.add(field.Invalid(at.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts"))
		}
		names[d.Name] = true
	}
}

func validateDescendingPath(p string, at *field.Path) (errs field.ErrorList) {
	if path.IsAbs(p) {
		errs = append(errs, field.Invalid(at, p, "must be a relative path"))
	}
	return append(errs, validateNoBacksteps(p, at)...)
}

func validateNoBacksteps(p string, at *field.Path) field.ErrorList {
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return field.ErrorList{field.Invalid(at, p, "must not contain '..'")}
		}
	}
	return nil
}

// validateFilePath: names that start with two dots are the volume plugin's own.
func validateFilePath(p string, at *field.Path) field.ErrorList {
	errs := validateDescendingPath(p, at)
	if strings.HasPrefix(p, "..") && !strings.HasPrefix(p, "../") {
		errs = append(errs, field.Invalid(at, p, "must not start with '..'"))
	}
	return errs
}
