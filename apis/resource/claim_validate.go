package resource

import (
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
)

// requestNames are the names of a claim's requests with those of their subrequests.
type requestNames map[string][]string

func namesOf(d *resourcev1.DeviceClaim) requestNames {
	names := requestNames{}
	for _, r := range d.Requests {
		names[r.Name] = nil
		for _, s := range r.FirstAvailable {
			names[r.Name] = append(names[r.Name], s.Name)
		}
	}
	return names
}

// validateRef checks NAME or NAME/SUBREQUEST.
func (n requestNames) validateRef(ref *string, path *field.Path) (errs field.ErrorList) {
	const wrong = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
	segments := strings.Split(*ref, "/")
	if len(segments) > 2 {
		return field.ErrorList{field.Invalid(path, *ref, wrong)}
	}
	for _, s := range segments {
		errs = append(errs, core.ValidateDNSLabel(s, path)...)
	}
	subrequests, ok := n[segments[0]]
	if !ok || len(segments) == 2 && !slices.Contains(subrequests, segments[1]) {
		errs = append(errs, field.Invalid(path, *ref, wrong))
	}
	return errs
}

func (n requestNames) validateRefs(refs []string, path *field.Path) field.ErrorList {
	return set(refs, resourcev1.DeviceRequestsMaxSize, path, itself, n.validateRef)
}

func validateClaim(d *resourcev1.DeviceClaim, path *field.Path) (errs field.ErrorList) {
	names := namesOf(d)
	errs = append(errs, set(d.Requests, resourcev1.DeviceRequestsMaxSize, path.Child("requests"),
		func(r *resourcev1.DeviceRequest) string { return r.Name }, validateRequest)...)
	errs = append(errs, list(d.Constraints, resourcev1.DeviceConstraintsMaxSize, path.Child("constraints"),
		func(c *resourcev1.DeviceConstraint, path *field.Path) field.ErrorList {
			errs := names.validateRefs(c.Requests, path.Child("requests"))
			switch {
			case c.MatchAttribute != nil:
				return append(errs, validateFullName(*c.MatchAttribute, path.Child("matchAttribute"))...)
			case c.DistinctAttribute != nil:
				return append(errs, validateFullName(*c.DistinctAttribute, path.Child("distinctAttribute"))...)
			}
			return append(errs, field.Required(path, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`))
		})...)
	return append(errs, list(d.Config, resourcev1.DeviceConfigMaxSize, path.Child("config"),
		func(c *resourcev1.DeviceClaimConfiguration, path *field.Path) field.ErrorList {
			errs := names.validateRefs(c.Requests, path.Child("requests"))
			return append(errs, validateConfiguration(&c.DeviceConfiguration, false, path)...)
		})...)
}

func validateRequest(r *resourcev1.DeviceRequest, path *field.Path) field.ErrorList {
	errs := core.ValidateDNSLabel(r.Name, path.Child("name"))
	switch alternatives, exactly := len(r.FirstAvailable) > 0, r.Exactly != nil; {
	case !alternatives && !exactly:
		errs = append(errs, field.Required(path, "exactly one of `exactly` or `firstAvailable` is required"))
	case alternatives && exactly:
		errs = append(errs, field.Invalid(path, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
	case alternatives:
		errs = append(errs, set(r.FirstAvailable, resourcev1.FirstAvailableDeviceRequestMaxSize, path.Child("firstAvailable"),
			func(s *resourcev1.DeviceSubRequest) string { return s.Name },
			func(s *resourcev1.DeviceSubRequest, path *field.Path) field.ErrorList {
				errs := core.ValidateDNSLabel(s.Name, path.Child("name"))
				return append(errs, validateWish(s.DeviceClassName, s.Selectors, s.AllocationMode, s.Count, s.Tolerations, path)...)
			})...)
	default:
		e := r.Exactly
		errs = append(errs, validateWish(e.DeviceClassName, e.Selectors, e.AllocationMode, e.Count, e.Tolerations, path.Child("exactly"))...)
	}
	return errs
}

// validateWish checks what requests and subrequests have in common.
func validateWish(class string, selectors []resourcev1.DeviceSelector, mode resourcev1.DeviceAllocationMode, count int64, tolerations []resourcev1.DeviceToleration, path *field.Path) (errs field.ErrorList) {
	if at := path.Child("deviceClassName"); class == "" {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, core.ValidateDNSSubdomain(class, at)...)
	}
	errs = append(errs, validateSelectors(selectors, false, path.Child("selectors"))...)
	switch at := path.Child("count"); mode {
	case resourcev1.DeviceAllocationModeAll:
		if count != 0 {
			errs = append(errs, field.Invalid(at, count, fmt.Sprintf("must not be specified when allocationMode is '%s'", mode)))
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if count <= 0 {
			errs = append(errs, field.Invalid(at, count, "must be greater than zero"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("allocationMode"), mode,
			[]resourcev1.DeviceAllocationMode{resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount}))
	}
	return append(errs, list(tolerations, resourcev1.DeviceTolerationsMaxLength, path.Child("tolerations"), validateToleration)...)
}

func effects() []resourcev1.DeviceTaintEffect {
	return []resourcev1.DeviceTaintEffect{resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone}
}

func validateToleration(t *resourcev1.DeviceToleration, path *field.Path) (errs field.ErrorList) {
	if t.Key != "" {
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, path.Child("key"))...)
	}
	switch t.Operator {
	case resourcev1.DeviceTolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be empty for operator `Exists`"))
		}
	case resourcev1.DeviceTolerationOpEqual:
		errs = append(errs, validateLabelValue(t.Value, path.Child("value"))...)
	case "":
		errs = append(errs, field.Required(path.Child("operator"), ""))
	default:
		errs = append(errs, field.NotSupported(path.Child("operator"), t.Operator,
			[]resourcev1.DeviceTolerationOperator{resourcev1.DeviceTolerationOpEqual, resourcev1.DeviceTolerationOpExists}))
	}
	if t.Effect != "" && !slices.Contains(effects(), t.Effect) {
		errs = append(errs, field.NotSupported(path.Child("effect"), t.Effect, effects()))
	}
	return errs
}

// defaultClaim fills how many devices each request is for.
func defaultClaim(d *resourcev1.DeviceClaim) {
	fill := func(mode *resourcev1.DeviceAllocationMode, count *int64) {
		if *mode == "" {
			*mode = resourcev1.DeviceAllocationModeExactCount
		}
		if *mode == resourcev1.DeviceAllocationModeExactCount && *count == 0 {
			*count = 1
		}
	}
	tolerate := func(tolerations []resourcev1.DeviceToleration) {
		for i := range tolerations {
			if tolerations[i].Operator == "" {
				tolerations[i].Operator = resourcev1.DeviceTolerationOpEqual
			}
		}
	}
	for i := range d.Requests {
		if e := d.Requests[i].Exactly; e != nil {
			fill(&e.AllocationMode, &e.Count)
			tolerate(e.Tolerations)
		}
		for j := range d.Requests[i].FirstAvailable {
			s := &d.Requests[i].FirstAvailable[j]
			fill(&s.AllocationMode, &s.Count)
			tolerate(s.Tolerations)
		}
	}
}
