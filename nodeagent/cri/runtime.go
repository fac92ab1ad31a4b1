package cri

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Runtime is the container runtime as the node agent uses it. Errors carry the
// gRPC status of the runtime; IsNotFound tells a missing object.
type Runtime interface {
	Sandboxes
	Containers
	Images
	Node
}

// Sandboxes are the verbs on pod sandboxes.
type Sandboxes interface {
	// RunPodSandbox creates and starts a sandbox, network included, and returns its id.
	RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (string, error)
	// StopPodSandbox ends all processes of the sandbox and takes its network down. Idempotent.
	StopPodSandbox(ctx context.Context, id string) error
	// RemovePodSandbox removes the sandbox and its containers. Idempotent.
	RemovePodSandbox(ctx context.Context, id string) error
	PodSandboxStatus(ctx context.Context, id string) (*runtimeapi.PodSandboxStatus, error)
	ListPodSandbox(ctx context.Context, filter *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error)
}

// Containers are the verbs on containers.
type Containers interface {
	CreateContainer(ctx context.Context, sandboxID string, config *runtimeapi.ContainerConfig, sandbox *runtimeapi.PodSandboxConfig) (string, error)
	StartContainer(ctx context.Context, id string) error
	// StopContainer sends the stop signal and, grace later, SIGKILL. It returns
	// when the container has ended. Idempotent.
	StopContainer(ctx context.Context, id string, grace time.Duration) error
	RemoveContainer(ctx context.Context, id string) error
	ListContainers(ctx context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error)
	ContainerStatus(ctx context.Context, id string) (*runtimeapi.ContainerStatus, error)
	UpdateContainerResources(ctx context.Context, id string, resources *runtimeapi.LinuxContainerResources) error
	ReopenContainerLog(ctx context.Context, id string) error
	// ExecSync runs a command in a container. A command that ran and failed is
	// no error: its exit code says so. A command that outlived timeout is an
	// error with code DeadlineExceeded.
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (ExecResult, error)
	// Exec, Attach and PortForward return the URL of a streaming server.
	Exec(ctx context.Context, req *runtimeapi.ExecRequest) (string, error)
	Attach(ctx context.Context, req *runtimeapi.AttachRequest) (string, error)
	PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (string, error)
	// Events calls handle for each event until ctx is done or the stream ends.
	// It returns nil only when ctx is done.
	Events(ctx context.Context, handle func(*runtimeapi.ContainerEventResponse)) error
}

// Images are the verbs on images.
type Images interface {
	// ImageStatus returns nil without an error when the image is not present.
	ImageStatus(ctx context.Context, image *runtimeapi.ImageSpec) (*runtimeapi.Image, error)
	ListImages(ctx context.Context) ([]*runtimeapi.Image, error)
	// PullImage returns the reference (digest or id) of the image pulled.
	PullImage(ctx context.Context, image *runtimeapi.ImageSpec, auth *runtimeapi.AuthConfig, sandbox *runtimeapi.PodSandboxConfig) (string, error)
	RemoveImage(ctx context.Context, image *runtimeapi.ImageSpec) error
	ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error)
}

// Node are the verbs about the runtime as a whole.
type Node interface {
	Version(ctx context.Context) (*runtimeapi.VersionResponse, error)
	Status(ctx context.Context) (*runtimeapi.StatusResponse, error)
	// UpdatePodCIDR tells the runtime the node's pod address range.
	UpdatePodCIDR(ctx context.Context, cidr string) error
	ListContainerStats(ctx context.Context) ([]*runtimeapi.ContainerStats, error)
	ListPodSandboxStats(ctx context.Context) ([]*runtimeapi.PodSandboxStats, error)
}

// ExecResult is what a command run by ExecSync left.
type ExecResult struct {
	Stdout, Stderr []byte
	ExitCode       int32
}
