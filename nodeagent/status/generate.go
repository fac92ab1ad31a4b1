package status

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
)

// Input is what a status is made from.
type Input struct {
	// Pod is the newest from the API.
	Pod *v1.Pod
	// Old is the status last reported, or the API's if this agent reported none.
	Old *v1.PodStatus
	// Observed is nil while the runtime has not been looked at.
	Observed *cri.Pod
	// Starting tells containers whose start is not yet complete (hooks included).
	Starting func(container string) bool
	// Waiting are the planner's reasons, by container.
	Waiting map[string]planner.Waiting
	// Probes by container id.
	Probes map[string]planner.Probe
	// Allocated is the pod with the resources the node has granted it, nil for
	// what the spec says; Applied is what containers run with, by id.
	Allocated *v1.Pod
	Applied   map[string]v1.ResourceRequirements
	Resize    Resize
	// Terminal tells that no container runs or will run.
	Terminal bool
	// Failed overrides the phase.
	Failed *planner.Failure
	// HostIPs are the node's addresses, primary first.
	HostIPs []string
	Now     time.Time
}

// Resize is how a change of the pod's resources stands (KEP-1287).
type Resize struct {
	// Pending is the reason why it has not been granted, "" if it has, and
	// Message goes with it.
	Pending, Message string
	// InProgress tells that a container has not yet what was granted, Error why
	// the last try failed.
	InProgress bool
	Error      string
	// Generation is that of the spec granted last.
	Generation int64
}

// Generate returns the pod's status.
func Generate(in Input) v1.PodStatus {
	pod := in.Pod
	old := in.Old
	if old == nil {
		old = &pod.Status
	}
	s := v1.PodStatus{
		ObservedGeneration:    pod.Generation,
		QOSClass:              pod.Status.QOSClass,
		StartTime:             old.StartTime,
		NominatedNodeName:     pod.Status.NominatedNodeName,
		Resize:                pod.Status.Resize,
		ResourceClaimStatuses: pod.Status.ResourceClaimStatuses,
	}
	if s.QOSClass == "" {
		s.QOSClass = QOS(pod)
	}
	if s.StartTime == nil {
		now := metav1.NewTime(in.Now.Truncate(time.Second))
		s.StartTime = &now
	}
	started := hasStarted(in)
	s.InitContainerStatuses = containers(in, old.InitContainerStatuses, pod.Spec.InitContainers, len(pod.Spec.InitContainers) > 0, true)
	s.ContainerStatuses = containers(in, old.ContainerStatuses, pod.Spec.Containers, len(pod.Spec.InitContainers) > 0, false)
	if len(pod.Spec.EphemeralContainers) > 0 {
		list := make([]v1.Container, len(pod.Spec.EphemeralContainers))
		for i := range list {
			list[i] = v1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		}
		s.EphemeralContainerStatuses = containers(in, old.EphemeralContainerStatuses, list, len(pod.Spec.InitContainers) > 0, false)
	}
	all := append(append([]v1.ContainerStatus{}, s.InitContainerStatuses...), s.ContainerStatuses...)
	s.Phase = Phase(pod, all, in.Terminal, started)
	if !ended(s.Phase) {
		switch {
		case ended(old.Phase):
			s.Phase = old.Phase
		case ended(pod.Status.Phase):
			s.Phase = pod.Status.Phase
		}
	}
	if s.Phase == old.Phase {
		s.Reason, s.Message = old.Reason, old.Message
	}
	if in.Failed != nil {
		s.Phase, s.Reason, s.Message = v1.PodFailed, in.Failed.Reason, in.Failed.Message
	}
	if ended(pod.Status.Phase) {
		// A pod never leaves a terminal phase.
		s.Phase = pod.Status.Phase
	}
	probes(in, &s)
	addresses(in, old, &s)
	conditions(in, old, &s)
	return s
}

func ended(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

// hasStarted tells whether a regular container has run in the present sandbox.
func hasStarted(in Input) bool {
	sb := in.Observed.Sandbox()
	if sb == nil {
		return false
	}
	for i := range in.Pod.Spec.Containers {
		name := in.Pod.Spec.Containers[i].Name
		if c := in.Observed.Container(name); c != nil && c.SandboxID == sb.ID && c.State != cri.Created && !in.starting(name) {
			return true
		}
	}
	return false
}

func (in Input) starting(name string) bool { return in.Starting != nil && in.Starting(name) }

// probes sets ready and started.
func probes(in Input, s *v1.PodStatus) {
	set := func(list []v1.ContainerStatus, spec []v1.Container, init bool) {
		for i := range list {
			st := &list[i]
			c := find(spec, st.Name)
			if c == nil {
				continue
			}
			st.Ready = false
			started := false
			st.Started = &started
			if init && !planner.IsSidecar(c) {
				// An init container is ready once it has completed.
				if t := st.State.Terminated; t != nil && t.ExitCode == 0 {
					st.Ready = true
				}
				if st.State.Running != nil {
					started = true
				}
				continue
			}
			if st.State.Running == nil {
				continue
			}
			got := in.Observed.Container(st.Name)
			if got == nil {
				continue
			}
			p, ok := in.Probes[got.ID]
			if !ok {
				p = planner.Probe{Started: c.StartupProbe == nil, Ready: c.StartupProbe == nil && c.ReadinessProbe == nil}
			}
			started = p.Started
			st.Ready = p.Started && p.Ready
		}
	}
	set(s.InitContainerStatuses, in.Pod.Spec.InitContainers, true)
	set(s.ContainerStatuses, in.Pod.Spec.Containers, false)
}

func find(list []v1.Container, name string) *v1.Container {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// addresses sets the pod's and the node's addresses. A pod's last addresses
// stay when its sandbox has gone.
func addresses(in Input, old *v1.PodStatus, s *v1.PodStatus) {
	for _, ip := range in.HostIPs {
		s.HostIPs = append(s.HostIPs, v1.HostIP{IP: ip})
	}
	if len(in.HostIPs) > 0 {
		s.HostIP = in.HostIPs[0]
	}
	if in.Pod.Spec.HostNetwork {
		for _, ip := range in.HostIPs {
			s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
		}
	} else {
		for _, ip := range in.Observed.IPs() {
			s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
		}
		if len(s.PodIPs) == 0 {
			s.PodIPs = old.PodIPs
		}
	}
	if len(s.PodIPs) > 0 {
		s.PodIP = s.PodIPs[0].IP
	}
}

// Same tells whether two statuses say the same.
func Same(a, b *v1.PodStatus) bool { return equality.Semantic.DeepEqual(a, b) }
