package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"os"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/klog/v2"

	"proa/nodeagent/planner"
)

// setupVolumes mounts the pod's volumes.
func (a *Agent) setupVolumes(ctx context.Context, w *worker, pod *v1.Pod, _ planner.Action) planner.Result {
	mounted, err := a.volumes.Setup(ctx, pod)
	if err != nil {
		if ctx.Err() == nil {
			var agg utilerrors.Aggregate
			if errors.As(err, &agg) {
				for _, e := range agg.Errors() {
					a.events.pod(pod, v1.EventTypeWarning, "FailedMount", e.Error())
				}
			} else {
				a.events.pod(pod, v1.EventTypeWarning, "FailedMount", err.Error())
			}
		}
		return planner.Result{Err: err}
	}
	w.setMounted(mounted)
	return planner.Result{}
}

func (a *Agent) teardownVolumes(ctx context.Context, w *worker, pod *v1.Pod, _ planner.Action) planner.Result {
	w.setMounted(nil)
	return planner.Result{Err: a.volumes.Teardown(context.WithoutCancel(ctx), pod.UID)}
}

// stopSandbox ends the sandbox's processes and takes its network down.
func (a *Agent) stopSandbox(ctx context.Context, _ *worker, pod *v1.Pod, act planner.Action) planner.Result {
	err := a.runtime.StopPodSandbox(context.WithoutCancel(ctx), act.ID)
	if err != nil {
		a.events.pod(pod, v1.EventTypeWarning, "FailedKillPod", fmt.Sprintf("error killing pod: failed to \"KillPodSandbox\" for %q with KillPodSandboxError: %q", pod.UID, err.Error()))
	}
	return planner.Result{Err: err}
}

func (a *Agent) removeSandbox(ctx context.Context, _ *worker, _ *v1.Pod, act planner.Action) planner.Result {
	return planner.Result{Err: a.runtime.RemovePodSandbox(context.WithoutCancel(ctx), act.ID)}
}

// removeContainer removes a dead container and its log.
func (a *Agent) removeContainer(ctx context.Context, w *worker, _ *v1.Pod, act planner.Action) planner.Result {
	log := ""
	for _, c := range w.observed().Containers {
		if c.ID == act.ID {
			log = c.LogPath
		}
	}
	if err := a.runtime.RemoveContainer(context.WithoutCancel(ctx), act.ID); err != nil {
		return planner.Result{Err: err}
	}
	if log != "" {
		if err := os.Remove(log); err != nil && !os.IsNotExist(err) {
			klog.FromContext(ctx).Info("Cannot remove a dead container's log", "path", log, "err", err)
		}
	}
	return planner.Result{}
}

// cleanup removes the last traces: cgroup, directory, logs.
func (a *Agent) cleanup(ctx context.Context, _ *worker, pod *v1.Pod, _ planner.Action) planner.Result {
	var errs []error
	if a.cgroups != nil {
		errs = append(errs, a.cgroups.Remove(ctx, pod.UID))
	}
	if pod.UID != "" {
		errs = append(errs, os.RemoveAll(a.podDir(pod)), os.RemoveAll(a.logDir(pod)))
	}
	return planner.Result{Err: errors.Join(errs...)}
}

// deletePod removes the pod from the API once its last status is written.
func (a *Agent) deletePod(ctx context.Context, w *worker, pod *v1.Pod, _ planner.Action) planner.Result {
	if err := w.writer.flush(ctx); err != nil {
		return planner.Result{Err: err}
	}
	zero := int64(0)
	err := a.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &zero, Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	// Another pod of that name, or none: this one is gone.
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		err = nil
	}
	return planner.Result{Err: err}
}
