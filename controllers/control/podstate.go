package control

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodTerminal reports whether the pod has run to its end.
func PodTerminal(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// PodActive reports whether the pod counts as a replica: neither at its end nor being deleted.
func PodActive(p *corev1.Pod) bool { return !PodTerminal(p) && p.DeletionTimestamp == nil }

// PodTerminating reports whether the pod is being deleted and still runs.
func PodTerminating(p *corev1.Pod) bool { return !PodTerminal(p) && p.DeletionTimestamp != nil }

// PodCondition returns the pod's condition of a type, or nil.
func PodCondition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// PodReady reports whether the pod's Ready condition is true.
func PodReady(p *corev1.Pod) bool {
	c := PodCondition(p, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// PodAvailable reports whether the pod has been ready for minReadySeconds.
func PodAvailable(p *corev1.Pod, minReadySeconds int32, now time.Time) bool {
	if !PodReady(p) {
		return false
	}
	if minReadySeconds == 0 {
		return true
	}
	c := PodCondition(p, corev1.PodReady)
	return !c.LastTransitionTime.IsZero() && !c.LastTransitionTime.Add(time.Duration(minReadySeconds)*time.Second).After(now)
}

// NextAvailability returns how long until the first of the ready pods that are
// not available yet becomes so; ok is false if there is none.
func NextAvailability(pods []*corev1.Pod, minReadySeconds int32, now time.Time) (wait time.Duration, ok bool) {
	if minReadySeconds <= 0 {
		return 0, false
	}
	for _, p := range pods {
		if !PodReady(p) || PodAvailable(p, minReadySeconds, now) {
			continue
		}
		c := PodCondition(p, corev1.PodReady)
		if c.LastTransitionTime.IsZero() {
			continue
		}
		w := c.LastTransitionTime.Add(time.Duration(minReadySeconds) * time.Second).Sub(now)
		if !ok || w < wait {
			wait, ok = w, true
		}
	}
	return wait, ok
}

// Filter returns the pods for which keep is true.
func Filter(pods []*corev1.Pod, keep func(*corev1.Pod) bool) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range pods {
		if keep(p) {
			out = append(out, p)
		}
	}
	return out
}

// OwnedBy reports whether owner controls the object.
func OwnedBy(obj, owner metav1.Object) bool {
	ref := metav1.GetControllerOfNoCopy(obj)
	return ref != nil && ref.UID == owner.GetUID()
}
