package scheduler

import (
	"context"
	"encoding/json"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// maxNote is the largest note of an Event that the API takes, in bytes.
const maxNote = 1024

// reportFailure tells users why no node took the pod.
func (s *Scheduler) reportFailure(ctx context.Context, a *attempt) {
	s.mu.Lock()
	// The pod as it is now: the report must not undo what others wrote meanwhile.
	pod, ok := s.core.pending[a.item.Pod.UID]
	s.mu.Unlock()
	if !ok {
		return // gone or bound
	}
	message := a.fit.Error()
	klog.FromContext(ctx).V(2).Info("Unable to schedule pod; no fit; waiting", "pod", klog.KObj(pod), "err", message)
	s.reportUnscheduled(ctx, pod, v1.PodReasonUnschedulable, message)
}

// reportUnscheduled records the event and the condition PodScheduled=False.
func (s *Scheduler) reportUnscheduled(ctx context.Context, pod *v1.Pod, reason, message string) {
	s.recorder.Eventf(pod, nil, v1.EventTypeWarning, "FailedScheduling", "Scheduling", "%s", shorten(message))
	patch, needed := conditionPatch(pod, reason, message, metav1.NewTime(s.options.Clock.Now()))
	if !needed {
		return
	}
	_, err := s.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		klog.FromContext(ctx).Error(err, "Error updating pod", "pod", klog.KObj(pod))
	}
}

// conditionPatch returns the strategic merge patch of the pod's status, and
// false if the pod says the same already.
func conditionPatch(pod *v1.Pod, reason, message string, now metav1.Time) ([]byte, bool) {
	condition := v1.PodCondition{
		Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: reason, Message: message,
		ObservedGeneration: pod.Generation, LastTransitionTime: now,
	}
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != condition.Type {
			continue
		}
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
			if old.Reason == reason && old.Message == message && old.ObservedGeneration == condition.ObservedGeneration {
				return nil, false
			}
		}
	}
	// The UID makes the patch miss a pod of the same name made since.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   map[string]any{"conditions": []v1.PodCondition{condition}},
	})
	return patch, err == nil
}

func shorten(message string) string {
	const end = " ..."
	if len(message) <= maxNote {
		return message
	}
	return message[:maxNote-len(end)] + end
}
