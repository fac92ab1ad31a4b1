package core

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestSpend(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	condition := func(reason, message string) []metav1.Condition {
		return []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: reason, Message: message}}
	}
	for name, c := range map[string]struct {
		status policyv1.PodDisruptionBudgetStatus
		code   int32
		cause  string
	}{
		"allowed":     {status: policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, DisruptionsAllowed: 1}},
		"unsettled":   {policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, DisruptionsAllowed: 1}, 429, "The disruption budget b is still being processed by the server."},
		"negative":    {policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, DisruptionsAllowed: -1}, 403, ""},
		"too few":     {policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, DesiredHealthy: 2, CurrentHealthy: 1}, 429, "The disruption budget b needs 2 healthy pods and has 1 currently"},
		"failed sync": {policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, Conditions: condition(policyv1.SyncFailedReason, "m")}, 429, "The disruption budget b does not allow evicting pods currently because it failed sync: m"},
		"condition":   {policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, CurrentHealthy: 1, Conditions: condition("R", "m")}, 429, "The disruption budget b does not allow evicting pods currently (R): m"},
		"no reason":   {policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, CurrentHealthy: 1}, 429, "The disruption budget b does not allow evicting pods currently"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "b", Generation: 2}, Status: c.status}
			err := spend(b, "p", now)
			if c.code == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if b.Status.DisruptionsAllowed != 0 || !b.Status.DisruptedPods["p"].Time.Equal(now) || b.Status.Conditions[0].Reason != policyv1.InsufficientPodsReason {
					t.Errorf("status %+v", b.Status)
				}
				return
			}
			status, ok := err.(apierrors.APIStatus)
			if !ok || status.Status().Code != c.code {
				t.Fatalf("error %v, want code %d", err, c.code)
			}
			if c.cause == "" {
				return
			}
			if causes := status.Status().Details.Causes; len(causes) != 1 || causes[0].Type != policyv1.DisruptionBudgetCause || causes[0].Message != c.cause {
				t.Errorf("causes %+v, want %q", causes, c.cause)
			}
		})
	}
}

func TestSpares(t *testing.T) {
	ready := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	b := &policyv1.PodDisruptionBudget{Status: policyv1.PodDisruptionBudgetStatus{CurrentHealthy: 1, DesiredHealthy: 1}}
	short := b.DeepCopy()
	short.Status.CurrentHealthy = 0
	always := short.DeepCopy()
	always.Spec.UnhealthyPodEvictionPolicy = ptr.To(policyv1.AlwaysAllow)
	for name, c := range map[string]struct {
		budget *policyv1.PodDisruptionBudget
		pod    *corev1.Pod
		want   bool
	}{
		"healthy":                     {b, ready, false},
		"unhealthy, application well": {b, &corev1.Pod{}, true},
		"unhealthy, too few":          {short, &corev1.Pod{}, false},
		"unhealthy, always allowed":   {always, &corev1.Pod{}, true},
	} {
		if got := spares(c.budget, c.pod); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBudgetsFor(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}}
	selecting := func(name string, s *metav1.LabelSelector) policyv1.PodDisruptionBudget {
		return policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: s}}
	}
	got := budgetsFor(pod, []policyv1.PodDisruptionBudget{
		selecting("none", nil),
		selecting("all", &metav1.LabelSelector{}),
		selecting("web", &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}),
		selecting("db", &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}),
		selecting("bad", &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "?"}}}),
	})
	if len(got) != 2 || got[0].Name != "all" || got[1].Name != "web" {
		t.Errorf("got %v", got)
	}
}
