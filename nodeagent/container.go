package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/cri"
	"proa/nodeagent/env"
	"proa/nodeagent/planner"
)

// Waiting reasons of containers that could not be made or started.
const (
	createConfigError = "CreateContainerConfigError"
	createError       = "CreateContainerError"
	runError          = "RunContainerError"
	postStartError    = "PostStartHookError"
)

// startContainer makes and starts one container and runs its postStart hook.
// ctx may be cancelled to end a hook; the runtime's own verbs are not
// interrupted, so that nothing is left half made.
func (a *Agent) startContainer(ctx context.Context, w *worker, pod *v1.Pod, act planner.Action) planner.Result {
	c := containerSpec(pod, act.Container)
	if c == nil {
		return planner.Result{Err: fmt.Errorf("pod has no container %q", act.Container), Reason: createConfigError}
	}
	calls := context.WithoutCancel(ctx)
	fail := func(reason string, err error) planner.Result {
		a.events.container(pod, c.Name, v1.EventTypeWarning, "Failed", "Error: "+err.Error())
		return planner.Result{Err: err, Reason: reason}
	}
	sandbox, err := a.sandboxConfig(pod, 0)
	if err != nil {
		return fail(createConfigError, err)
	}
	config, err := a.containerConfig(ctx, w, pod, c, act)
	if err != nil {
		return fail(createConfigError, err)
	}
	id, err := a.runtime.CreateContainer(calls, act.SandboxID, config, sandbox)
	if err != nil {
		return fail(createError, err)
	}
	a.events.container(pod, c.Name, v1.EventTypeNormal, "Created", "Container created")
	if err := a.runtime.StartContainer(calls, id); err != nil {
		a.events.container(pod, c.Name, v1.EventTypeWarning, "Failed", "Error: "+err.Error())
		r := planner.Result{Err: err, Reason: runError}
		r.Container, _ = a.observer.Container(calls, act.SandboxID, id)
		return r
	}
	a.events.container(pod, c.Name, v1.EventTypeNormal, "Started", "Container started")
	if l := c.Lifecycle; l != nil && l.PostStart != nil {
		if err := a.hook(ctx, pod, c, id, w.podIP(), l.PostStart); err != nil {
			a.events.container(pod, c.Name, v1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
			a.kill(calls, w, pod, planner.Action{Container: c.Name, ID: id, Message: "FailedPostStartHook", Grace: graceOf(pod)})
			r := planner.Result{Err: fmt.Errorf("PostStartHook failed: %w", err), Reason: postStartError}
			r.Container, _ = a.observer.Container(calls, act.SandboxID, id)
			return r
		}
	}
	got, err := a.observer.Container(calls, act.SandboxID, id)
	if err != nil {
		return planner.Result{Err: err, Reason: runError}
	}
	return planner.Result{Container: got}
}

func graceOf(pod *v1.Pod) time.Duration {
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		return time.Duration(max(*g, 1)) * time.Second
	}
	return 30 * time.Second
}

// containerSpec finds a container of any kind in the pod's spec.
func containerSpec(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return (*v1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		}
	}
	return nil
}

// containerConfig makes a container's configuration. Its error's text is fit
// for a waiting message.
func (a *Agent) containerConfig(ctx context.Context, w *worker, pod *v1.Pod, c *v1.Container, act planner.Action) (*runtimeapi.ContainerConfig, error) {
	user, err := w.userOf(ctx, c.Name, act.ImageRef)
	if err != nil {
		return nil, err
	}
	if err := verifyNonRoot(pod, c, user); err != nil {
		return nil, err
	}
	ips := w.podIPs()
	in := env.Inputs{
		PodFields:   env.PodFields{PodIPs: ips, HostIPs: a.hostIPs()},
		Objects:     a.objects,
		Services:    a.services,
		Allocatable: a.allocatable(),
	}
	vars, err := env.Map(ctx, pod, c, in)
	if err != nil {
		return nil, err
	}
	lookup := env.Lookup(vars)
	expand := func(list []string) []string {
		var out []string
		for _, s := range list {
			out = append(out, env.Expand(s, lookup))
		}
		return out
	}
	mounts, err := a.mounts(pod, c, w.mounted(), vars, ips)
	if err != nil {
		return nil, err
	}
	target, err := a.target(w, pod, c)
	if err != nil {
		return nil, err
	}
	sc, err := securityContext(pod, c, user, target, filepath.Join(a.o.RootDir, "seccomp"))
	if err != nil {
		return nil, err
	}
	// The runtime makes the log file, not its directory.
	if err := os.MkdirAll(filepath.Join(a.logDir(pod), c.Name), 0o755); err != nil {
		return nil, err
	}
	out := &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: uint32(act.Attempt)},
		Image:       &runtimeapi.ImageSpec{Image: act.ImageRef, UserSpecifiedImage: c.Image},
		Command:     expand(c.Command),
		Args:        expand(c.Args),
		WorkingDir:  c.WorkingDir,
		Envs:        keyValues(vars),
		Mounts:      mounts,
		Labels:      cri.ContainerLabels(pod, c.Name),
		Annotations: cri.ContainerAnnotations(pod, c, act.Attempt),
		LogPath:     filepath.Join(c.Name, fmt.Sprintf("%d.log", act.Attempt)),
		Stdin:       c.Stdin,
		StdinOnce:   c.StdinOnce,
		Tty:         c.TTY,
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources:       containerResources(pod, c, a.memory),
			SecurityContext: sc,
		},
	}
	if l := c.Lifecycle; l != nil && l.StopSignal != nil {
		if v, ok := runtimeapi.Signal_value["SIGNAL_"+string(*l.StopSignal)]; ok {
			out.StopSignal = runtimeapi.Signal(v)
		}
	}
	return out, nil
}

// keyValues lists variables by name, so that one pod always gives one config.
func keyValues(vars map[string]string) []*runtimeapi.KeyValue {
	out := make([]*runtimeapi.KeyValue, 0, len(vars))
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, &runtimeapi.KeyValue{Key: k, Value: []byte(vars[k])})
	}
	return out
}

// target is the id of the container whose processes an ephemeral container sees.
func (a *Agent) target(w *worker, pod *v1.Pod, c *v1.Container) (string, error) {
	for i := range pod.Spec.EphemeralContainers {
		e := &pod.Spec.EphemeralContainers[i]
		if e.Name != c.Name || e.TargetContainerName == "" {
			continue
		}
		got := w.observed().Container(e.TargetContainerName)
		if got == nil {
			return "", fmt.Errorf("unable to find target container %v", e.TargetContainerName)
		}
		return got.ID, nil
	}
	return "", nil
}

// imageUserOf reads whom an image runs as.
func (a *Agent) imageUserOf(ctx context.Context, ref string) (imageUser, error) {
	img, err := a.runtime.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: ref})
	if err != nil {
		return imageUser{}, fmt.Errorf("ImageInspectError: %w", err)
	}
	if img == nil {
		return imageUser{}, errors.New("image " + ref + " vanished before its container was made")
	}
	return userOf(img), nil
}

func userOf(img *runtimeapi.Image) imageUser {
	if u := img.GetUid(); u != nil {
		v := u.Value
		return imageUser{uid: &v}
	}
	return imageUser{name: strings.TrimSpace(img.GetUsername())}
}
