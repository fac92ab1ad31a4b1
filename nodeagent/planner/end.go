package planner

import (
	"maps"
	"slices"
	"time"

	"proa/nodeagent/cri"
)

// minimumGrace is what a sidecar gets at least, however long the others took.
const minimumGrace = 2 * time.Second

// end plans a pod's termination: containers first, sidecars after them in
// reverse order, then sandbox and volumes together, then the pod's traces.
func (p *pass) end() {
	if p.ending.IsZero() {
		p.ending, p.volumesRetry = p.now, retry{}
	}
	waiting := false
	for _, key := range slices.Sorted(maps.Keys(p.underWay)) {
		switch p.underWay[key].Verb {
		case SetupVolumes, EnsureImage, StartContainer:
			waiting = true
			p.cancel(key)
		case CreateSandbox:
			waiting = true
		}
	}
	if p.killOrdered() {
		return
	}
	if waiting {
		return
	}
	p.plan.Terminal = true

	down := true
	for _, sb := range p.Observed.Sandboxes {
		if p.stopped[sb.ID] {
			continue
		}
		down = false
		if r := p.removeRetry[sb.ID]; p.now.Before(r.at) {
			p.wake(r.at)
			continue
		}
		p.begin(Action{Verb: StopSandbox, Key: "stop/" + sb.ID, ID: sb.ID})
	}
	if !p.volumesGone {
		down = false
		if p.now.Before(p.volumesRetry.at) && p.volumesRetry.failures > 0 {
			p.wake(p.volumesRetry.at)
		} else {
			p.begin(Action{Verb: TeardownVolumes, Key: "volumes"})
		}
	}
	if !down {
		return
	}
	if p.Pod.DeletionTimestamp == nil && !p.Gone {
		// The pod is done but kept: its containers and logs stay readable.
		p.plan.Finished = true
		return
	}
	if !p.Gone && !p.deleted {
		if r := p.removeRetry["delete"]; p.now.Before(r.at) {
			p.wake(r.at)
		} else {
			p.begin(Action{Verb: DeletePod, Key: "delete"})
		}
	}
	removed := true
	for _, sb := range p.Observed.Sandboxes {
		removed = false
		if r := p.removeRetry[sb.ID]; p.now.Before(r.at) {
			p.wake(r.at)
			continue
		}
		p.begin(Action{Verb: RemoveSandbox, Key: "remove/" + sb.ID, ID: sb.ID})
	}
	for _, c := range p.Observed.Containers {
		if p.Observed.HasSandbox(c.SandboxID) {
			continue
		}
		removed = false
		if r := p.removeRetry[c.ID]; p.now.Before(r.at) {
			p.wake(r.at)
			continue
		}
		p.begin(Action{Verb: RemoveContainer, Key: "remove/" + c.ID, Container: c.Name, ID: c.ID})
	}
	if !removed {
		return
	}
	if !p.cleaned {
		if r := p.removeRetry["cleanup"]; p.now.Before(r.at) {
			p.wake(r.at)
			return
		}
		p.begin(Action{Verb: Cleanup, Key: "cleanup"})
		return
	}
	p.plan.Finished = !p.Busy()
}

// killOrdered kills what runs, sidecars last and in reverse order. It returns
// whether anything still runs.
func (p *pass) killOrdered() bool {
	grace := p.grace()
	sidecar := map[string]int{}
	for i := range p.Pod.Spec.InitContainers {
		if c := &p.Pod.Spec.InitContainers[i]; IsSidecar(c) {
			sidecar[c.Name] = i
		}
	}
	var running []*cri.Container
	var last *cri.Container
	for _, c := range p.Observed.Containers {
		if c.State != cri.Running && c.State != cri.Unknown {
			continue
		}
		i, ok := sidecar[c.Name]
		if !ok {
			running = append(running, c)
		} else if last == nil || i > sidecar[last.Name] {
			last = c
		}
	}
	for _, c := range running {
		p.kill(c, grace, KillPod, "")
	}
	if len(running) > 0 {
		// If the grace period passes with a container that will not end, the
		// sidecars do not wait for it.
		if last != nil {
			at := p.ending.Add(grace)
			if p.now.Before(at) {
				p.wake(at)
				return true
			}
			p.kill(last, minimumGrace, KillPod, "")
		}
		return true
	}
	if last == nil {
		return false
	}
	if !p.Killing(last.ID) {
		p.kill(last, max(grace-p.now.Sub(p.ending), minimumGrace).Truncate(time.Second), KillPod, "")
	} else {
		p.kill(last, max(grace, minimumGrace), KillPod, "")
	}
	return true
}
