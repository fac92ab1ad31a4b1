package apps

import (
	"fmt"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Reasons of a deployment's conditions.
const (
	reasonReplicaSetUpdated   = "ReplicaSetUpdated"
	reasonReplicaSetFailed    = "ReplicaSetCreateError"
	reasonNewReplicaSet       = "NewReplicaSetCreated"
	reasonFoundNewReplicaSet  = "FoundNewReplicaSet"
	reasonReplicaSetAvailable = "NewReplicaSetAvailable"
	reasonTimedOut            = "ProgressDeadlineExceeded"
	reasonPaused              = "DeploymentPaused"
	reasonResumed             = "DeploymentResumed"
	reasonMinAvailable        = "MinimumReplicasAvailable"
	reasonMinUnavailable      = "MinimumReplicasUnavailable"
)

// hasDeadline reports whether lack of progress shall be reported.
func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func deploymentCondition(t appsv1.DeploymentConditionType, s corev1.ConditionStatus, reason, message string, now time.Time) appsv1.DeploymentCondition {
	at := metav1.NewTime(now)
	return appsv1.DeploymentCondition{Type: t, Status: s, Reason: reason, Message: message, LastUpdateTime: at, LastTransitionTime: at}
}

func getCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

// setCondition replaces the condition of the type unless status and reason are
// the same; the transition time moves only with the status.
func setCondition(s *appsv1.DeploymentStatus, c appsv1.DeploymentCondition) {
	if old := getCondition(s, c.Type); old != nil {
		if old.Status == c.Status && old.Reason == c.Reason {
			return
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	removeCondition(s, c.Type)
	s.Conditions = append(s.Conditions, c)
}

func removeCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	var kept []appsv1.DeploymentCondition
	for _, c := range s.Conditions {
		if c.Type != t {
			kept = append(kept, c)
		}
	}
	s.Conditions = kept
}

// pausedCondition sets the Progressing condition when a deployment is paused or
// resumed, so that the time spent paused does not count against the deadline.
func pausedCondition(d *appsv1.Deployment, status *appsv1.DeploymentStatus, now time.Time) {
	if !hasDeadline(d) {
		return
	}
	c := getCondition(status, appsv1.DeploymentProgressing)
	if c != nil && c.Reason == reasonTimedOut {
		return
	}
	paused := c != nil && c.Reason == reasonPaused
	switch {
	case d.Spec.Paused && !paused:
		setCondition(status, deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused, "Deployment is paused", now))
	case !d.Spec.Paused && paused:
		setCondition(status, deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonResumed, "Deployment is resumed", now))
	}
}

// deploymentStatus counts the ReplicaSets' replicas and judges availability.
// conditions are those to start from.
func deploymentStatus(d *appsv1.Deployment, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet, now time.Time) appsv1.DeploymentStatus {
	all := old
	if newRS != nil {
		all = append(append([]*appsv1.ReplicaSet(nil), old...), newRS)
	}
	available := totalAvailable(all)
	status := appsv1.DeploymentStatus{
		ObservedGeneration:  d.Generation,
		Replicas:            sum(all, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.Replicas }),
		ReadyReplicas:       sum(all, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.ReadyReplicas }),
		AvailableReplicas:   available,
		UnavailableReplicas: max(0, totalSize(all)-available),
		TerminatingReplicas: terminatingReplicas(all),
		CollisionCount:      d.Status.CollisionCount,
		Conditions:          append([]appsv1.DeploymentCondition(nil), d.Status.Conditions...),
	}
	if newRS != nil {
		status.UpdatedReplicas = newRS.Status.Replicas
	}
	if available >= desired(d)-maxUnavailable(d) {
		setCondition(&status, deploymentCondition(appsv1.DeploymentAvailable, corev1.ConditionTrue, reasonMinAvailable, "Deployment has minimum availability.", now))
	} else {
		setCondition(&status, deploymentCondition(appsv1.DeploymentAvailable, corev1.ConditionFalse, reasonMinUnavailable, "Deployment does not have minimum availability.", now))
	}
	return status
}

// terminatingReplicas sums up, or is nil if some ReplicaSet does not tell.
func terminatingReplicas(sets []*appsv1.ReplicaSet) *int32 {
	total := int32(0)
	for _, rs := range sets {
		switch {
		case rs.Status.TerminatingReplicas != nil:
			total += *rs.Status.TerminatingReplicas
		case rs.Status.ObservedGeneration != 0:
			return nil
		}
	}
	return &total
}

// rolloutStatus is deploymentStatus with the Progressing and ReplicaFailure
// conditions judged. before is the status as last written, for comparison.
func rolloutStatus(d *appsv1.Deployment, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet, before *appsv1.DeploymentStatus, now time.Time) appsv1.DeploymentStatus {
	status := deploymentStatus(d, newRS, old, now)
	if !hasDeadline(d) {
		removeCondition(&status, appsv1.DeploymentProgressing)
	}
	subject := fmt.Sprintf("Deployment %q", d.Name)
	if newRS != nil {
		subject = fmt.Sprintf("ReplicaSet %q", newRS.Name)
	}
	current := getCondition(&d.Status, appsv1.DeploymentProgressing)
	finished := status.Replicas == status.UpdatedReplicas && current != nil && current.Reason == reasonReplicaSetAvailable
	if hasDeadline(d) && !finished {
		switch {
		case complete(d, &status):
			setCondition(&status, deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonReplicaSetAvailable, subject+" has successfully progressed.", now))
		case progressed(before, &status):
			c := deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonReplicaSetUpdated, subject+" is progressing.", now)
			// With the same reason too: lastUpdateTime is what the deadline counts from.
			if current != nil {
				if current.Status == corev1.ConditionTrue {
					c.LastTransitionTime = current.LastTransitionTime
				}
				removeCondition(&status, appsv1.DeploymentProgressing)
			}
			setCondition(&status, c)
		case timedOut(d, &status, now):
			setCondition(&status, deploymentCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonTimedOut, subject+" has timed out progressing.", now))
		}
	}
	if c := replicaFailure(newRS, old); c != nil {
		setCondition(&status, *c)
	} else {
		removeCondition(&status, appsv1.DeploymentReplicaFailure)
	}
	return status
}

// complete reports whether all replicas are updated and available and no old ones are left.
func complete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	return s.UpdatedReplicas == desired(d) && s.Replicas == desired(d) &&
		s.AvailableReplicas == desired(d) && s.ObservedGeneration >= d.Generation
}

// progressed reports whether new replicas came, became ready or available, or old ones went.
func progressed(before, s *appsv1.DeploymentStatus) bool {
	return s.UpdatedReplicas > before.UpdatedReplicas ||
		s.Replicas-s.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		s.ReadyReplicas > before.ReadyReplicas ||
		s.AvailableReplicas > before.AvailableReplicas
}

func timedOut(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) bool {
	c := getCondition(s, appsv1.DeploymentProgressing)
	if c == nil || c.Reason == reasonReplicaSetAvailable {
		return false
	}
	return c.Reason == reasonTimedOut || c.LastUpdateTime.Add(deadline(d)).Before(now)
}

func deadline(d *appsv1.Deployment) time.Duration {
	return time.Duration(ptr.Deref(d.Spec.ProgressDeadlineSeconds, 0)) * time.Second
}

// checkProgressIn is how long until a rollout without progress has timed out;
// 0 if there is nothing to wait for.
func checkProgressIn(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) time.Duration {
	c := getCondition(s, appsv1.DeploymentProgressing)
	if !hasDeadline(d) || c == nil || complete(d, s) || c.Reason == reasonTimedOut {
		return 0
	}
	// A second more, because times in conditions are whole seconds.
	return max(time.Second, c.LastUpdateTime.Add(deadline(d)).Sub(now)+time.Second)
}

// replicaFailure is a ReplicaSet's failure as a condition of the deployment,
// the new ReplicaSet's before others'.
func replicaFailure(newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) *appsv1.DeploymentCondition {
	for _, rs := range append([]*appsv1.ReplicaSet{newRS}, old...) {
		if rs == nil {
			continue
		}
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				return &appsv1.DeploymentCondition{
					Type:               appsv1.DeploymentReplicaFailure,
					Status:             c.Status,
					LastUpdateTime:     c.LastTransitionTime,
					LastTransitionTime: c.LastTransitionTime,
					Reason:             c.Reason,
					Message:            c.Message,
				}
			}
		}
	}
	return nil
}
