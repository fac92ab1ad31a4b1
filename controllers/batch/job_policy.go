package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// verdict is what the pod failure policy says of a failed pod.
type verdict struct {
	// failJob is the message with which the job fails; empty: it does not.
	failJob string
	// counted: the failure counts towards the backoff limits.
	counted bool
	// failIndex: the pod's index fails at once.
	failIndex bool
}

// judge applies the first rule that matches; without a match a failure counts (KEP-3329).
func judge(policy *batchv1.PodFailurePolicy, p *corev1.Pod) verdict {
	if policy == nil {
		return verdict{counted: true}
	}
	for i := range policy.Rules {
		rule := &policy.Rules[i]
		why := ""
		if rule.OnExitCodes != nil {
			c := containerWithExitCode(&p.Status, rule.OnExitCodes)
			if c == nil {
				continue
			}
			why = fmt.Sprintf("Container %s for pod %s/%s failed with exit code %v", c.Name, p.Namespace, p.Name, c.State.Terminated.ExitCode)
		} else {
			c := matchingCondition(&p.Status, rule.OnPodConditions)
			if c == nil {
				continue
			}
			why = fmt.Sprintf("Pod %s/%s has condition %v", p.Namespace, p.Name, c.Type)
		}
		switch rule.Action {
		case batchv1.PodFailurePolicyActionIgnore:
			return verdict{}
		case batchv1.PodFailurePolicyActionFailIndex:
			return verdict{counted: true, failIndex: true}
		case batchv1.PodFailurePolicyActionCount:
			return verdict{counted: true}
		case batchv1.PodFailurePolicyActionFailJob:
			return verdict{counted: true, failJob: fmt.Sprintf("%s matching %v rule at index %d", why, rule.Action, i)}
		}
	}
	return verdict{counted: true}
}

func containerWithExitCode(s *corev1.PodStatus, want *batchv1.PodFailurePolicyOnExitCodesRequirement) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses} {
		for i := range list {
			c := &list[i]
			if c.State.Terminated == nil || c.State.Terminated.ExitCode == 0 || (want.ContainerName != nil && *want.ContainerName != c.Name) {
				continue
			}
			in := slices.Contains(want.Values, c.State.Terminated.ExitCode)
			if (want.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && in) || (want.Operator == batchv1.PodFailurePolicyOnExitCodesOpNotIn && !in) {
				return c
			}
		}
	}
	return nil
}

func matchingCondition(s *corev1.PodStatus, patterns []batchv1.PodFailurePolicyOnPodConditionsPattern) *corev1.PodCondition {
	for i := range s.Conditions {
		for _, p := range patterns {
			if s.Conditions[i].Type == p.Type && s.Conditions[i].Status == p.Status {
				return &s.Conditions[i]
			}
		}
	}
	return nil
}

// succeededByPolicy reports whether the succeeded indexes meet a rule of the
// success policy, and the message that names it (KEP-3998).
func succeededByPolicy(policy *batchv1.SuccessPolicy, completions int, succeeded intervals) (string, bool) {
	if policy == nil || len(succeeded) == 0 {
		return "", false
	}
	for i, rule := range policy.Rules {
		met := false
		switch {
		case rule.SucceededIndexes != nil:
			required := parseIntervals(*rule.SucceededIndexes, completions)
			if len(required) == 0 {
				continue
			}
			n := required.overlap(succeeded)
			met = n == required.total() || (rule.SucceededCount != nil && n >= int(*rule.SucceededCount))
		case rule.SucceededCount != nil:
			met = succeeded.total() >= int(*rule.SucceededCount)
		}
		if met {
			return fmt.Sprintf("Matched rules at index %d", i), true
		}
	}
	return "", false
}
