package resource

import (
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateRequestPolicy checks how much of a shared device's capacity one may
// ask for; its default must be allowed by it.
func validateRequestPolicy(capacity resource.Quantity, p *resourcev1.CapacityRequestPolicy, path *field.Path) field.ErrorList {
	at := path.Child("default")
	switch {
	case len(p.ValidValues) > 0 && p.ValidRange != nil:
		return field.ErrorList{field.Forbidden(path, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)}
	case len(p.ValidValues) > 0:
		if p.Default == nil {
			return field.ErrorList{field.Required(at, "required when validValues is defined")}
		}
		return validateOptions(*p.Default, capacity, p.ValidValues, path.Child("validValues"))
	case p.ValidRange != nil:
		if p.Default == nil {
			return field.ErrorList{field.Required(at, "required when validRange is defined")}
		}
		return validateRange(*p.Default, capacity, p.ValidRange, path.Child("validRange"))
	}
	return nil
}

const maxOptions = 10

func validateOptions(byDefault, capacity resource.Quantity, options []resource.Quantity, path *field.Path) (errs field.ErrorList) {
	for i := 1; i < len(options); i++ {
		if options[i-1].Cmp(options[i]) > 0 {
			errs = append(errs, field.Invalid(path.Index(i), options[i].String(), "values must be sorted in ascending order"))
		}
	}
	found := false
	errs = append(errs, set(options, maxOptions, path, func(q *resource.Quantity) string { return fmt.Sprint(q.Value()) },
		func(q *resource.Quantity, path *field.Path) field.ErrorList {
			found = found || q.Cmp(byDefault) == 0
			if q.Cmp(capacity) > 0 {
				return field.ErrorList{field.Invalid(path, q.String(), fmt.Sprintf("option is larger than capacity value: %s", capacity.String()))}
			}
			return nil
		})...)
	if !found {
		errs = append(errs, field.Invalid(path, byDefault.String(), "default value is not valid according to the requestPolicy"))
	}
	return errs
}

func validateRange(byDefault, capacity resource.Quantity, r *resourcev1.CapacityRequestPolicyRange, path *field.Path) (errs field.ErrorList) {
	least, most, step := path.Child("min"), path.Child("max"), path.Child("step")
	if r.Min == nil {
		return field.ErrorList{field.Required(least, "required when validRange is defined")}
	}
	if r.Min.Cmp(capacity) > 0 {
		errs = append(errs, field.Invalid(least, r.Min.String(), fmt.Sprintf("min is larger than capacity value: %s", capacity.String())))
	}
	if byDefault.Cmp(*r.Min) < 0 {
		errs = append(errs, field.Invalid(least, byDefault.String(), fmt.Sprintf("default is less than min: %s", r.Min.String())))
	}
	if r.Max != nil {
		if r.Min.Cmp(*r.Max) > 0 {
			errs = append(errs, field.Invalid(most, r.Min.String(), fmt.Sprintf("min is larger than max: %s", r.Max.String())))
		}
		if r.Max.Cmp(capacity) > 0 {
			errs = append(errs, field.Invalid(most, r.Max.String(), fmt.Sprintf("max is larger than capacity value: %s", capacity.String())))
		}
		if byDefault.Cmp(*r.Max) > 0 {
			errs = append(errs, field.Invalid(most, byDefault.String(), fmt.Sprintf("default is more than max: %s", r.Max.String())))
		}
	}
	if r.Step == nil {
		return errs
	}
	first := r.Min.DeepCopy()
	first.Add(*r.Step)
	if first.Cmp(capacity) > 0 {
		errs = append(errs, field.Invalid(step, r.Step.String(), fmt.Sprintf("one step %s is larger than capacity value: %s", first.String(), capacity.String())))
	}
	errs = append(errs, validateStep(byDefault, r, step)...)
	if r.Max != nil {
		errs = append(errs, validateStep(*r.Max, r, step)...)
	}
	return errs
}

func validateStep(q resource.Quantity, r *resourcev1.CapacityRequestPolicyRange, path *field.Path) field.ErrorList {
	step := r.Step.Value()
	if step == 0 || (q.Value()-r.Min.Value())%step != 0 { // nothing is a multiple of no step
		return field.ErrorList{field.Invalid(path, q.String(), fmt.Sprintf("value is not a multiple of a given step (%s) from (%s)", r.Step.String(), r.Min.String()))}
	}
	return nil
}
