package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateClaimStatuses: each claim of the spec has at most one status (KEP-4381).
func validateClaimStatuses(list []corev1.PodResourceClaimStatus, claims []corev1.PodResourceClaim, path *field.Path) (errs field.ErrorList) {
	seen := map[string]bool{}
	for i, s := range list {
		at := path.Index(i)
		if !slices.ContainsFunc(claims, func(c corev1.PodResourceClaim) bool { return c.Name == s.Name }) {
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, "must match the name of an entry in `spec.resourceClaims`"))
		}
		if seen[s.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), s.Name))
		}
		seen[s.Name] = true
		if n := s.ResourceClaimName; n != nil {
			errs = append(errs, invalidEach(at.Child("resourceClaimName"), n, apivalidation.NameIsDNSSubdomain(*n, false))...)
		}
	}
	return errs
}

// validateExtendedClaim checks the claim made for extended resources (KEP-5004).
func validateExtendedClaim(s *corev1.PodExtendedResourceClaimStatus, spec *corev1.PodSpec, path *field.Path) (errs field.ErrorList) {
	if s == nil {
		return nil
	}
	requests := map[string]corev1.ResourceList{}
	for _, l := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range l {
			requests[l[i].Name] = l[i].Resources.Requests
		}
	}
	mappings := path.Child("requestMappings")
	if len(s.RequestMappings) == 0 {
		errs = append(errs, field.Required(mappings, "at least one request mapping is required"))
	}
	seen := map[corev1.ContainerExtendedResourceRequest]bool{}
	for i, m := range s.RequestMappings {
		at := mappings.Index(i)
		if list, ok := requests[m.ContainerName]; !ok {
			errs = append(errs, field.Invalid(at.Child("containerName"), m.ContainerName, "must match the name of an entry in spec.initContainers.name or spec.containers.name"))
		} else if _, ok := list[corev1.ResourceName(m.ResourceName)]; !ok {
			errs = append(errs, field.Invalid(at.Child("resourceName"), m.ResourceName, "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests"))
		}
		errs = append(errs, ValidateDNSLabel(m.RequestName, path.Child("requestName"))...)
		if seen[m] {
			errs = append(errs, field.Duplicate(at.Child("containerName"), m.ContainerName),
				field.Duplicate(at.Child("resourceName"), m.ResourceName), field.Duplicate(at.Child("requestName"), m.RequestName))
		}
		seen[m] = true
	}
	if s.ResourceClaimName == "" {
		return append(errs, field.Required(path.Child("resourceClaimName"), ""))
	}
	return append(errs, invalidEach(path.Child("resourceClaimName"), s.ResourceClaimName, apivalidation.NameIsDNSSubdomain(s.ResourceClaimName, false))...)
}

// validateContainerStatuses checks users and devices that containers got.
func validateContainerStatuses(p *corev1.Pod, path *field.Path) (errs field.ErrorList) {
	s := &p.Status
	lists := []struct {
		name       string
		statuses   []corev1.ContainerStatus
		containers []corev1.Container
	}{
		{"containerStatuses", s.ContainerStatuses, p.Spec.Containers},
		{"initContainerStatuses", s.InitContainerStatuses, p.Spec.InitContainers},
		{"ephemeralContainerStatuses", s.EphemeralContainerStatuses, nil},
	}
	os := corev1.Linux
	if p.Spec.OS != nil {
		os = p.Spec.OS.Name
	}
	for _, l := range lists {
		for i := range l.statuses {
			if u := l.statuses[i].User; u != nil && u.Linux != nil {
				errs = append(errs, validateLinuxUser(u.Linux, os, path.Child(l.name).Index(i).Child("user", "linux"))...)
			}
		}
	}
	for _, l := range lists {
		for i := range l.statuses {
			at := path.Child(l.name).Index(i).Child("allocatedResourcesStatus")
			if l.name == "ephemeralContainerStatuses" {
				if len(l.statuses[i].AllocatedResourcesStatus) > 0 {
					errs = append(errs, field.Forbidden(at, "must not be specified in container status"))
				}
				continue
			}
			errs = append(errs, validateAllocated(&l.statuses[i], l.containers, at)...)
		}
	}
	for _, l := range lists {
		for i := range l.statuses {
			for j, m := range l.statuses[i].VolumeMounts {
				if m.VolumeStatus != nil && m.VolumeStatus.Image != nil {
					errs = append(errs, validateImageRef(m.VolumeStatus.Image.ImageRef, path.Child(l.name).Index(i).Child("volumeMounts").Index(j).Child("volumeStatus", "imageVolumeStatus", "imageRef"))...)
				}
			}
		}
	}
	return errs
}

func validateImageRef(ref string, path *field.Path) field.ErrorList {
	switch {
	case ref == "":
		return field.ErrorList{field.Required(path, "imageRef must not be empty")}
	case len(ref) > 256:
		return field.ErrorList{field.TooLong(path, ref, 256)}
	}
	return nil
}

func validateLinuxUser(u *corev1.LinuxContainerUser, os corev1.OSName, path *field.Path) (errs field.ErrorList) {
	switch os {
	case corev1.Windows:
		return field.ErrorList{field.Forbidden(path, "cannot be set for a windows pod")}
	case corev1.Linux:
	default:
		return nil
	}
	errs = append(errs, invalidEach(path.Child("uid"), u.UID, validation.IsValidUserID(u.UID))...)
	errs = append(errs, invalidEach(path.Child("gid"), u.GID, validation.IsValidGroupID(u.GID))...)
	for i, g := range u.SupplementalGroups {
		errs = append(errs, invalidEach(path.Child("supplementalGroups").Index(i), g, validation.IsValidGroupID(g))...)
	}
	return errs
}

// validateAllocated checks the health of devices that a container got (KEP-4680).
func validateAllocated(s *corev1.ContainerStatus, containers []corev1.Container, path *field.Path) (errs field.ErrorList) {
	for j, r := range s.AllocatedResourcesStatus {
		at := path.Index(j)
		// Statuses of containers that are not there were never refused.
		if n := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == s.Name }); n >= 0 {
			if msg := notAskedFor(r.Name, &containers[n].Resources); msg != "" {
				errs = append(errs, field.Invalid(at.Child("name"), r.Name, msg))
			}
		}
		seen := map[corev1.ResourceID]bool{}
		for k, h := range r.Resources {
			device := at.Child("resources").Index(k)
			errs = append(errs, supported(h.Health, device.Child("health"), corev1.ResourceHealthStatusHealthy, corev1.ResourceHealthStatusUnhealthy, corev1.ResourceHealthStatusUnknown)...)
			if m := h.Message; m != nil {
				if *m == "" {
					errs = append(errs, field.Required(device.Child("message"), "must be non-empty if specified"))
				} else if len(*m) > corev1.ResourceHealthMessageMaxLength {
					errs = append(errs, field.TooLong(device.Child("message"), *m, corev1.ResourceHealthMessageMaxLength))
				}
			}
			if seen[h.ResourceID] {
				errs = append(errs, field.Duplicate(device.Child("resourceID"), h.ResourceID))
			}
			seen[h.ResourceID] = true
		}
	}
	return errs
}

// notAskedFor tells why a resource cannot have been allocated to a container;
// empty if it can.
func notAskedFor(name corev1.ResourceName, r *corev1.ResourceRequirements) string {
	if !strings.HasPrefix(string(name), "claim:") {
		if _, ok := r.Requests[name]; !ok {
			return "must match one of the container's resource requests"
		}
		return ""
	}
	for _, c := range r.Claims {
		claim := "claim:" + c.Name
		if c.Request != "" {
			claim = fmt.Sprintf("%s/%s", claim, c.Request)
		}
		if claim == string(name) {
			return ""
		}
	}
	return "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
}
