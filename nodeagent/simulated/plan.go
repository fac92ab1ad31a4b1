package simulated

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// step is what has to be done next about a pod.
type step uint8

const (
	nothing step = iota
	start        // write a status: Running and Ready
	finish       // write a status: Succeeded
	remove       // delete it from the API: it has terminated
)

// plan says what is next for a pod that was bound at that time (as far as we
// know), and when: a time that is not after now means at once.
func plan(pod *v1.Pod, bound time.Time, latency time.Duration) (step, time.Time) {
	switch {
	case pod.DeletionTimestamp != nil:
		return remove, time.Time{}
	case pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed:
		return nothing, time.Time{}
	case pod.Status.Phase != v1.PodRunning:
		return start, bound.Add(latency)
	}
	if pod.Spec.RestartPolicy == v1.RestartPolicyAlways || pod.Status.StartTime == nil {
		return nothing, time.Time{}
	}
	after, err := time.ParseDuration(pod.Annotations[ExitAnnotation])
	if err != nil {
		return nothing, time.Time{}
	}
	return finish, pod.Status.StartTime.Add(after)
}
