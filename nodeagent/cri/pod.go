package cri

import (
	"sort"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod is what the runtime has of one pod, newest first in both lists.
type Pod struct {
	Namespace, Name string
	UID             types.UID
	Sandboxes       []*Sandbox
	Containers      []*Container
}

// Sandbox is one pod sandbox as observed.
type Sandbox struct {
	ID      string
	Attempt uint32
	Ready   bool
	// HostNetwork tells that the sandbox is in the node's network namespace.
	HostNetwork bool
	// IPs are the pod's addresses, the first being the primary one; empty with HostNetwork.
	IPs     []string
	Created time.Time
}

// State is a container's state in the runtime.
type State string

const (
	Created State = "created"
	Running State = "running"
	Exited  State = "exited"
	Unknown State = "unknown"
)

// Container is one container as observed. It is a value: once in a Pod it is
// replaced, never changed.
type Container struct {
	ID           string
	Name         string
	SandboxID    string
	State        State
	RestartCount int32
	// Hash is the spec hash the container was created with, 0 if unknown.
	Hash uint64
	// Image is the reference as the user wrote it, ImageRef the digested one,
	// ImageID the runtime's own id.
	Image, ImageRef, ImageID string
	CreatedAt                time.Time
	StartedAt                time.Time
	FinishedAt               time.Time
	ExitCode                 int32
	// Reason and Message are the runtime's; Message is replaced by the
	// termination message once the container has exited.
	Reason, Message string
	LogPath         string
	// TerminationGracePeriod is the pod's, in seconds, nil if unknown.
	TerminationGracePeriod *int64
	// TerminationMessageHostPath is the host file mounted at the container's
	// termination message path, "" if none.
	TerminationMessageHostPath string
	TerminationMessagePolicy   v1.TerminationMessagePolicy
	User                       *runtimeapi.LinuxContainerUser
	StopSignal                 string
	Resources                  *runtimeapi.LinuxContainerResources
}

// Sandbox returns the newest sandbox, nil if there is none.
func (p *Pod) Sandbox() *Sandbox {
	if p == nil || len(p.Sandboxes) == 0 {
		return nil
	}
	return p.Sandboxes[0]
}

// Container returns the newest container of that name, nil if there is none.
func (p *Pod) Container(name string) *Container {
	if p == nil {
		return nil
	}
	for _, c := range p.Containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Running tells whether any container runs.
func (p *Pod) Running() bool {
	if p != nil {
		for _, c := range p.Containers {
			if c.State == Running {
				return true
			}
		}
	}
	return false
}

// IPs returns the addresses of the newest ready sandbox.
func (p *Pod) IPs() []string {
	if s := p.Sandbox(); s != nil && s.Ready {
		return s.IPs
	}
	return nil
}

func (p *Pod) sort() {
	sort.SliceStable(p.Sandboxes, func(i, j int) bool { return p.Sandboxes[i].Created.After(p.Sandboxes[j].Created) })
	sort.SliceStable(p.Containers, func(i, j int) bool {
		a, b := p.Containers[i], p.Containers[j]
		if !a.CreatedAt.Equal(b.CreatedAt) {
			return a.CreatedAt.After(b.CreatedAt)
		}
		return a.RestartCount > b.RestartCount
	})
}

// SandboxOf turns a sandbox status into its observed value.
func SandboxOf(s *runtimeapi.PodSandboxStatus) *Sandbox {
	out := &Sandbox{
		ID:      s.GetId(),
		Attempt: s.GetMetadata().GetAttempt(),
		Ready:   s.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY,
		Created: time.Unix(0, s.GetCreatedAt()),
	}
	out.HostNetwork = s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
	if !out.HostNetwork && s.GetNetwork().GetIp() != "" {
		out.IPs = append(out.IPs, s.Network.Ip)
		for _, ip := range s.Network.AdditionalIps {
			out.IPs = append(out.IPs, ip.Ip)
		}
	}
	return out
}

// ContainerOf turns a container status into its observed value.
func ContainerOf(sandboxID string, s *runtimeapi.ContainerStatus) *Container {
	a := s.GetAnnotations()
	out := &Container{
		ID:                       s.GetId(),
		Name:                     s.GetMetadata().GetName(),
		SandboxID:                sandboxID,
		State:                    stateOf(s.GetState()),
		Image:                    s.GetImage().GetImage(),
		ImageRef:                 s.GetImageRef(),
		ImageID:                  s.GetImageId(),
		CreatedAt:                timeOf(s.GetCreatedAt()),
		StartedAt:                timeOf(s.GetStartedAt()),
		FinishedAt:               timeOf(s.GetFinishedAt()),
		ExitCode:                 s.GetExitCode(),
		Reason:                   s.GetReason(),
		Message:                  s.GetMessage(),
		LogPath:                  s.GetLogPath(),
		TerminationMessagePolicy: v1.TerminationMessagePolicy(a[annotationTerminationPolicy]),
		User:                     s.GetUser().GetLinux(),
		Resources:                s.GetResources().GetLinux(),
	}
	if u := s.GetImage().GetUserSpecifiedImage(); u != "" {
		out.Image = u
	}
	if n := s.GetLabels()[LabelContainerName]; n != "" {
		out.Name = n
	}
	if n, err := strconv.ParseInt(a[annotationRestartCount], 10, 32); err == nil {
		out.RestartCount = int32(n)
	} else {
		out.RestartCount = int32(s.GetMetadata().GetAttempt())
	}
	if g, err := strconv.ParseInt(a[annotationTerminationGraceTime], 10, 64); err == nil {
		out.TerminationGracePeriod = &g
	}
	out.Hash, _ = strconv.ParseUint(a[annotationHash], 16, 64)
	if path := a[annotationTerminationPath]; path != "" {
		for _, m := range s.GetMounts() {
			if m.ContainerPath == path {
				out.TerminationMessageHostPath = m.HostPath
			}
		}
	}
	if sig := s.GetStopSignal(); sig != runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		out.StopSignal = strings.TrimPrefix(sig.String(), "SIGNAL_")
	}
	return out
}

func stateOf(s runtimeapi.ContainerState) State {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return Running
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return Exited
	}
	return Unknown
}

// timeOf keeps "never" a zero time.
func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// HasSandbox tells whether p has a sandbox of that id.
func (p *Pod) HasSandbox(id string) bool { return p.sandboxByID(id) != nil }

// Empty tells whether the runtime has nothing of the pod.
func (p *Pod) Empty() bool { return p == nil || len(p.Sandboxes) == 0 && len(p.Containers) == 0 }

// Same tells whether two observations have the same objects in the same states.
func (p *Pod) Same(q *Pod) bool {
	if p.Empty() || q.Empty() {
		return p.Empty() == q.Empty()
	}
	if len(p.Sandboxes) != len(q.Sandboxes) || len(p.Containers) != len(q.Containers) {
		return false
	}
	for i, s := range p.Sandboxes {
		if o := q.Sandboxes[i]; o.ID != s.ID || o.Ready != s.Ready {
			return false
		}
	}
	for i, c := range p.Containers {
		if o := q.Containers[i]; o.ID != c.ID || o.State != c.State {
			return false
		}
	}
	return true
}
