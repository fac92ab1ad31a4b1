package batch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
)

// validateFailurePolicy checks which failures of pods fail the job (KEP-3329).
func validateFailurePolicy(s *batchv1.JobSpec, path *field.Path) (errs field.ErrorList) {
	rules := s.PodFailurePolicy.Rules
	if len(rules) > 20 {
		errs = append(errs, field.TooMany(path, len(rules), 20))
	}
	for i := range rules {
		errs = append(errs, validateFailureRule(s, &rules[i], path.Index(i))...)
	}
	return errs
}

func validateFailureRule(s *batchv1.JobSpec, r *batchv1.PodFailurePolicyRule, path *field.Path) (errs field.ErrorList) {
	actions := []batchv1.PodFailurePolicyAction{batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex,
		batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore}
	switch {
	case r.Action == "":
		errs = append(errs, field.Required(path.Child("action"), fmt.Sprintf("valid values: %q", actions)))
	case r.Action == batchv1.PodFailurePolicyActionFailIndex:
		if s.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Invalid(path.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set"))
		}
	case !slices.Contains(actions, r.Action):
		errs = append(errs, field.NotSupported(path.Child("action"), r.Action, actions))
	}
	if r.OnExitCodes != nil {
		errs = append(errs, validateExitCodes(s, r.OnExitCodes, path.Child("onExitCodes"))...)
	}
	conditions := path.Child("onPodConditions")
	if len(r.OnPodConditions) > 20 {
		errs = append(errs, field.TooMany(conditions, len(r.OnPodConditions), 20))
	}
	for i, c := range r.OnPodConditions {
		at, states := conditions.Index(i), []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown}
		errs = append(errs, core.ValidateQualifiedName(string(c.Type), at.Child("type"))...)
		if c.Status == "" {
			errs = append(errs, field.Required(at.Child("status"), fmt.Sprintf("valid values: %q", states)))
		} else if !slices.Contains(states, c.Status) {
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, states))
		}
	}
	switch codes, conds := r.OnExitCodes != nil, len(r.OnPodConditions) > 0; {
	case codes && conds:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
	case !codes && !conds:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
	}
	return errs
}

func validateExitCodes(s *batchv1.JobSpec, r *batchv1.PodFailurePolicyOnExitCodesRequirement, path *field.Path) (errs field.ErrorList) {
	operators := []batchv1.PodFailurePolicyOnExitCodesOperator{batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn}
	if r.Operator == "" {
		errs = append(errs, field.Required(path.Child("operator"), fmt.Sprintf("valid values: %q", operators)))
	} else if !slices.Contains(operators, r.Operator) {
		errs = append(errs, field.NotSupported(path.Child("operator"), r.Operator, operators))
	}
	named := func(c corev1.Container) bool { return c.Name == *r.ContainerName }
	if r.ContainerName != nil && !slices.ContainsFunc(s.Template.Spec.Containers, named) && !slices.ContainsFunc(s.Template.Spec.InitContainers, named) {
		errs = append(errs, field.Invalid(path.Child("containerName"), *r.ContainerName, "must be one of the container or initContainer names in the pod template"))
	}
	values := path.Child("values")
	switch n := len(r.Values); {
	case n == 0:
		errs = append(errs, field.Invalid(values, r.Values, "at least one value is required"))
	case n > 255:
		errs = append(errs, field.TooMany(values, n, 255))
	}
	for i, v := range r.Values {
		if r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && v == 0 {
			errs = append(errs, field.Invalid(values.Index(i), v, "must not be 0 for the In operator"))
		}
		if slices.Contains(r.Values[:i], v) {
			errs = append(errs, field.Duplicate(values.Index(i), v))
		}
	}
	if !slices.IsSorted(r.Values) {
		errs = append(errs, field.Invalid(values, r.Values, "must be ordered"))
	}
	return errs
}

// validateSuccessPolicy checks which indexes' success completes the job (KEP-3998).
func validateSuccessPolicy(s *batchv1.JobSpec, path *field.Path) (errs field.ErrorList) {
	rules := s.SuccessPolicy.Rules
	if len(rules) == 0 {
		errs = append(errs, field.Required(path, "at least one rules must be specified when the successPolicy is specified"))
	}
	if len(rules) > 20 {
		errs = append(errs, field.TooMany(path, len(rules), 20))
	}
	var completions int32
	if s.Completions != nil {
		completions = *s.Completions
	}
	for i, r := range rules {
		at := path.Index(i)
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			errs = append(errs, field.Required(at, "at least one of succeededCount or succeededIndexes must be specified"))
		}
		var indexes int32
		if text := r.SucceededIndexes; text != nil {
			if len(*text) > 64*1024 {
				errs = append(errs, field.TooLong(at.Child("succeededIndexes"), "", 64*1024))
			}
			var err error
			if indexes, err = countIndexes(*text, completions); err != nil {
				errs = append(errs, field.Invalid(at.Child("succeededIndexes"), *text, fmt.Sprintf("error parsing succeededIndexes: %s", err)))
			}
		}
		if n := r.SucceededCount; n != nil {
			count := at.Child("succeededCount")
			errs = append(errs, core.ValidateNonnegative(int64(*n), count)...)
			if *n > completions {
				errs = append(errs, field.Invalid(count, *n, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions)))
			}
			if r.SucceededIndexes != nil && *n > indexes {
				errs = append(errs, field.Invalid(count, *n, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", indexes)))
			}
		}
	}
	return errs
}

// countIndexes reads a list of increasing intervals ("1,3-5") below completions.
func countIndexes(text string, completions int32) (total int32, err error) {
	if text == "" {
		return 0, nil
	}
	last, any := int32(0), false
	for _, part := range strings.Split(text, ",") {
		from, to, err := parseInterval(part, completions)
		if err != nil {
			return 0, err
		}
		if any && from <= last {
			return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", last, from)
		}
		total += to - from + 1
		last, any = to, true
	}
	return total, nil
}

// parseInterval reads "3" or "3-5", both ends included.
func parseInterval(text string, completions int32) (from, to int32, err error) {
	number := func(s string) (int32, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, fmt.Errorf("cannot convert string to integer for index: %q", s)
		}
		if n >= int(completions) {
			return 0, fmt.Errorf("too large index: %q", s)
		}
		return int32(n), nil
	}
	ends := strings.Split(text, "-")
	if len(ends) > 2 {
		return 0, 0, fmt.Errorf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", text)
	}
	if from, err = number(ends[0]); err != nil || len(ends) == 1 {
		return from, from, err
	}
	if to, err = number(ends[1]); err != nil {
		return 0, 0, err
	}
	if from >= to {
		return 0, 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", from, to)
	}
	return from, to, nil
}

// commonIndex finds an index that is in both lists; intervals that cannot be read
// are passed over.
func commonIndex(a, b string, completions int32) (int32, bool) {
	type interval struct{ from, to int32 }
	read := func(text string) (list []interval) {
		for _, part := range strings.Split(text, ",") {
			if from, to, err := parseInterval(part, completions); err == nil {
				list = append(list, interval{from, to})
			}
		}
		return list
	}
	if a == "" || b == "" {
		return 0, false
	}
	x, y := read(a), read(b)
	for len(x) > 0 && len(y) > 0 {
		if x[0].from <= y[0].to && y[0].from <= x[0].to {
			return max(x[0].from, y[0].from), true
		}
		if x[0].from <= y[0].from {
			x = x[1:]
		} else {
			y = y[1:]
		}
	}
	return 0, false
}
