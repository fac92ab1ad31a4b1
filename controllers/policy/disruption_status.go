package policy

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/apps/poddisruptionbudget"

	"proa/controllers/control"
)

// deletionTimeout is how long an evicted pod that is not deleted yet counts as
// disrupted. After that the eviction is taken not to have happened.
const deletionTimeout = 2 * time.Minute

// countsByScale reports whether the expected pods are the scales of the pods'
// controllers. With an integer minAvailable they are the pods there are.
func countsByScale(pdb *policyv1.PodDisruptionBudget) bool {
	return pdb.Spec.MaxUnavailable != nil || (pdb.Spec.MinAvailable != nil && pdb.Spec.MinAvailable.Type == intstr.String)
}

// desiredHealthy is how many of the expected pods have to be healthy.
func desiredHealthy(pdb *policyv1.PodDisruptionBudget, expected int32) (int32, error) {
	switch {
	case pdb.Spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(pdb.Spec.MaxUnavailable, int(expected), true)
		return max(0, expected-int32(n)), err
	case pdb.Spec.MinAvailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(pdb.Spec.MinAvailable, int(expected), true)
		return int32(n), err
	}
	return 0, nil
}

// agedDisruptions drops from the announced evictions those of pods that are
// gone or being deleted, and those whose time is over: late are their pods.
// wait is how long until the next is over; 0 if there is none.
func agedDisruptions(announced map[string]metav1.Time, pods []*corev1.Pod, now time.Time) (kept map[string]metav1.Time, late []*corev1.Pod, wait time.Duration) {
	kept = map[string]metav1.Time{}
	for _, p := range pods {
		at, ok := announced[p.Name]
		if !ok || p.DeletionTimestamp != nil {
			continue
		}
		due := at.Add(deletionTimeout)
		if due.Before(now) {
			late = append(late, p)
			continue
		}
		kept[p.Name] = at
		// One moment later, for at the time itself it still counts.
		if w := due.Sub(now) + time.Millisecond; wait == 0 || w < wait {
			wait = w
		}
	}
	return kept, late, wait
}

// countHealthy counts the ready pods that are neither deleted nor about to be.
func countHealthy(pods []*corev1.Pod, disrupted map[string]metav1.Time, now time.Time) int32 {
	n := int32(0)
	for _, p := range pods {
		at, announced := disrupted[p.Name]
		if p.DeletionTimestamp != nil || (announced && at.Add(deletionTimeout).After(now)) {
			continue
		}
		if control.PodReady(p) {
			n++
		}
	}
	return n
}

// budgetStatus is the status with these counts. A budget without expected pods
// allows nothing: its first pods may come before they are counted.
func budgetStatus(pdb *policyv1.PodDisruptionBudget, expected, healthy, desired int32, disrupted map[string]metav1.Time) policyv1.PodDisruptionBudgetStatus {
	allowed := max(0, healthy-desired)
	if expected <= 0 {
		allowed = 0
	}
	next := pdb.DeepCopy()
	if len(disrupted) == 0 {
		disrupted = nil
	}
	next.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: pdb.Generation,
		ExpectedPods:       expected,
		CurrentHealthy:     healthy,
		DesiredHealthy:     desired,
		DisruptionsAllowed: allowed,
		DisruptedPods:      disrupted,
		Conditions:         next.Status.Conditions,
	}
	poddisruptionbudget.UpdateDisruptionAllowedCondition(next)
	return next.Status
}
