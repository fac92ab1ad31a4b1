package autoscaling

import (
	"errors"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
)

const (
	maxPeriodSeconds = 1800
	maxWindowSeconds = 3600
)

// refRules says which API versions a reference may have.
type refRules struct{ anyVersion, noGroup bool }

// checker validates an autoscaler's spec; what the old one had may stay.
type checker struct {
	fewest          int32
	target, objects refRules
}

func checkerFor(a, old autoscaler) *checker {
	c := &checker{fewest: 1, objects: refRules{noGroup: true}}
	if old == nil {
		c.target.noGroup = a.Spec.ScaleTargetRef.Kind == "ReplicationController"
		return c
	}
	if n := old.Spec.MinReplicas; n != nil && *n == 0 {
		c.fewest = 0
	}
	if was, now := old.Spec.ScaleTargetRef, a.Spec.ScaleTargetRef; was.APIVersion == now.APIVersion && was.Kind == now.Kind {
		c.target.anyVersion = true
	} else {
		c.target.noGroup = now.Kind == "ReplicationController"
	}
	for _, m := range old.Spec.Metrics {
		if m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil && c.objects.check(m.Object.DescribedObject.APIVersion) != nil {
			c.objects.anyVersion = true
			break
		}
	}
	return c
}

func (r refRules) check(apiVersion string) error {
	if r.anyVersion {
		return nil
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err == nil && !r.noGroup && gv.Group == "" {
		return errors.New("apiVersion must specify API group")
	}
	return err
}

func (c *checker) check(s *autoscalingv2.HorizontalPodAutoscalerSpec) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	if n := s.MinReplicas; n != nil && *n < c.fewest {
		errs = append(errs, field.Invalid(spec.Child("minReplicas"), *n, fmt.Sprintf("must be greater than or equal to %d", c.fewest)))
	}
	most := spec.Child("maxReplicas")
	switch {
	case s.MaxReplicas == 0:
		errs = append(errs, field.Required(most, "must be set and greater than 0"))
	case s.MaxReplicas < 0:
		errs = append(errs, field.Invalid(most, s.MaxReplicas, "must be greater than or equal to 1"))
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		errs = append(errs, field.Invalid(most, s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	errs = append(errs, validateReference(s.ScaleTargetRef, c.target, spec.Child("scaleTargetRef"))...)
	metrics, outside := spec.Child("metrics"), false
	for i := range s.Metrics {
		errs = append(errs, c.metric(&s.Metrics[i], metrics.Index(i))...)
		outside = outside || s.Metrics[i].Type == autoscalingv2.ObjectMetricSourceType || s.Metrics[i].Type == autoscalingv2.ExternalMetricSourceType
	}
	if s.MinReplicas != nil && *s.MinReplicas == 0 && !outside {
		errs = append(errs, field.Forbidden(metrics, "must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	if b := s.Behavior; b != nil {
		errs = append(errs, validateRules(b.ScaleUp, spec.Child("behavior", "scaleUp"))...)
		errs = append(errs, validateRules(b.ScaleDown, spec.Child("behavior", "scaleDown"))...)
	}
	return errs
}

func validateReference(r autoscalingv2.CrossVersionObjectReference, rules refRules, path *field.Path) field.ErrorList {
	errs := requiredSegment(r.Kind, "", path.Child("kind"))
	errs = append(errs, requiredSegment(r.Name, "", path.Child("name"))...)
	if err := rules.check(r.APIVersion); err != nil {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), r.APIVersion, err.Error()))
	}
	return errs
}

func requiredSegment(value, missing string, path *field.Path) (errs field.ErrorList) {
	if value == "" {
		return field.ErrorList{field.Required(path, missing)}
	}
	for _, msg := range content.IsPathSegmentName(value) {
		errs = append(errs, field.Invalid(path, value, msg))
	}
	return errs
}

func validateRules(r *autoscalingv2.HPAScalingRules, path *field.Path) (errs field.ErrorList) {
	if r == nil {
		return nil
	}
	if n := r.StabilizationWindowSeconds; n != nil {
		at := path.Child("stabilizationWindowSeconds")
		if *n < 0 {
			errs = append(errs, field.Invalid(at, *n, "must be greater than or equal to zero"))
		}
		if *n > maxWindowSeconds {
			errs = append(errs, field.Invalid(at, *n, fmt.Sprintf("must be less than or equal to %v", maxWindowSeconds)))
		}
	}
	selects := []autoscalingv2.ScalingPolicySelect{autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect}
	if r.SelectPolicy != nil && !slices.Contains(selects, *r.SelectPolicy) {
		errs = append(errs, field.NotSupported(path.Child("selectPolicy"), *r.SelectPolicy, selects))
	}
	policies := path.Child("policies")
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(policies, "must specify at least one Policy"))
	}
	for i, p := range r.Policies {
		at := policies.Index(i)
		if p.Type != autoscalingv2.PodsScalingPolicy && p.Type != autoscalingv2.PercentScalingPolicy {
			errs = append(errs, field.NotSupported(at.Child("type"), p.Type, []autoscalingv2.HPAScalingPolicyType{autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy}))
		}
		errs = append(errs, core.ValidatePositive(int64(p.Value), at.Child("value"))...)
		errs = append(errs, core.ValidatePositive(int64(p.PeriodSeconds), at.Child("periodSeconds"))...)
		if p.PeriodSeconds > maxPeriodSeconds {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, fmt.Sprintf("must be less than or equal to %v", maxPeriodSeconds)))
		}
	}
	if r.Tolerance != nil {
		errs = append(errs, core.ValidateNonnegativeQuantity(*r.Tolerance, path.Child("tolerance"))...)
	}
	return errs
}
