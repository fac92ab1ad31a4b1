package server

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/cri"
)

// Backend is what the server asks of the node agent. What it returns is
// shared and is not modified.
type Backend interface {
	// Pods returns the pods bound to this node, with the newest status that
	// the agent knows, written to the API or not.
	Pods() []*v1.Pod
	// Pod returns one of them.
	Pod(namespace, name string) (*v1.Pod, bool)
}

// Runtime is what the server asks of the container runtime; cri.Runtime is
// one. Errors carry the gRPC status of the runtime.
type Runtime interface {
	ListPodSandbox(ctx context.Context, filter *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error)
	ListContainers(ctx context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error)
	ContainerStatus(ctx context.Context, id string) (*runtimeapi.ContainerStatus, error)
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (cri.ExecResult, error)
	// Exec, Attach and PortForward return the URL of a streaming server.
	Exec(ctx context.Context, req *runtimeapi.ExecRequest) (string, error)
	Attach(ctx context.Context, req *runtimeapi.AttachRequest) (string, error)
	PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (string, error)
	ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error)
	ListPodSandboxStats(ctx context.Context) ([]*runtimeapi.PodSandboxStats, error)
}

// findPod returns the pod that a request's path names: by namespace and name
// and, if the path has one, UID.
func (s *Server) findPod(namespace, name, uid string) (*v1.Pod, bool) {
	pod, ok := s.o.Backend.Pod(namespace, name)
	if !ok || (uid != "" && string(pod.UID) != uid) {
		return nil, false
	}
	return pod, true
}
