package planner

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
)

// run plans for a pod that should run.
func (p *pass) run() {
	sb, ok := p.sandbox()
	if n := len(p.Pod.Spec.EphemeralContainers); n != p.volumesFor {
		// A new ephemeral container may mount what no other does.
		p.volumesFor, p.volumesReady = n, false
	}
	if !p.volumesReady {
		if p.volumesRetry.failures > 0 && p.now.Before(p.volumesRetry.at) {
			p.wake(p.volumesRetry.at)
		} else {
			p.begin(Action{Verb: SetupVolumes, Key: "volumes"})
		}
	}
	if !ok {
		return
	}
	for _, c := range p.next(sb) {
		p.start(sb, c)
	}
	p.resize()
	for name, w := range p.waiting {
		if _, ok := p.plan.Waiting[name]; !ok {
			p.plan.Waiting[name] = w
		}
	}
	if !p.Busy() && sb != nil {
		p.collect(sb)
	}
}

// sandbox sees to the sandbox. It returns the one to start containers in, nil
// while there is none yet, and false when nothing may be prepared either.
func (p *pass) sandbox() (*cri.Sandbox, bool) {
	if !p.NetworkReady && !p.Pod.Spec.HostNetwork && p.Observed.Sandbox() == nil {
		p.tell("network", "notready", Event{Type: v1.EventTypeWarning, Reason: "NetworkNotReady",
			Message: "network is not ready: container runtime network not ready: NetworkReady=false"})
		return nil, false
	}
	sb := p.Observed.Sandbox()
	if sb != nil && sb.Ready && sb.HostNetwork == p.Pod.Spec.HostNetwork && (sb.HostNetwork || len(sb.IPs) > 0) && !p.otherReady(sb) {
		return sb, true
	}
	attempt := int32(0)
	if sb != nil {
		// What is left of the old sandbox goes before a new one comes.
		attempt = int32(sb.Attempt) + 1
		p.tell("sandbox", sb.ID, Event{Type: v1.EventTypeNormal, Reason: "SandboxChanged", Message: "Pod sandbox changed, it will be killed and re-created."})
		busy := false
		for _, c := range p.Observed.Containers {
			if c.State == cri.Running || c.State == cri.Unknown {
				p.kill(c, p.grace(), KillSandbox, "")
				busy = true
			}
			busy = busy || p.Starting(c.Name)
		}
		if busy {
			return nil, false
		}
		for _, old := range p.Observed.Sandboxes {
			if p.stopped[old.ID] {
				continue
			}
			busy = true
			if r := p.removeRetry[old.ID]; p.now.Before(r.at) {
				p.wake(r.at)
			} else {
				p.begin(Action{Verb: StopSandbox, Key: "stop/" + old.ID, ID: old.ID})
			}
		}
		if busy {
			return nil, false
		}
	}
	if p.sandboxRetry.failures > 0 && p.now.Before(p.sandboxRetry.at) {
		p.wake(p.sandboxRetry.at)
		return nil, false
	}
	p.begin(Action{Verb: CreateSandbox, Key: "sandbox", Attempt: attempt})
	return nil, true
}

func (p *pass) otherReady(sb *cri.Sandbox) bool {
	for _, o := range p.Observed.Sandboxes {
		if o.ID != sb.ID && o.Ready {
			return true
		}
	}
	return false
}

// tell emits an event once per subject and mark.
func (p *pass) tell(subject, mark string, e Event) {
	if p.told == nil {
		p.told = map[string]string{}
	}
	if p.told[subject] != mark {
		p.told[subject] = mark
		p.plan.Events = append(p.plan.Events, e)
	}
}

// current returns the newest container of that name in the sandbox.
func (p *pass) current(sb *cri.Sandbox, name string) *cri.Container {
	got := p.Observed.Container(name)
	if got == nil || sb == nil || got.SandboxID != sb.ID {
		return nil
	}
	return got
}

// next returns the containers to start now, in order, and kills those that
// must not go on as they are.
func (p *pass) next(sb *cri.Sandbox) []*v1.Container {
	spec := &p.Pod.Spec
	var out []*v1.Container
	if sb != nil {
		for i := range spec.EphemeralContainers {
			c := (*v1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon)
			if p.Observed.Container(c.Name) == nil {
				out = append(out, c)
			}
		}
	}
	initialized := sb != nil && p.initialized()
	// The main containers' end is final only when they cannot be restarted;
	// complete has seen to that already.
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		got := p.current(sb, c.Name)
		switch {
		case IsSidecar(c):
			ready := p.sidecar(sb, c, got, &out)
			if !ready && !initialized {
				return out
			}
		case initialized:
			continue
		case got == nil || got.State == cri.Created:
			return append(out, c)
		case got.State == cri.Exited && got.ExitCode == 0 && !p.Starting(c.Name):
			continue
		case got.State == cri.Exited:
			return append(out, c)
		case got.State == cri.Unknown:
			p.kill(got, p.grace(), KillUnknownState, fmt.Sprintf("Init container is in %q state, try killing it before restart", "Unknown"))
			return out
		default:
			return out
		}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		got := p.current(sb, c.Name)
		switch {
		case p.Starting(c.Name):
		case got == nil:
			// What ended for good in an older sandbox is not run again.
			if old := p.Observed.Container(c.Name); old == nil || old.State != cri.Exited || ShouldRestart(spec, c, old.ExitCode) {
				out = append(out, c)
			}
		case got.State == cri.Created:
			out = append(out, c)
		case got.State == cri.Exited:
			if p.force[c.Name] == got.ID || ShouldRestart(spec, c, got.ExitCode) {
				out = append(out, c)
			}
		case got.State == cri.Unknown:
			p.kill(got, p.grace(), KillUnknownState, fmt.Sprintf("Container %s is in an unknown state, try killing it before restart", c.Name))
		default:
			p.healthy(c, got)
		}
	}
	return out
}

// sidecar plans one restartable init container; it returns whether the next
// init container may start.
func (p *pass) sidecar(sb *cri.Sandbox, c *v1.Container, got *cri.Container, out *[]*v1.Container) bool {
	switch {
	case p.Starting(c.Name):
		return false
	case got == nil || got.State == cri.Created || got.State == cri.Exited:
		*out = append(*out, c)
		return false
	case got.State == cri.Unknown:
		p.kill(got, p.grace(), KillUnknownState, fmt.Sprintf("Init container is in %q state, try killing it before restart", "Unknown"))
		return false
	}
	if !p.healthy(c, got) {
		return false
	}
	return c.StartupProbe == nil || p.Probes[got.ID].Started
}

// healthy kills a running container whose spec has changed or whose probe asks
// for it; it returns whether the container may go on.
func (p *pass) healthy(c *v1.Container, got *cri.Container) bool {
	message, reason := "", KillReason("")
	restart := c.RestartPolicy != nil && *c.RestartPolicy != v1.ContainerRestartPolicyNever ||
		c.RestartPolicy == nil && p.Pod.Spec.RestartPolicy != v1.RestartPolicyNever
	switch failed := p.Probes[got.ID].Failed; {
	case got.Hash != 0 && got.Hash != cri.Hash(c):
		message, reason, restart = fmt.Sprintf("Container %s definition changed", c.Name), KillSpecChanged, true
		if p.force == nil {
			p.force = map[string]string{}
		}
		p.force[c.Name] = got.ID
	case failed == KillLiveness:
		message, reason = fmt.Sprintf("Container %s failed liveness probe", c.Name), KillLiveness
	case failed == KillStartup:
		message, reason = fmt.Sprintf("Container %s failed startup probe", c.Name), KillStartup
	default:
		return p.resized(c, got)
	}
	if restart {
		message += ", will be restarted"
	}
	p.kill(got, p.probeGrace(c, reason), reason, message)
	return false
}

// probeGrace is the grace period of a kill: a probe may bring its own.
func (p *pass) probeGrace(c *v1.Container, reason KillReason) time.Duration {
	var probe *v1.Probe
	switch reason {
	case KillLiveness:
		probe = c.LivenessProbe
	case KillStartup:
		probe = c.StartupProbe
	}
	if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		return time.Duration(max(*probe.TerminationGracePeriodSeconds, 1)) * time.Second
	}
	return p.grace()
}

// start brings one container nearer to running: image, then, with sandbox and
// volumes there, the container itself.
func (p *pass) start(sb *cri.Sandbox, c *v1.Container) {
	if p.Starting(c.Name) {
		return
	}
	old := p.Observed.Container(c.Name)
	if old != nil && old.State == cri.Created {
		// Made by an agent that died before starting it.
		p.begin(Action{Verb: RemoveContainer, Key: "remove/" + old.ID, Container: c.Name, ID: old.ID})
		return
	}
	if old != nil && p.Killing(old.ID) {
		return
	}
	if old != nil && old.State == cri.Exited && p.force[c.Name] != old.ID && (sb == nil || old.SandboxID == sb.ID) {
		if until, delay := p.inBackoff(c, old, p.now); !until.IsZero() {
			message := p.backoffMessage(c, delay)
			p.plan.Waiting[c.Name] = Waiting{Reason: "CrashLoopBackOff", Message: message}
			p.tell("backoff/"+c.Name, old.ID, Event{Container: c.Name, Type: v1.EventTypeWarning, Reason: "BackOff",
				Message: fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.Name, podFormat(p.Pod))})
			p.wake(until)
			return
		}
	}
	if r, ok := p.startRetry[c.Name]; ok && p.now.Before(r.at) {
		p.wake(r.at)
		return
	}
	ref, ok := p.image(c)
	if !ok || sb == nil || !p.volumesReady {
		return
	}
	restarts := int32(0)
	if old != nil {
		restarts = old.RestartCount + 1
		if old.State == cri.Exited && p.force[c.Name] != old.ID {
			p.nextBackoff(c, old, p.now)
		}
	} else if st := statusOf(&p.Pod.Status, c.Name); st != nil && st.ContainerID != "" {
		restarts = st.RestartCount + 1
	}
	delete(p.images, c.Name)
	p.begin(Action{Verb: StartContainer, Key: "start/" + c.Name, Container: c.Name, SandboxID: sb.ID, Attempt: restarts, ImageRef: ref,
		Resources: map[string]v1.ResourceRequirements{c.Name: p.allocated(c)}})
}

// collect removes dead containers of which newer ones are kept, and dead
// sandboxes that hold none.
func (p *pass) collect(sb *cri.Sandbox) {
	dead := map[string]int{}
	holds := map[string]bool{}
	for _, c := range p.Observed.Containers {
		if c.State == cri.Exited {
			dead[c.Name]++
			if dead[c.Name] > 1 {
				if r := p.removeRetry[c.ID]; p.now.Before(r.at) {
					p.wake(r.at)
				} else {
					p.begin(Action{Verb: RemoveContainer, Key: "remove/" + c.ID, Container: c.Name, ID: c.ID})
				}
			}
		}
		holds[c.SandboxID] = true
	}
	for _, o := range p.Observed.Sandboxes {
		if o.ID == sb.ID || o.Ready || holds[o.ID] {
			continue
		}
		if r := p.removeRetry[o.ID]; p.now.Before(r.at) {
			p.wake(r.at)
		} else {
			p.begin(Action{Verb: RemoveSandbox, Key: "remove/" + o.ID, ID: o.ID})
		}
	}
}

func statusOf(s *v1.PodStatus, name string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
