package batch

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"proa/controllers/control"
)

const (
	podFailureBackoff    = 10 * time.Second
	maxPodFailureBackoff = 10 * time.Minute
)

// backoff is how a job's pods failed since the last success.
type backoff struct {
	failures int32
	last     time.Time
}

// remaining is how long no new pod may be made: 10 s after the first failure,
// doubled with each further one, at most 10 minutes.
func (b backoff) remaining(now time.Time) time.Duration {
	if b.failures == 0 {
		return 0
	}
	wait := podFailureBackoff
	for i := int32(1); i < b.failures && wait < maxPodFailureBackoff; i++ {
		wait *= 2
	}
	return max(0, min(wait, maxPodFailureBackoff)-now.Sub(b.last))
}

// after is the backoff once these pods have finished too: only failures later
// than the last success count.
func (b backoff) after(succeeded, failed []*corev1.Pod) backoff {
	if len(succeeded) > 0 {
		last := latest(succeeded)
		b = backoff{}
		var later []*corev1.Pod
		for _, p := range failed {
			if finishedAt(p).After(last) {
				later = append(later, p)
			}
		}
		failed = later
	}
	if len(failed) == 0 {
		return b
	}
	return backoff{failures: b.failures + int32(len(failed)), last: latest(failed)}
}

func latest(pods []*corev1.Pod) time.Time {
	var t time.Time
	for _, p := range pods {
		if f := finishedAt(p); f.After(t) {
			t = f
		}
	}
	return t
}

// finishedAt is when the pod finished: when its last container did, else when
// it stopped being ready, else when its deletion began, else its creation.
func finishedAt(p *corev1.Pod) time.Time {
	if t, ok := lastContainerFinish(p); ok {
		return t
	}
	if c := control.PodCondition(p, corev1.PodReady); c != nil && c.Status == corev1.ConditionFalse && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	if p.DeletionTimestamp != nil {
		return p.DeletionTimestamp.Add(-time.Duration(ptr.Deref(p.DeletionGracePeriodSeconds, 0)) * time.Second)
	}
	return p.CreationTimestamp.Time
}

func lastContainerFinish(p *corev1.Pod) (time.Time, bool) {
	statuses := append([]corev1.ContainerStatus(nil), p.Status.ContainerStatuses...)
	for i := range p.Spec.InitContainers {
		// Sidecars finish after the others.
		if c := &p.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			for j := range p.Status.InitContainerStatuses {
				if p.Status.InitContainerStatuses[j].Name == c.Name {
					statuses = append(statuses, p.Status.InitContainerStatuses[j])
				}
			}
		}
	}
	var last time.Time
	for i := range statuses {
		t := statuses[i].State.Terminated
		if t == nil || t.FinishedAt.IsZero() {
			return time.Time{}, false
		}
		if t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	return last, len(statuses) > 0
}

// jobMemory is what the controller remembers of jobs between reconciliations:
// backoffs, and pods whose finalizer it took off and which the cache may still
// show with it. Safe for concurrent use.
type jobMemory struct {
	mu       sync.Mutex
	backoffs map[types.NamespacedName]backoff
	released map[types.NamespacedName]map[types.UID]bool
}

func newJobMemory() *jobMemory {
	return &jobMemory{backoffs: map[types.NamespacedName]backoff{}, released: map[types.NamespacedName]map[types.UID]bool{}}
}

func (m *jobMemory) backoff(key types.NamespacedName) backoff {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.backoffs[key]
}

func (m *jobMemory) setBackoff(key types.NamespacedName, b backoff) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b == (backoff{}) {
		delete(m.backoffs, key)
	} else {
		m.backoffs[key] = b
	}
}

func (m *jobMemory) forgetBackoff(key types.NamespacedName) { m.setBackoff(key, backoff{}) }

func (m *jobMemory) forget(key types.NamespacedName) {
	m.forgetBackoff(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.released, key)
}

// release notes that the pod's finalizer is about to be taken off.
func (m *jobMemory) release(key types.NamespacedName, uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.released[key] == nil {
		m.released[key] = map[types.UID]bool{}
	}
	m.released[key][uid] = true
}

// releaseObserved forgets the pod: the cache shows it without the finalizer, or not at all.
func (m *jobMemory) releaseObserved(key types.NamespacedName, uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.released[key], uid)
	if len(m.released[key]) == 0 {
		delete(m.released, key)
	}
}

// releasedPods is a copy of what was released and not yet observed.
func (m *jobMemory) releasedPods(key types.NamespacedName) map[types.UID]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[types.UID]bool{}
	for uid := range m.released[key] {
		out[uid] = true
	}
	return out
}
