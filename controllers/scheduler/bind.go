package scheduler

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// bind tells the API where the pod goes, and takes the assumption back if it refuses.
func (s *Scheduler) bind(ctx context.Context, a *attempt) {
	pod := a.item.Pod.Object
	start := s.options.Clock.Now()
	err := s.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &v1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: a.node},
	}, metav1.CreateOptions{})
	now := s.options.Clock.Now()
	if err == nil {
		s.mu.Lock()
		s.core.bindDone(a.item)
		s.mu.Unlock()
		klog.FromContext(ctx).V(2).Info("Successfully bound pod to node", "pod", klog.KObj(pod), "node", a.node)
		s.metrics.bound(a, now, now.Sub(start))
		s.recorder.Eventf(pod, nil, v1.EventTypeNormal, "Scheduled", "Binding",
			"Successfully assigned %v/%v to %v", pod.Namespace, pod.Name, a.node)
		return
	}
	again := false
	s.change(func(c *core, _ time.Time) { again = c.bindFailed(now, a.item) })
	s.metrics.failed(now.Sub(start))
	if !again || ctx.Err() != nil || apierrors.IsNotFound(err) {
		klog.FromContext(ctx).V(1).Info("Pod could not be bound and is not tried again", "pod", klog.KObj(pod), "node", a.node, "err", err)
		return
	}
	err = fmt.Errorf("running Bind plugin %q: %w", "DefaultBinder", err)
	klog.FromContext(ctx).Error(err, "Error scheduling pod; retrying", "pod", klog.KObj(pod), "node", a.node)
	s.reportUnscheduled(ctx, pod, v1.PodReasonSchedulerError, err.Error())
}
