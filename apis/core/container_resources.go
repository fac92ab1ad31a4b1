package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	resourcehelper "k8s.io/component-helpers/resource"
)

// validateRequirements checks requests against limits. claims are the names that
// the pod's resource claims have; partPages lets huge pages be cut.
func validateRequirements(r *corev1.ResourceRequirements, claims map[string]bool, partPages bool, path *field.Path, name func(corev1.ResourceName, *field.Path) field.ErrorList) (errs field.ErrorList) {
	limits, requests := path.Child("limits"), path.Child("requests")
	compute, huge := false, false
	check := func(list corev1.ResourceList, at *field.Path) func(corev1.ResourceName) {
		return func(n corev1.ResourceName) {
			q, key := list[n], at.Key(string(n))
			errs = append(errs, name(n, key)...)
			errs = append(errs, validateResourceQuantity(n, q, key)...)
			if isHugePages(n) {
				huge = true
				if !partPages && !wholePages(n, q) {
					errs = append(errs, field.Invalid(key, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), n)))
				}
			}
			compute = compute || n == corev1.ResourceCPU || n == corev1.ResourceMemory
		}
	}
	limit := check(r.Limits, limits)
	for _, n := range sortedResources(r.Limits) {
		limit(n)
	}
	request := check(r.Requests, requests)
	for _, n := range sortedResources(r.Requests) {
		request(n)
		q := r.Requests[n]
		switch most, limited := r.Limits[n]; {
		case limited && !isOvercommittable(n) && q.Cmp(most) != 0:
			errs = append(errs, field.Invalid(requests, q.String(), fmt.Sprintf("must be equal to %s limit of %s", n, most.String())))
		case limited && q.Cmp(most) > 0:
			errs = append(errs, field.Invalid(requests, q.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", n, most.String())))
		case !limited && !isOvercommittable(n):
			errs = append(errs, field.Required(limits, "Limit must be set for non overcommitable resources"))
		}
	}
	if huge && !compute {
		errs = append(errs, field.Forbidden(path, "HugePages require cpu or memory"))
	}
	return append(errs, validateClaimNames(r.Claims, claims, path.Child("claims"))...)
}

// wholePages: huge pages come in pages of the size that the name says.
func wholePages(name corev1.ResourceName, q resource.Quantity) bool {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 || size.MilliValue()%1000 != 0 {
		return false
	}
	return q.Value()%size.Value() == 0
}

func validateClaimNames(list []corev1.ResourceClaim, known map[string]bool, path *field.Path) (errs field.ErrorList) {
	seen := map[string]bool{}
	for i, c := range list {
		at := path.Index(i)
		if c.Name == "" {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		switch key := c.Name; {
		case seen[c.Name]:
			errs = append(errs, field.Duplicate(at, c.Name))
		case c.Request != "":
			errs = append(errs, ValidateDNSLabel(c.Request, at.Child("request"))...)
			if key += "/" + c.Request; seen[key] {
				errs = append(errs, field.Duplicate(at, key))
			}
			seen[key] = true
		default: // the whole claim, beside requests of it
			for other := range seen {
				if strings.HasPrefix(other, c.Name+"/") {
					errs = append(errs, field.Duplicate(at, c.Name))
				}
			}
			seen[key] = true
		}
		if !known[c.Name] {
			err := field.NotFound(at, c.Name)
			err.Detail = "must be one of the names in pod.spec.resourceClaims"
			if len(known) == 0 {
				err.Detail += " which is empty"
			} else {
				err.Detail += ": " + strings.Join(sorted(known), ", ")
			}
			errs = append(errs, err)
		}
	}
	return errs
}

// validatePodResources checks resources of the pod as a whole (KEP-2837).
func validatePodResources(s *corev1.PodSpec, claims map[string]bool, partPages bool, path *field.Path) (errs field.ErrorList) {
	if s.OS != nil && s.OS.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(path, "may not be set for a windows pod")}
	}
	if s.Resources.Claims != nil {
		errs = append(errs, field.Forbidden(path.Child("claims"), "claims may not be set for Resources at pod-level"))
	}
	errs = append(errs, validateRequirements(s.Resources, claims, partPages, path, validatePodResourceName)...)
	pod := &corev1.Pod{Spec: *s}
	sum := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for _, n := range sortedResources(sum) {
		if q, set := s.Resources.Requests[n]; set {
			if need := sum[n]; need.Cmp(q) > 0 {
				errs = append(errs, field.Invalid(path.Child("requests").Key(string(n)), q.String(), fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", need.String())))
			}
		}
	}
	sum = resourcehelper.AggregateContainerLimits(pod, resourcehelper.PodResourcesOptions{})
	for _, n := range sortedResources(sum) {
		if q, set := s.Resources.Limits[n]; set && isHugePages(n) {
			if need := sum[n]; need.Cmp(q) > 0 {
				errs = append(errs, field.Invalid(path.Child("limits").Key(string(n)), q.String(), fmt.Sprintf("must be greater than or equal to aggregate container limits of %s", need.String())))
			}
		}
	}
	for i := range s.Containers {
		for _, n := range sortedResources(s.Containers[i].Resources.Limits) {
			if most, set := s.Resources.Limits[n]; set {
				if q := s.Containers[i].Resources.Limits[n]; q.Cmp(most) > 0 {
					errs = append(errs, field.Invalid(path.Child("containers").Index(i).Key(string(n)).Child("limits"), q.String(), fmt.Sprintf("must be less than or equal to pod limits of %s", most.String())))
				}
			}
		}
	}
	return errs
}
