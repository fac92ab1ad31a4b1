package planner

import (
	"sort"
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
)

// pass is one run of Plan.
type pass struct {
	*State
	now  time.Time
	plan Plan
}

// Plan decides what to begin now. The actions it returns are under way until
// Done is called for each.
func (s *State) Plan(now time.Time) Plan {
	if s.underWay == nil {
		s.underWay = map[string]Action{}
	}
	p := &pass{State: s, now: now, plan: Plan{Waiting: map[string]Waiting{}}}
	if s.Pod == nil || s.Observed == nil {
		return p.plan
	}
	p.deadline()
	if s.endReason() || p.complete() {
		p.end()
	} else {
		p.run()
	}
	p.plan.Failed = s.Failed
	sort.SliceStable(p.plan.Events, func(i, j int) bool { return p.plan.Events[i].Container < p.plan.Events[j].Container })
	return p.plan
}

// endReason tells whether something outside the containers ends the pod.
func (s *State) endReason() bool {
	phase := s.Pod.Status.Phase
	return s.Gone || s.Pod.DeletionTimestamp != nil || s.Failed != nil || s.finished ||
		phase == v1.PodSucceeded || phase == v1.PodFailed
}

// deadline fails a pod that has outlived spec.activeDeadlineSeconds.
func (p *pass) deadline() {
	d := p.Pod.Spec.ActiveDeadlineSeconds
	if d == nil || p.endReason() || p.StartTime.IsZero() {
		return
	}
	at := p.StartTime.Add(time.Duration(*d) * time.Second)
	if p.now.Before(at) {
		p.wake(at)
		return
	}
	p.Failed = &Failure{Reason: "DeadlineExceeded", Message: "Pod was active on the node longer than the specified deadline"}
	p.plan.Events = append(p.plan.Events, Event{Type: v1.EventTypeNormal, Reason: "DeadlineExceeded", Message: p.Failed.Message})
}

// complete tells whether the pod's work is done: every container has ended for
// good, or an init container has failed for good.
func (p *pass) complete() bool {
	spec := &p.Pod.Spec
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if IsSidecar(c) || p.initialized() {
			continue
		}
		if got := p.Observed.Container(c.Name); got != nil && got.State == cri.Exited && got.ExitCode != 0 &&
			!ShouldRestart(spec, c, got.ExitCode) && !p.Starting(c.Name) {
			p.finished = true
			return true
		}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		got := p.Observed.Container(c.Name)
		if got == nil || got.State != cri.Exited || p.Starting(c.Name) || p.force[c.Name] == got.ID ||
			ShouldRestart(spec, c, got.ExitCode) {
			return false
		}
	}
	p.finished = len(spec.Containers) > 0
	return p.finished
}

// initialized tells whether a regular container exists in the present sandbox:
// then the init containers are done.
func (p *pass) initialized() bool {
	sb := p.Observed.Sandbox()
	if sb == nil {
		return false
	}
	for i := range p.Pod.Spec.Containers {
		if got := p.Observed.Container(p.Pod.Spec.Containers[i].Name); got != nil && got.SandboxID == sb.ID && got.State != cri.Created {
			return true
		}
	}
	return false
}

func (p *pass) wake(at time.Time) {
	if !at.IsZero() && (p.plan.Wake.IsZero() || at.Before(p.plan.Wake)) {
		p.plan.Wake = at
	}
}

// begin adds the action unless one with its key is under way.
func (p *pass) begin(a Action) {
	if _, ok := p.underWay[a.Key]; ok {
		return
	}
	p.underWay[a.Key] = a
	p.plan.Actions = append(p.plan.Actions, a)
}

// cancel asks an action that is under way to give up, once.
func (p *pass) cancel(key string) {
	a, ok := p.underWay[key]
	if !ok || a.Message == "cancelled" {
		return
	}
	a.Message = "cancelled"
	p.underWay[key] = a
	p.plan.Actions = append(p.plan.Actions, Action{Verb: Cancel, Key: key})
}

// kill begins the killing of a running container, or hastens it if the grace
// period has become shorter.
func (p *pass) kill(c *cri.Container, grace time.Duration, reason KillReason, message string) {
	if message == "" {
		message = killMessagePrefix + c.Name
	}
	a := Action{Verb: KillContainer, Key: "kill/" + c.ID, Container: c.Name, ID: c.ID, Grace: grace, Reason: reason, Message: message}
	if old, ok := p.underWay[a.Key]; ok && old.Grace <= grace {
		return
	} else if ok {
		// The executor replaces the kill that is under way.
		p.underWay[a.Key] = a
		p.plan.Actions = append(p.plan.Actions, a)
		return
	}
	if r := p.removeRetry[a.Key]; p.now.Before(r.at) {
		p.wake(r.at)
		return
	}
	p.begin(a)
}

// grace is what containers get when the pod ends.
func (s *State) grace() time.Duration {
	seconds := int64(30)
	if g := s.Pod.Spec.TerminationGracePeriodSeconds; g != nil {
		seconds = *g
	}
	if g := s.Pod.DeletionGracePeriodSeconds; g != nil && *g < seconds {
		seconds = *g
	}
	// As upstream: never less than a second, or SIGTERM would have no meaning.
	return time.Duration(max(seconds, 1)) * time.Second
}
