package autoscaling

import (
	"context"
	"strconv"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

// defaultCPUUtilization is the percentage aimed at where no metric is given.
const defaultCPUUtilization int32 = 80

type autoscaler = *autoscalingv2.HorizontalPodAutoscaler

// HorizontalPodAutoscaler sets the number of an application's pods by metrics.
func HorizontalPodAutoscaler() *kind.Kind[autoscaler] {
	return &kind.Kind[autoscaler]{
		GVK:        autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"),
		Resource:   "horizontalpodautoscalers",
		ShortNames: []string{"hpa"},
		Categories: []string{"all"},
		New:        func() autoscaler { return &autoscalingv2.HorizontalPodAutoscaler{} },
		NewList:    func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscalerList{} },
		Default:    defaultAutoscaler,
		PrepareForCreate: func(_ context.Context, a autoscaler) {
			a.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
			a.Annotations = withoutRoundTrip(a.Annotations)
		},
		PrepareForUpdate: func(_ context.Context, a, old autoscaler) {
			a.Status = old.Status
			a.Annotations = withoutRoundTrip(a.Annotations)
		},
		Validate:             func(_ context.Context, a autoscaler) field.ErrorList { return checkerFor(a, nil).check(&a.Spec) },
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, a, old autoscaler) field.ErrorList {
			return checkerFor(a, old).check(&a.Spec)
		},
		Columns: columns(),
		Status: &kind.Status[autoscaler]{
			Prepare: func(_ context.Context, a, old autoscaler) { a.Spec = old.Spec },
			Validate: func(_ context.Context, a, _ autoscaler) field.ErrorList {
				errs := core.ValidateNonnegative(int64(a.Status.CurrentReplicas), field.NewPath("status", "currentReplicas"))
				return append(errs, core.ValidateNonnegative(int64(a.Status.DesiredReplicas), field.NewPath("status", "desiredReplicas"))...)
			},
		},
	}
}

func defaultAutoscaler(a autoscaler) {
	s := &a.Spec
	if s.MinReplicas == nil {
		s.MinReplicas = ptr.To[int32](1)
	}
	if len(s.Metrics) == 0 {
		s.Metrics = []autoscalingv2.MetricSpec{cpuMetric(defaultCPUUtilization)}
	}
	if b := s.Behavior; b != nil {
		b.ScaleUp = defaultRules(b.ScaleUp, autoscalingv2.HPAScalingRules{
			StabilizationWindowSeconds: ptr.To[int32](0),
			Policies: []autoscalingv2.HPAScalingPolicy{
				{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
				{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15},
			},
		})
		// The window of scaling down is the controller's, where none is given.
		b.ScaleDown = defaultRules(b.ScaleDown, autoscalingv2.HPAScalingRules{
			Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}},
		})
	}
}

func cpuMetric(utilization int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &utilization},
		},
	}
}

// defaultRules fills what given leaves out.
func defaultRules(given *autoscalingv2.HPAScalingRules, rules autoscalingv2.HPAScalingRules) *autoscalingv2.HPAScalingRules {
	rules.SelectPolicy = ptr.To(autoscalingv2.MaxChangePolicySelect)
	if given == nil {
		return &rules
	}
	if given.SelectPolicy != nil {
		rules.SelectPolicy = given.SelectPolicy
	}
	if given.StabilizationWindowSeconds != nil {
		rules.StabilizationWindowSeconds = given.StabilizationWindowSeconds
	}
	if given.Policies != nil {
		rules.Policies = given.Policies
	}
	rules.Tolerance = given.Tolerance
	return &rules
}

func columns() []kind.Column[autoscaler] {
	spec, status := autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc(), autoscalingv2.HorizontalPodAutoscalerStatus{}.SwaggerDoc()
	return []kind.Column[autoscaler]{
		kind.NameColumn[autoscaler](),
		{Name: "Reference", Type: "string", Description: spec["scaleTargetRef"],
			Value: func(a autoscaler) any { return a.Spec.ScaleTargetRef.Kind + "/" + a.Spec.ScaleTargetRef.Name }},
		{Name: "Targets", Type: "string", Description: spec["metrics"],
			Value: func(a autoscaler) any { return formatMetrics(a.Spec.Metrics, a.Status.CurrentMetrics) }},
		{Name: "MinPods", Type: "string", Description: spec["minReplicas"], Value: func(a autoscaler) any {
			if a.Spec.MinReplicas == nil {
				return "<unset>"
			}
			return strconv.Itoa(int(*a.Spec.MinReplicas))
		}},
		{Name: "MaxPods", Type: "string", Description: spec["maxReplicas"], Value: func(a autoscaler) any { return int64(a.Spec.MaxReplicas) }},
		{Name: "Replicas", Type: "string", Description: status["currentReplicas"], Value: func(a autoscaler) any { return int64(a.Status.CurrentReplicas) }},
		kind.AgeColumn[autoscaler](),
	}
}
