package autoscaling

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"proa/apis/kind/kindtest"
)

func TestHorizontalPodAutoscaler(t *testing.T) {
	kindtest.Run(t, HorizontalPodAutoscaler(), "testdata/horizontalpodautoscaler")
}

// full has all that v1 has no fields for.
const full = `
metadata: {name: web, annotations: {mine: yes-please}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 5
  behavior: {scaleUp: {stabilizationWindowSeconds: 3, tolerance: 500m, policies: [{type: Pods, value: 1, periodSeconds: 2}]}}
  metrics:
  - {type: Pods, pods: {metric: {name: p}, target: {type: AverageValue, averageValue: "1"}}}
  - {type: Object, object: {describedObject: {kind: K, name: thing}, metric: {name: o}, target: {type: Value, value: "2"}}}
  - {type: Object, object: {describedObject: {kind: K, name: thing}, metric: {name: o}, target: {type: AverageValue, averageValue: "2"}}}
  - {type: External, external: {metric: {name: e}, target: {type: AverageValue, averageValue: "3"}}}
  - {type: ContainerResource, containerResource: {name: memory, container: c, target: {type: Utilization, averageUtilization: 7}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
status:
  currentReplicas: 2
  desiredReplicas: 3
  currentMetrics:
  - {type: Resource, resource: {name: cpu, current: {averageUtilization: 50, averageValue: 100m}}}
  conditions: [{type: AbleToScale, status: "True", reason: r, message: m}]
`

func TestConversion(t *testing.T) {
	var in, back autoscalingv2.HorizontalPodAutoscaler
	if err := yaml.UnmarshalStrict([]byte(full), &in); err != nil {
		t.Fatal(err)
	}
	before := in.DeepCopy()
	var v1 autoscalingv1.HorizontalPodAutoscaler
	if err := toV1(&in, &v1); err != nil {
		t.Fatal(err)
	}
	if !equality.Semantic.DeepEqual(before, &in) {
		t.Errorf("conversion changed its input: %s", cmp.Diff(before, &in))
	}
	if n := v1.Spec.TargetCPUUtilizationPercentage; n == nil || *n != 60 {
		t.Errorf("targetCPUUtilizationPercentage is %v", n)
	}
	if n := v1.Status.CurrentCPUUtilizationPercentage; n == nil || *n != 50 {
		t.Errorf("currentCPUUtilizationPercentage is %v", n)
	}
	want := `{"ScaleUp":{"StabilizationWindowSeconds":3,"SelectPolicy":null,"Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":2}],"Tolerance":"500m"},"ScaleDown":null}`
	if got := v1.Annotations[behaviorAnnotation]; got != want {
		t.Errorf("behavior annotation\n%s, want\n%s", got, want)
	}
	want = `{"type":"Pods","pods":{"metricName":"p","targetAverageValue":"1"}}`
	if got := v1.Annotations[metricsAnnotation]; len(got) < len(want)+1 || got[1:len(want)+1] != want {
		t.Errorf("metrics annotation %s", got)
	}
	fromV1(&v1, &back)
	if !equality.Semantic.DeepEqual(&in, &back) {
		t.Errorf("there and back (-want +got): %s", cmp.Diff(&in, &back))
	}
}

func TestConversionFromPlainV1(t *testing.T) {
	v1 := autoscalingv1.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{
		metricsAnnotation: "not JSON", behaviorAnnotation: "{}", conditionsAnnotation: "7"}}}
	defaultV1(&v1)
	var out autoscalingv2.HorizontalPodAutoscaler
	fromV1(&v1, &out)
	if len(out.Annotations) > 0 || out.Spec.Behavior != nil || len(out.Status.Conditions) > 0 {
		t.Errorf("unreadable annotations had an effect: %+v", out)
	}
	if len(out.Spec.Metrics) != 1 || *out.Spec.Metrics[0].Resource.Target.AverageUtilization != 80 || *out.Spec.MinReplicas != 1 {
		t.Errorf("defaults: %+v", out.Spec)
	}
}
