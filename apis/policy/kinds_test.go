package policy

import (
	"testing"

	policyv1 "k8s.io/api/policy/v1"

	"proa/apis/kind/kindtest"
)

func TestPodDisruptionBudget(t *testing.T) {
	kindtest.Run(t, PodDisruptionBudget(), "testdata/poddisruptionbudget")
}

func TestBudgetStatus(t *testing.T) {
	good := policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: 1, CurrentHealthy: 2, DesiredHealthy: 1, ExpectedPods: 2}
	if errs := validateBudgetStatus(&good); len(errs) > 0 {
		t.Errorf("refused: %v", errs)
	}
	bad := policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: -1, CurrentHealthy: -1, DesiredHealthy: -1, ExpectedPods: -1}
	if errs := validateBudgetStatus(&bad); len(errs) != 4 {
		t.Errorf("want 4 causes, got %v", errs)
	}
}
