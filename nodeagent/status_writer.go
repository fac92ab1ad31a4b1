package nodeagent

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/nodeagent/status"
)

// statusWriter is the one writer of one pod's status. The latest status wins:
// those made while a write is under way are written as one.
type statusWriter struct {
	client kubernetes.Interface
	clock  clock.Clock

	mu      sync.Mutex
	pod     *v1.Pod // the newest known, from the watch or from our own writes
	pending *v1.PodStatus
	running bool
	idle    chan struct{} // closed when nothing is pending
	gone    bool
}

// saw tells the writer of the pod as the watch has it.
func (w *statusWriter) saw(pod *v1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pod == nil || newer(pod, w.pod) {
		w.pod = pod
	}
}

// newer compares resource versions, which are numbers in this API.
func newer(a, b *v1.Pod) bool {
	if len(a.ResourceVersion) != len(b.ResourceVersion) {
		return len(a.ResourceVersion) > len(b.ResourceVersion)
	}
	return a.ResourceVersion >= b.ResourceVersion
}

// write queues a status; it returns at once.
func (w *statusWriter) write(ctx context.Context, s *v1.PodStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return
	}
	w.pending = s
	if !w.running {
		w.running, w.idle = true, make(chan struct{})
		go w.loop(ctx)
	}
}

// flush waits until everything queued is written or the pod is gone.
func (w *statusWriter) flush(ctx context.Context) error {
	w.mu.Lock()
	idle, running := w.idle, w.running
	w.mu.Unlock()
	if !running {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends all writing: the pod is gone.
func (w *statusWriter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone, w.pending = true, nil
}

func (w *statusWriter) loop(ctx context.Context) {
	delay := 100 * time.Millisecond
	for {
		w.mu.Lock()
		s, pod := w.pending, w.pod
		if s == nil || w.gone || ctx.Err() != nil {
			w.running = false
			close(w.idle)
			w.mu.Unlock()
			return
		}
		w.pending = nil
		w.mu.Unlock()

		got, err := w.put(ctx, pod, s)
		switch {
		case err == nil:
			delay = 100 * time.Millisecond
			w.saw(got)
			continue
		case apierrors.IsNotFound(err):
			w.stop()
			continue
		case apierrors.IsConflict(err):
			fresh, gerr := w.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(gerr) || gerr == nil && fresh.UID != pod.UID {
				w.stop()
				continue
			}
			if gerr == nil {
				w.saw(fresh)
				w.retry(s)
				continue
			}
			err = gerr
		}
		klog.FromContext(ctx).V(1).Info("Cannot write a pod's status; trying again", "pod", klog.KObj(pod), "after", delay, "err", err)
		w.retry(s)
		t := w.clock.NewTimer(delay)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
		}
		delay = min(2*delay, 5*time.Second)
	}
}

// retry puts a status back unless a newer one is waiting.
func (w *statusWriter) retry(s *v1.PodStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending == nil && !w.gone {
		w.pending = s
	}
}

// put writes the status over the newest pod, other writers' conditions kept.
func (w *statusWriter) put(ctx context.Context, pod *v1.Pod, s *v1.PodStatus) (*v1.Pod, error) {
	next := &v1.Pod{TypeMeta: pod.TypeMeta, ObjectMeta: pod.ObjectMeta, Spec: pod.Spec, Status: *s}
	next.Status.Conditions = nil
	for _, c := range pod.Status.Conditions {
		if !status.Owned(c.Type) {
			next.Status.Conditions = append(next.Status.Conditions, c)
		}
	}
	for _, c := range s.Conditions {
		if status.Owned(c.Type) {
			next.Status.Conditions = append(next.Status.Conditions, c)
		}
	}
	return w.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
}
