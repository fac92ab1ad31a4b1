package core

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/apps/poddisruptionbudget"
)

// maxDisrupted is how many announced evictions a budget's controller may be
// behind with.
const maxDisrupted = 2000

// beyondBudget tells that a pod needs no budget: it does not run, or ends already.
func beyondBudget(p *corev1.Pod) bool {
	return finished(p) || p.Status.Phase == corev1.PodPending || !p.DeletionTimestamp.IsZero()
}

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// budgetsFor picks the budgets that select the pod.
func budgetsFor(p *corev1.Pod, all []policyv1.PodDisruptionBudget) (list []*policyv1.PodDisruptionBudget) {
	for i := range all {
		s, err := metav1.LabelSelectorAsSelector(all[i].Spec.Selector)
		if err == nil && s.Matches(labels.Set(p.Labels)) {
			list = append(list, &all[i])
		}
	}
	return list
}

// spares tells that evicting the pod, being unhealthy, costs the budget nothing
// (KEP-3017).
func spares(b *policyv1.PodDisruptionBudget, p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	if policy := b.Spec.UnhealthyPodEvictionPolicy; policy != nil && *policy == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

// spend takes one disruption from the budget's status and announces the pod's
// eviction there to the budget's controller, or tells why the budget forbids it.
func spend(b *policyv1.PodDisruptionBudget, pod string, now time.Time) error {
	s := &b.Status
	forbidden := func(msg string) error {
		return apierrors.NewForbidden(policyv1.Resource("poddisruptionbudget"), b.Name, errors.New(msg))
	}
	switch {
	case s.ObservedGeneration < b.Generation:
		return budgetUnsettled(b.Name)
	case s.DisruptionsAllowed < 0:
		return forbidden("pdb disruptions allowed is negative")
	case len(s.DisruptedPods) > maxDisrupted:
		return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller")
	case s.DisruptionsAllowed == 0:
		return budgetError(0, budgetReason(b))
	}
	s.DisruptionsAllowed--
	if s.DisruptionsAllowed == 0 {
		poddisruptionbudget.UpdateDisruptionAllowedCondition(b)
	}
	if s.DisruptedPods == nil {
		s.DisruptedPods = map[string]metav1.Time{}
	}
	s.DisruptedPods[pod] = metav1.Time{Time: now}
	return nil
}

// budgetReason tells why a budget allows no disruption. Its counts mean nothing
// when its controller failed.
func budgetReason(b *policyv1.PodDisruptionBudget) string {
	c := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition)
	told := c != nil && c.Status == metav1.ConditionFalse && c.Message != ""
	switch {
	case told && c.Reason == policyv1.SyncFailedReason:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %s", b.Name, c.Message)
	case b.Status.CurrentHealthy <= b.Status.DesiredHealthy:
		return fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy)
	case told:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently (%s): %s", b.Name, c.Reason, c.Message)
	}
	return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently", b.Name)
}

// budgetUnsettled asks to try again when the budget's controller has caught up.
func budgetUnsettled(name string) error {
	return budgetError(10, fmt.Sprintf("The disruption budget %s is still being processed by the server.", name))
}

// budgetError is the 429 that eviction clients wait for; retry is in seconds.
func budgetError(retry int, cause string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retry)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: cause})
	return err
}
