// Package fake is a container runtime in memory: pods and containers that do
// what a test says, without processes. It implements cri.Runtime.
package fake

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"proa/nodeagent/cri"
)

// Runtime is the fake. Its fields may be set before use; methods are safe for
// concurrent use.
type Runtime struct {
	// Fail, where set, is asked before each verb ("RunPodSandbox", …) with the
	// pod's or container's name; what it returns is the verb's error.
	Fail func(verb, name string) error
	// OnStart is called when a container starts; it may call Exit in another goroutine.
	OnStart func(id string, c *runtimeapi.ContainerConfig)
	// OnExec answers ExecSync.
	OnExec func(id string, cmd []string) (cri.ExecResult, error)
	// OnPull answers PullImage; nil refuses.
	OnPull func(image string) error

	clock clock.PassiveClock

	mu         sync.Mutex
	calls      []string
	n          int
	sandboxes  map[string]*runtimeapi.PodSandboxStatus
	containers map[string]*container
	images     map[string]*runtimeapi.Image
	watchers   map[chan *runtimeapi.ContainerEventResponse]struct{}
	notReady   bool
}

type container struct {
	status     *runtimeapi.ContainerStatus
	sandbox    string
	config     *runtimeapi.ContainerConfig
	exited     chan struct{}
	ignoreTerm bool
}

var _ cri.Runtime = (*Runtime)(nil)

// New returns a runtime that has the images given.
func New(c clock.PassiveClock, images ...string) *Runtime {
	r := &Runtime{
		clock: c, sandboxes: map[string]*runtimeapi.PodSandboxStatus{}, containers: map[string]*container{},
		images: map[string]*runtimeapi.Image{}, watchers: map[chan *runtimeapi.ContainerEventResponse]struct{}{},
	}
	for _, i := range images {
		r.AddImage(i)
	}
	return r
}

// AddImage makes an image present.
func (r *Runtime) AddImage(image string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images[image] = &runtimeapi.Image{Id: "sha256:" + image, RepoTags: []string{image}, Size: 1000, Username: "root"}
}

// Calls returns the verbs called so far that change something, in order.
func (r *Runtime) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.calls...)
}

// SetNetworkReady sets the network's readiness.
func (r *Runtime) SetNetworkReady(ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notReady = !ready
}

// Running returns the ids of running containers of that name.
func (r *Runtime) Running(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for id, c := range r.containers {
		if c.status.Metadata.Name == name && c.status.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
			out = append(out, id)
		}
	}
	sort.Strings(out)
	return out
}

// Exit ends a container.
func (r *Runtime) Exit(id string, code int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exit(id, code)
}

// IgnoreTerm makes a container wait for SIGKILL.
func (r *Runtime) IgnoreTerm(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.containers[id].ignoreTerm = true
}

// KillSandbox makes a sandbox die by itself.
func (r *Runtime) KillSandbox(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandboxes[id].State = runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	r.send(id, id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
}

func (r *Runtime) exit(id string, code int32) {
	c := r.containers[id]
	if c == nil || c.status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return
	}
	c.status.State, c.status.ExitCode, c.status.FinishedAt = runtimeapi.ContainerState_CONTAINER_EXITED, code, r.clock.Now().UnixNano()
	c.status.Reason = "Completed"
	if code != 0 {
		c.status.Reason = "Error"
	}
	close(c.exited)
	r.send(c.sandbox, id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
}

func (r *Runtime) send(sandbox, id string, t runtimeapi.ContainerEventType) {
	e := &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: t, CreatedAt: r.clock.Now().UnixNano()}
	if s := r.sandboxes[sandbox]; s != nil {
		e.PodSandboxStatus = clone(s)
	}
	for _, c := range r.containers {
		if c.sandbox == sandbox {
			e.ContainersStatuses = append(e.ContainersStatuses, cloneStatus(c.status))
		}
	}
	for w := range r.watchers {
		select {
		case w <- e:
		default:
		}
	}
}

func clone(s *runtimeapi.PodSandboxStatus) *runtimeapi.PodSandboxStatus {
	return &runtimeapi.PodSandboxStatus{Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, Network: s.Network, Linux: s.Linux, Labels: s.Labels, Annotations: s.Annotations}
}

func cloneStatus(s *runtimeapi.ContainerStatus) *runtimeapi.ContainerStatus {
	return &runtimeapi.ContainerStatus{
		Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, StartedAt: s.StartedAt, FinishedAt: s.FinishedAt,
		ExitCode: s.ExitCode, Image: s.Image, ImageRef: s.ImageRef, ImageId: s.ImageId, Reason: s.Reason, Message: s.Message,
		Labels: s.Labels, Annotations: s.Annotations, Mounts: s.Mounts, LogPath: s.LogPath,
	}
}

// begin counts a call; it returns the error the test wants.
func (r *Runtime) begin(verb, name string) error {
	if r.Fail != nil {
		if err := r.Fail(verb, name); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.calls = append(r.calls, verb+" "+name)
	return nil
}

func (r *Runtime) id(prefix string) string {
	r.n++
	return fmt.Sprintf("%s%d", prefix, r.n)
}

func notFound(what, id string) error {
	return status.Errorf(codes.NotFound, "%s %q not found", what, id)
}

func (r *Runtime) RunPodSandbox(_ context.Context, config *runtimeapi.PodSandboxConfig, _ string) (string, error) {
	if err := r.begin("RunPodSandbox", config.Metadata.Name); err != nil {
		return "", err
	}
	defer r.mu.Unlock()
	id := r.id("s")
	r.sandboxes[id] = &runtimeapi.PodSandboxStatus{
		Id: id, Metadata: config.Metadata, State: runtimeapi.PodSandboxState_SANDBOX_READY, CreatedAt: r.clock.Now().UnixNano() + int64(r.n),
		Labels: config.Labels, Annotations: config.Annotations,
		Network: &runtimeapi.PodSandboxNetworkStatus{Ip: fmt.Sprintf("10.1.0.%d", r.n)},
		Linux:   &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: config.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
	}
	r.send(id, id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	return id, nil
}

func (r *Runtime) StopPodSandbox(_ context.Context, id string) error {
	if err := r.begin("StopPodSandbox", id); err != nil {
		return err
	}
	defer r.mu.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return nil
	}
	for cid, c := range r.containers {
		if c.sandbox == id {
			r.exit(cid, 137)
		}
	}
	s.State = runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	r.send(id, id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	return nil
}

func (r *Runtime) RemovePodSandbox(_ context.Context, id string) error {
	if err := r.begin("RemovePodSandbox", id); err != nil {
		return err
	}
	defer r.mu.Unlock()
	delete(r.sandboxes, id)
	for cid, c := range r.containers {
		if c.sandbox == id {
			delete(r.containers, cid)
		}
	}
	return nil
}

func (r *Runtime) PodSandboxStatus(_ context.Context, id string) (*runtimeapi.PodSandboxStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sandboxes[id]; s != nil {
		return clone(s), nil
	}
	return nil, notFound("sandbox", id)
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (r *Runtime) ListPodSandbox(_ context.Context, f *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*runtimeapi.PodSandbox
	for _, s := range r.sandboxes {
		if matches(f.GetLabelSelector(), s.Labels) {
			out = append(out, &runtimeapi.PodSandbox{Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, Labels: s.Labels})
		}
	}
	return out, nil
}

func (r *Runtime) CreateContainer(_ context.Context, sandboxID string, config *runtimeapi.ContainerConfig, sandbox *runtimeapi.PodSandboxConfig) (string, error) {
	if err := r.begin("CreateContainer", config.Metadata.Name); err != nil {
		return "", err
	}
	defer r.mu.Unlock()
	if r.sandboxes[sandboxID] == nil {
		return "", notFound("sandbox", sandboxID)
	}
	id := r.id("c")
	r.containers[id] = &container{sandbox: sandboxID, config: config, exited: make(chan struct{}), status: &runtimeapi.ContainerStatus{
		Id: id, Metadata: config.Metadata, State: runtimeapi.ContainerState_CONTAINER_CREATED, CreatedAt: r.clock.Now().UnixNano() + int64(r.n),
		Image: config.Image, ImageRef: config.Image.Image, ImageId: config.Image.Image, Labels: config.Labels, Annotations: config.Annotations, Mounts: config.Mounts,
		LogPath: sandbox.GetLogDirectory() + "/" + config.LogPath,
	}}
	r.send(sandboxID, id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	return id, nil
}

func (r *Runtime) StartContainer(_ context.Context, id string) error {
	r.mu.Lock()
	c := r.containers[id]
	r.mu.Unlock()
	if c == nil {
		return notFound("container", id)
	}
	if err := r.begin("StartContainer", c.status.Metadata.Name); err != nil {
		return err
	}
	c.status.State, c.status.StartedAt = runtimeapi.ContainerState_CONTAINER_RUNNING, r.clock.Now().UnixNano()
	r.send(c.sandbox, id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	r.mu.Unlock()
	if r.OnStart != nil {
		r.OnStart(id, c.config)
	}
	return nil
}

func (r *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	r.mu.Lock()
	c := r.containers[id]
	r.mu.Unlock()
	if c == nil {
		return notFound("container", id)
	}
	if err := r.begin("StopContainer", fmt.Sprintf("%s %s", c.status.Metadata.Name, grace)); err != nil {
		return err
	}
	wait := c.ignoreTerm
	if !wait {
		r.exit(id, 143)
	}
	r.mu.Unlock()
	select {
	case <-c.exited:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (r *Runtime) RemoveContainer(_ context.Context, id string) error {
	if err := r.begin("RemoveContainer", id); err != nil {
		return err
	}
	defer r.mu.Unlock()
	delete(r.containers, id)
	return nil
}

func (r *Runtime) ListContainers(_ context.Context, f *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*runtimeapi.Container
	for id, c := range r.containers {
		if matches(f.GetLabelSelector(), c.status.Labels) {
			out = append(out, &runtimeapi.Container{Id: id, PodSandboxId: c.sandbox, Metadata: c.status.Metadata, State: c.status.State, CreatedAt: c.status.CreatedAt, Labels: c.status.Labels})
		}
	}
	return out, nil
}

func (r *Runtime) ContainerStatus(_ context.Context, id string) (*runtimeapi.ContainerStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[id]; c != nil {
		return cloneStatus(c.status), nil
	}
	return nil, notFound("container", id)
}

// Config returns the configuration a container was made with.
func (r *Runtime) Config(id string) *runtimeapi.ContainerConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[id]; c != nil {
		return c.config
	}
	return nil
}

func (r *Runtime) UpdateContainerResources(context.Context, string, *runtimeapi.LinuxContainerResources) error {
	return nil
}
func (r *Runtime) ReopenContainerLog(context.Context, string) error { return nil }

func (r *Runtime) ExecSync(_ context.Context, id string, cmd []string, _ time.Duration) (cri.ExecResult, error) {
	if r.OnExec == nil {
		return cri.ExecResult{}, nil
	}
	return r.OnExec(id, cmd)
}

func (r *Runtime) Exec(context.Context, *runtimeapi.ExecRequest) (string, error) {
	return "", unsupported()
}
func (r *Runtime) Attach(context.Context, *runtimeapi.AttachRequest) (string, error) {
	return "", unsupported()
}
func (r *Runtime) PortForward(context.Context, *runtimeapi.PortForwardRequest) (string, error) {
	return "", unsupported()
}

func unsupported() error {
	return status.Error(codes.Unimplemented, "the fake runtime does not stream")
}

func (r *Runtime) Events(ctx context.Context, handle func(*runtimeapi.ContainerEventResponse)) error {
	ch := make(chan *runtimeapi.ContainerEventResponse, 1000)
	r.mu.Lock()
	r.watchers[ch] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.watchers, ch)
		r.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-ch:
			handle(e)
		}
	}
}

func (r *Runtime) ImageStatus(_ context.Context, image *runtimeapi.ImageSpec) (*runtimeapi.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.images[image.Image]; i != nil {
		return i, nil
	}
	for _, i := range r.images {
		if i.Id == image.Image {
			return i, nil
		}
	}
	return nil, nil
}

func (r *Runtime) ListImages(context.Context) ([]*runtimeapi.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*runtimeapi.Image
	for _, i := range r.images {
		out = append(out, i)
	}
	return out, nil
}

func (r *Runtime) PullImage(_ context.Context, image *runtimeapi.ImageSpec, _ *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	if err := r.begin("PullImage", image.Image); err != nil {
		return "", err
	}
	r.mu.Unlock()
	if r.OnPull == nil {
		return "", status.Errorf(codes.NotFound, "failed to pull and unpack image %q: not found", image.Image)
	}
	if err := r.OnPull(image.Image); err != nil {
		return "", err
	}
	r.AddImage(image.Image)
	return "sha256:" + image.Image, nil
}

func (r *Runtime) RemoveImage(_ context.Context, image *runtimeapi.ImageSpec) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, image.Image)
	return nil
}

func (r *Runtime) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	return &runtimeapi.ImageFsInfoResponse{}, nil
}

func (r *Runtime) Version(context.Context) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: "containerd", RuntimeVersion: "v2.4.2", RuntimeApiVersion: "v1"}, nil
}

func (r *Runtime) Status(context.Context) (*runtimeapi.StatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Status: !r.notReady},
	}}}, nil
}

func (r *Runtime) UpdatePodCIDR(context.Context, string) error { return nil }
func (r *Runtime) ListContainerStats(context.Context) ([]*runtimeapi.ContainerStats, error) {
	return nil, nil
}
func (r *Runtime) ListPodSandboxStats(context.Context) ([]*runtimeapi.PodSandboxStats, error) {
	return nil, nil
}
