package autoscaling

import (
	"encoding/json"
	"fmt"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

// What v1 has no fields for travels in annotations, in upstream's form.
const (
	metricsAnnotation       = "autoscaling.alpha.kubernetes.io/metrics"
	metricStatusAnnotation  = "autoscaling.alpha.kubernetes.io/current-metrics"
	conditionsAnnotation    = "autoscaling.alpha.kubernetes.io/conditions"
	behaviorAnnotation      = "autoscaling.alpha.kubernetes.io/behavior"
	toleranceDownAnnotation = "autoscaling.alpha.kubernetes.io/scale-down-tolerance"
	toleranceUpAnnotation   = "autoscaling.alpha.kubernetes.io/scale-up-tolerance"
)

// AddConversions lets the scheme convert between v2, which is stored, and v1,
// and default v1.
func AddConversions(scheme *runtime.Scheme) error {
	scheme.AddTypeDefaultingFunc(&autoscalingv1.HorizontalPodAutoscaler{}, func(o any) { defaultV1(o.(*autoscalingv1.HorizontalPodAutoscaler)) })
	scheme.AddTypeDefaultingFunc(&autoscalingv1.HorizontalPodAutoscalerList{}, func(o any) {
		l := o.(*autoscalingv1.HorizontalPodAutoscalerList)
		for i := range l.Items {
			defaultV1(&l.Items[i])
		}
	})
	add := func(from, to any, convert conversion.ConversionFunc) func() error {
		return func() error { return scheme.AddConversionFunc(from, to, convert) }
	}
	for _, register := range []func() error{
		add((*autoscalingv2.HorizontalPodAutoscaler)(nil), (*autoscalingv1.HorizontalPodAutoscaler)(nil), func(a, b any, _ conversion.Scope) error {
			return toV1(a.(autoscaler), b.(*autoscalingv1.HorizontalPodAutoscaler))
		}),
		add((*autoscalingv1.HorizontalPodAutoscaler)(nil), (*autoscalingv2.HorizontalPodAutoscaler)(nil), func(a, b any, _ conversion.Scope) error {
			fromV1(a.(*autoscalingv1.HorizontalPodAutoscaler), b.(autoscaler))
			return nil
		}),
		add((*autoscalingv2.HorizontalPodAutoscalerList)(nil), (*autoscalingv1.HorizontalPodAutoscalerList)(nil), func(a, b any, _ conversion.Scope) error {
			in, out := a.(*autoscalingv2.HorizontalPodAutoscalerList), b.(*autoscalingv1.HorizontalPodAutoscalerList)
			out.ListMeta = in.ListMeta
			out.Items = make([]autoscalingv1.HorizontalPodAutoscaler, len(in.Items))
			for i := range in.Items {
				if err := toV1(&in.Items[i], &out.Items[i]); err != nil {
					return err
				}
			}
			return nil
		}),
		add((*autoscalingv1.HorizontalPodAutoscalerList)(nil), (*autoscalingv2.HorizontalPodAutoscalerList)(nil), func(a, b any, _ conversion.Scope) error {
			in, out := a.(*autoscalingv1.HorizontalPodAutoscalerList), b.(*autoscalingv2.HorizontalPodAutoscalerList)
			out.ListMeta = in.ListMeta
			out.Items = make([]autoscalingv2.HorizontalPodAutoscaler, len(in.Items))
			for i := range in.Items {
				fromV1(&in.Items[i], &out.Items[i])
			}
			return nil
		}),
	} {
		if err := register(); err != nil {
			return fmt.Errorf("register conversion of autoscalers: %w", err)
		}
	}
	return nil
}

func defaultV1(a *autoscalingv1.HorizontalPodAutoscaler) {
	if a.Spec.MinReplicas == nil {
		a.Spec.MinReplicas = ptr.To[int32](1)
	}
}

// withoutRoundTrip leaves out the annotations that only v1 has.
func withoutRoundTrip(in map[string]string) map[string]string {
	out, copied := in, false
	for _, name := range []string{metricsAnnotation, metricStatusAnnotation, conditionsAnnotation, behaviorAnnotation, toleranceDownAnnotation, toleranceUpAnnotation} {
		if _, has := in[name]; !has {
			continue
		}
		if !copied {
			out, copied = maps.Clone(in), true
		}
		delete(out, name)
	}
	return out
}

func isCPU(m *autoscalingv2.MetricSpec) bool {
	return m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil && m.Resource.Name == corev1.ResourceCPU && m.Resource.Target.AverageUtilization != nil
}

// toV1 fills out with in. Parts are shared, not copied, as the scheme's
// conversions do.
func toV1(in autoscaler, out *autoscalingv1.HorizontalPodAutoscaler) error {
	out.ObjectMeta = in.ObjectMeta
	out.Annotations = maps.Clone(withoutRoundTrip(in.Annotations))
	out.Spec = autoscalingv1.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    in.Spec.MinReplicas,
		MaxReplicas:    in.Spec.MaxReplicas,
	}
	out.Status = autoscalingv1.HorizontalPodAutoscalerStatus{
		ObservedGeneration: in.Status.ObservedGeneration,
		LastScaleTime:      in.Status.LastScaleTime,
		CurrentReplicas:    in.Status.CurrentReplicas,
		DesiredReplicas:    in.Status.DesiredReplicas,
	}
	var others []autoscalingv1.MetricSpec
	for i := range in.Spec.Metrics {
		m := &in.Spec.Metrics[i]
		if !isCPU(m) {
			others = append(others, metricToV1(m))
		} else if out.Spec.TargetCPUUtilizationPercentage == nil {
			out.Spec.TargetCPUUtilizationPercentage = ptr.To(*m.Resource.Target.AverageUtilization)
		}
	}
	current := make([]autoscalingv1.MetricStatus, len(in.Status.CurrentMetrics))
	for i := range in.Status.CurrentMetrics {
		m := &in.Status.CurrentMetrics[i]
		current[i] = metricStatusToV1(m)
		if m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil && m.Resource.Name == corev1.ResourceCPU && m.Resource.Current.AverageUtilization != nil {
			out.Status.CurrentCPUUtilizationPercentage = ptr.To(*m.Resource.Current.AverageUtilization)
		}
	}
	conditions := make([]autoscalingv1.HorizontalPodAutoscalerCondition, len(in.Status.Conditions))
	for i, c := range in.Status.Conditions {
		conditions[i] = autoscalingv1.HorizontalPodAutoscalerCondition{Type: autoscalingv1.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message, ObservedGeneration: c.ObservedGeneration}
	}
	annotate := func(wanted bool, name string, value any) error {
		if !wanted {
			return nil
		}
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("annotation %s of autoscaler %s: %w", name, in.Name, err)
		}
		if out.Annotations == nil {
			out.Annotations = map[string]string{}
		}
		out.Annotations[name] = string(text)
		return nil
	}
	if err := annotate(len(others) > 0, metricsAnnotation, others); err != nil {
		return err
	}
	if err := annotate(len(current) > 0, metricStatusAnnotation, current); err != nil {
		return err
	}
	if err := annotate(in.Spec.Behavior != nil, behaviorAnnotation, behaviorToText(in.Spec.Behavior)); err != nil {
		return err
	}
	return annotate(len(conditions) > 0, conditionsAnnotation, conditions)
}

// fromV1 is the reverse of toV1. An annotation that cannot be read is dropped.
func fromV1(in *autoscalingv1.HorizontalPodAutoscaler, out autoscaler) {
	out.ObjectMeta = in.ObjectMeta
	out.Annotations = withoutRoundTrip(in.Annotations)
	out.Spec = autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    in.Spec.MinReplicas,
		MaxReplicas:    in.Spec.MaxReplicas,
	}
	out.Status = autoscalingv2.HorizontalPodAutoscalerStatus{
		ObservedGeneration: in.Status.ObservedGeneration,
		LastScaleTime:      in.Status.LastScaleTime,
		CurrentReplicas:    in.Status.CurrentReplicas,
		DesiredReplicas:    in.Status.DesiredReplicas,
	}
	read := func(name string, into any) bool {
		text, has := in.Annotations[name]
		return has && json.Unmarshal([]byte(text), into) == nil
	}
	var others []autoscalingv1.MetricSpec
	if read(metricsAnnotation, &others) {
		for i := range others {
			out.Spec.Metrics = append(out.Spec.Metrics, metricFromV1(&others[i]))
		}
	}
	if n := in.Spec.TargetCPUUtilizationPercentage; n != nil {
		out.Spec.Metrics = append(out.Spec.Metrics, cpuMetric(*n))
	}
	// v1 had this default in the controller; here all metrics are known.
	if len(out.Spec.Metrics) == 0 {
		out.Spec.Metrics = []autoscalingv2.MetricSpec{cpuMetric(defaultCPUUtilization)}
	}
	var behavior behaviorText
	if read(behaviorAnnotation, &behavior) {
		out.Spec.Behavior = behavior.behavior()
	}
	var current []autoscalingv1.MetricStatus
	if read(metricStatusAnnotation, &current) {
		out.Status.CurrentMetrics = make([]autoscalingv2.MetricStatus, len(current))
		for i := range current {
			out.Status.CurrentMetrics[i] = metricStatusFromV1(&current[i])
		}
	} else if n := in.Status.CurrentCPUUtilizationPercentage; n != nil {
		out.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricStatus{Name: corev1.ResourceCPU, Current: autoscalingv2.MetricValueStatus{AverageUtilization: ptr.To(*n)}}}}
	}
	var conditions []autoscalingv1.HorizontalPodAutoscalerCondition
	if read(conditionsAnnotation, &conditions) {
		out.Status.Conditions = make([]autoscalingv2.HorizontalPodAutoscalerCondition, len(conditions))
		for i, c := range conditions {
			out.Status.Conditions[i] = autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
				LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message, ObservedGeneration: c.ObservedGeneration}
		}
	}
}

// behaviorText is the form of the behavior annotation: upstream writes its
// internal type, whose fields have no JSON names.
type behaviorText struct{ ScaleUp, ScaleDown *rulesText }

type rulesText struct {
	StabilizationWindowSeconds *int32
	SelectPolicy               *autoscalingv2.ScalingPolicySelect
	Policies                   []policyText
	Tolerance                  *resource.Quantity
}

type policyText struct {
	Type          autoscalingv2.HPAScalingPolicyType
	Value         int32
	PeriodSeconds int32
}

func behaviorToText(b *autoscalingv2.HorizontalPodAutoscalerBehavior) *behaviorText {
	if b == nil {
		return nil
	}
	rules := func(r *autoscalingv2.HPAScalingRules) *rulesText {
		if r == nil {
			return nil
		}
		t := &rulesText{r.StabilizationWindowSeconds, r.SelectPolicy, nil, r.Tolerance}
		for _, p := range r.Policies {
			t.Policies = append(t.Policies, policyText{p.Type, p.Value, p.PeriodSeconds})
		}
		return t
	}
	return &behaviorText{rules(b.ScaleUp), rules(b.ScaleDown)}
}

func (b behaviorText) behavior() *autoscalingv2.HorizontalPodAutoscalerBehavior {
	if b == (behaviorText{}) {
		return nil
	}
	rules := func(t *rulesText) *autoscalingv2.HPAScalingRules {
		if t == nil {
			return nil
		}
		r := &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: t.StabilizationWindowSeconds, SelectPolicy: t.SelectPolicy, Tolerance: t.Tolerance}
		for _, p := range t.Policies {
			r.Policies = append(r.Policies, autoscalingv2.HPAScalingPolicy{Type: p.Type, Value: p.Value, PeriodSeconds: p.PeriodSeconds})
		}
		return r
	}
	return &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules(b.ScaleUp), ScaleDown: rules(b.ScaleDown)}
}
