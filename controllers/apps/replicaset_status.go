package apps

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"proa/controllers/control"
)

// replicaSetStatus is the status of a ReplicaSet given its active pods, the
// number of its terminating pods, and the error of the last attempt to create
// or delete pods.
func replicaSetStatus(rs *appsv1.ReplicaSet, active []*corev1.Pod, terminating int, manageErr error, now time.Time) appsv1.ReplicaSetStatus {
	status := *rs.Status.DeepCopy()
	status.Replicas = int32(len(active))
	status.FullyLabeledReplicas, status.ReadyReplicas, status.AvailableReplicas = 0, 0, 0
	status.TerminatingReplicas = ptr.To(int32(terminating))
	template := labels.SelectorFromSet(rs.Spec.Template.Labels)
	for _, p := range active {
		if template.Matches(labels.Set(p.Labels)) {
			status.FullyLabeledReplicas++
		}
		if control.PodReady(p) {
			status.ReadyReplicas++
			if control.PodAvailable(p, rs.Spec.MinReadySeconds, now) {
				status.AvailableReplicas++
			}
		}
	}
	failed := -1
	for i := range status.Conditions {
		if status.Conditions[i].Type == appsv1.ReplicaSetReplicaFailure {
			failed = i
		}
	}
	switch {
	case manageErr != nil && failed < 0:
		var reason string
		switch diff := len(active) - int(ptr.Deref(rs.Spec.Replicas, 1)); {
		case diff < 0:
			reason = control.FailedCreate
		case diff > 0:
			reason = control.FailedDelete
		}
		status.Conditions = append(status.Conditions, appsv1.ReplicaSetCondition{
			Type:               appsv1.ReplicaSetReplicaFailure,
			Status:             corev1.ConditionTrue,
			LastTransitionTime: metav1.NewTime(now),
			Reason:             reason,
			Message:            manageErr.Error(),
		})
	case manageErr == nil && failed >= 0:
		status.Conditions = append(status.Conditions[:failed:failed], status.Conditions[failed+1:]...)
		if len(status.Conditions) == 0 {
			status.Conditions = nil
		}
	}
	status.ObservedGeneration = rs.Generation
	return status
}
