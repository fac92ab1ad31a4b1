package planner

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
)

// Verb is a kind of action.
type Verb string

const (
	SetupVolumes    Verb = "SetupVolumes"
	CreateSandbox   Verb = "CreateSandbox"
	EnsureImage     Verb = "EnsureImage"
	StartContainer  Verb = "StartContainer"
	KillContainer   Verb = "KillContainer"
	StopSandbox     Verb = "StopSandbox"
	TeardownVolumes Verb = "TeardownVolumes"
	RemoveContainer Verb = "RemoveContainer"
	RemoveSandbox   Verb = "RemoveSandbox"
	// ResizePod gives running containers other resources, and their pod's cgroup.
	ResizePod Verb = "ResizePod"
	// Cleanup removes the pod's cgroup, directory and logs.
	Cleanup Verb = "Cleanup"
	// DeletePod removes the pod from the API, its last status written.
	DeletePod Verb = "DeletePod"
	// Cancel tells the action of that key to give up waiting: a pull, a hook, a mount.
	Cancel Verb = "Cancel"
)

// KillReason tells why a container is killed; probes may bring their own grace period.
type KillReason string

const (
	KillPod           KillReason = "Pod"
	KillLiveness      KillReason = "LivenessProbe"
	KillStartup       KillReason = "StartupProbe"
	KillSpecChanged   KillReason = "SpecChanged"
	KillSandbox       KillReason = "SandboxChanged"
	KillUnknownState  KillReason = "UnknownState"
	KillNotInPodSpec  KillReason = "NotInPodSpec"
	KillResized       KillReason = "Resized"
	killMessagePrefix            = "Stopping container "
)

// Action is one thing to do. Which fields are set depends on the verb.
type Action struct {
	Verb Verb
	// Key says what the action is about; one action per key is under way.
	Key string
	// Container is the container's name in the pod spec.
	Container string
	// ID is the sandbox's or container's id.
	ID string
	// SandboxID is where a container is started.
	SandboxID string
	// Attempt is a sandbox's attempt or a container's restart count.
	Attempt int32
	// ImageRef is the image a container is created from.
	ImageRef string
	// PresentOnly asks EnsureImage to look, not to pull: the image is in backoff.
	PresentOnly bool
	Reason      KillReason
	Message     string
	// Grace is what a container gets between SIGTERM and SIGKILL, hooks included.
	Grace time.Duration
	// Resources are what ResizePod gives to containers, by id, and what a
	// container is started with, by name.
	Resources map[string]v1.ResourceRequirements
}

// String renders the action as transcripts show it.
func (a Action) String() string {
	s := string(a.Verb)
	if a.Container != "" {
		s += " " + a.Container
	}
	switch a.Verb {
	case CreateSandbox:
		s += fmt.Sprintf(" attempt=%d", a.Attempt)
	case StartContainer:
		s += fmt.Sprintf(" in=%s restart=%d image=%s", a.SandboxID, a.Attempt, a.ImageRef)
	case EnsureImage:
		if a.PresentOnly {
			s += " present-only"
		}
	case KillContainer:
		s += fmt.Sprintf(" id=%s grace=%s reason=%s message=%q", a.ID, a.Grace, a.Reason, a.Message)
	case StopSandbox, RemoveSandbox, RemoveContainer:
		s += " id=" + a.ID
	case ResizePod:
		for _, id := range slices.Sorted(maps.Keys(a.Resources)) {
			r := a.Resources[id]
			s += fmt.Sprintf(" %s=%s/%s", id, r.Requests.Cpu(), r.Limits.Memory())
		}
	case Cancel:
		s += " " + a.Key
	}
	return s
}

// Result is how an action ended.
type Result struct {
	// Err is why it failed, nil if it did not.
	Err error
	// Reason is the waiting reason that goes with Err (ErrImagePull,
	// CreateContainerConfigError, …).
	Reason string
	// Sandbox and Container are what the action made or changed, as observed.
	Sandbox   *cri.Sandbox
	Container *cri.Container
	// ImageRef is what EnsureImage found.
	ImageRef string
	// Resized are the containers, by id, that ResizePod has changed, even if
	// it failed at another.
	Resized map[string]v1.ResourceRequirements
}

// Event is an event the plan calls for; Container is "" for the pod itself.
type Event struct {
	Container string
	Type      string
	Reason    string
	Message   string
}

// Waiting is why a container that should run does not.
type Waiting struct {
	Reason, Message string
}

// Failure is a pod's end by decree: a passed deadline, a refused admission.
type Failure struct {
	Reason, Message string
}

// Plan is what to do now.
type Plan struct {
	Actions []Action
	Events  []Event
	// Wake is when to plan again if nothing happens, zero for never.
	Wake time.Time
	// Waiting says for containers that should run why they do not.
	Waiting map[string]Waiting
	// Terminal tells that no container of the pod runs or will run again.
	Terminal bool
	// Failed overrides the pod's phase.
	Failed *Failure
	// Finished tells that the pod needs no more work: the worker may forget it
	// once the API has no such pod either.
	Finished bool
}

// Probe is what probes say of one container (by container id).
type Probe struct {
	// Started: the startup probe has succeeded, or there is none.
	Started bool
	Ready   bool
	// Failed names the probe that has exhausted its failure threshold and asks
	// for the container to be killed: KillLiveness or KillStartup.
	Failed KillReason
}

// Backoff is a container's restart delay.
type Backoff struct {
	Delay   time.Duration
	Updated time.Time
	// Hash is the spec hash the delay was earned by; a changed spec starts anew.
	Hash uint64
}

type imageState struct {
	ref      string
	reason   string
	message  string
	failures int
	failedAt time.Time
	retryAt  time.Time
	lookAt   time.Time
	told     bool
}

type retry struct {
	failures int
	at       time.Time
}

// State is all that is known of one pod. Its maps belong to it. The zero value
// with a Pod is a pod just seen.
type State struct {
	// Pod is the newest from the API; not changed here.
	Pod *v1.Pod
	// Gone tells that the API has no such pod any more.
	Gone bool
	// Observed is nil until the runtime has been looked at.
	Observed *cri.Pod
	// Probes by container id; a container without probes may be absent.
	Probes map[string]Probe
	// NetworkReady tells that the runtime can set up pod networks.
	NetworkReady bool
	// StartTime is status.startTime, from which the deadline counts.
	StartTime time.Time
	// Failed ends the pod by decree; set by admission or by the deadline.
	Failed *Failure
	// Allocation is what the node has granted the pod, nil for what its spec says.
	Allocation *Allocation
	// Applied is what containers were started with or resized to, by id; one
	// that is absent is taken to have what it was granted.
	Applied map[string]v1.ResourceRequirements
	// ResizeError is why the last resize failed, "" if it did not.
	ResizeError string

	underWay     map[string]Action
	volumesReady bool
	volumesFor   int // ephemeral containers when the volumes were set up
	volumesGone  bool
	volumesRetry retry
	sandboxRetry retry
	images       map[string]*imageState
	waiting      map[string]Waiting
	startRetry   map[string]retry
	backoff      map[string]Backoff
	force        map[string]string
	told         map[string]string
	stopped      map[string]bool
	removeRetry  map[string]retry
	resizeRetry  retry
	ending       time.Time
	finished     bool
	cleaned      bool
	deleted      bool
}

// UnderWay tells whether an action with that key is under way.
func (s *State) UnderWay(key string) bool { _, ok := s.underWay[key]; return ok }

// Busy tells whether any action is under way.
func (s *State) Busy() bool { return len(s.underWay) > 0 }

// Starting tells whether the container of that name is being created or
// started, hooks included.
func (s *State) Starting(container string) bool { return s.UnderWay("start/" + container) }

// Killing tells whether the container with that id is being killed.
func (s *State) Killing(id string) bool { return s.UnderWay("kill/" + id) }

// Ending tells whether the pod is being terminated.
func (s *State) Ending() bool { return !s.ending.IsZero() }

// Making tells whether a sandbox or container is being made.
func (s *State) Making() bool {
	for _, a := range s.underWay {
		if a.Verb == CreateSandbox || a.Verb == StartContainer {
			return true
		}
	}
	return false
}

// Retry makes everything that waits for a config map, secret or mount try
// again at once: what it lacked may be there.
func (s *State) Retry() {
	s.volumesRetry = retry{}
	for name := range s.startRetry {
		delete(s.startRetry, name)
	}
}
