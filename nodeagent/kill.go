package nodeagent

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"proa/nodeagent/planner"
)

// minimumStop is what a container gets after a preStop hook that used up the
// grace period.
const minimumStop = 2 * time.Second

// kill runs a container's preStop hook and stops it. ctx may be cancelled to
// make way for a kill with a shorter grace period; the runtime's stop goes on.
func (a *Agent) kill(ctx context.Context, w *worker, pod *v1.Pod, act planner.Action) planner.Result {
	a.events.container(pod, act.Container, v1.EventTypeNormal, "Killing", act.Message)
	grace := act.Grace
	c := containerSpec(pod, act.Container)
	if c != nil && c.Lifecycle != nil && c.Lifecycle.PreStop != nil && grace > 0 {
		start := a.o.Clock.Now()
		hctx, cancel := context.WithTimeout(ctx, grace)
		err := a.hook(hctx, pod, c, act.ID, w.podIP(), c.Lifecycle.PreStop)
		cancel()
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("PreStop hook failed", "container", act.Container, "err", err)
			a.events.container(pod, act.Container, v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
		}
		grace = max(grace-a.o.Clock.Since(start), minimumStop)
	}
	if ctx.Err() != nil {
		return planner.Result{Err: fmt.Errorf("superseded: %w", ctx.Err())}
	}
	calls := context.WithoutCancel(ctx)
	if err := a.runtime.StopContainer(calls, act.ID, grace); err != nil {
		return planner.Result{Err: err}
	}
	got, err := a.observer.Container(calls, w.sandboxOf(act.ID), act.ID)
	if err != nil {
		return planner.Result{Err: err}
	}
	return planner.Result{Container: got}
}
