package planner

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
)

// Done takes in how an action ended. a is the action as planned.
func (s *State) Done(a Action, r Result, now time.Time) {
	if a.Verb == Cancel {
		return
	}
	if cur, ok := s.underWay[a.Key]; ok {
		if cur.Verb == KillContainer && cur.Grace != a.Grace {
			// A hastened kill has taken this one's place.
			s.merge(r)
			return
		}
		a.Message = cur.Message
		delete(s.underWay, a.Key)
	}
	s.merge(r)
	switch a.Verb {
	case SetupVolumes:
		s.volumesReady, s.volumesGone = r.Err == nil, false
		s.volumesRetry = s.volumesRetry.outcome(r.Err, now, 500*time.Millisecond, 8*time.Second)
		if s.Ending() {
			// What could not be set up is torn down without delay.
			s.volumesRetry = retry{}
		}
	case TeardownVolumes:
		s.volumesGone = r.Err == nil
		if r.Err == nil {
			s.volumesReady = false
		}
		s.volumesRetry = s.volumesRetry.outcome(r.Err, now, 500*time.Millisecond, 8*time.Second)
	case CreateSandbox:
		s.sandboxRetry = s.sandboxRetry.outcome(r.Err, now, time.Second, 15*time.Second)
	case EnsureImage:
		s.imageDone(a, r, now)
	case StartContainer:
		s.startDone(a, r, now)
	case ResizePod:
		s.resizeDone(r, now)
	case KillContainer:
		s.again(a.Key, r.Err, now)
		if r.Err != nil && cri.IsNotFound(r.Err) {
			s.Observed = s.Observed.Without(a.ID)
		}
	case StopSandbox:
		s.again(a.ID, r.Err, now)
		if r.Err == nil || cri.IsNotFound(r.Err) {
			if s.stopped == nil {
				s.stopped = map[string]bool{}
			}
			s.stopped[a.ID] = true
			s.Observed = s.Observed.Stopped(a.ID)
		}
	case RemoveContainer, RemoveSandbox:
		if r.Err == nil || cri.IsNotFound(r.Err) {
			s.Observed = s.Observed.Without(a.ID)
			delete(s.removeRetry, a.ID)
		} else {
			s.again(a.ID, r.Err, now)
		}
	case DeletePod:
		s.again("delete", r.Err, now)
		s.deleted = r.Err == nil
	case Cleanup:
		s.again("cleanup", r.Err, now)
		s.cleaned = r.Err == nil
	}
}

func (s *State) startDone(a Action, r Result, now time.Time) {
	delete(s.force, a.Container)
	if c := r.Container; c != nil {
		s.apply(map[string]v1.ResourceRequirements{c.ID: a.Resources[a.Container]})
	}
	if r.Err == nil {
		delete(s.waiting, a.Container)
		delete(s.startRetry, a.Container)
		return
	}
	if a.Message == "cancelled" {
		return
	}
	if s.waiting == nil {
		s.waiting = map[string]Waiting{}
	}
	s.waiting[a.Container] = Waiting{Reason: r.Reason, Message: r.Err.Error()}
	if r.Container == nil {
		// Nothing was made that a restart backoff could count by.
		if s.startRetry == nil {
			s.startRetry = map[string]retry{}
		}
		s.startRetry[a.Container] = s.startRetry[a.Container].after(now, time.Second, 10*time.Second)
	}
}

func (s *State) merge(r Result) {
	if r.Sandbox != nil || r.Container != nil {
		s.Observed = s.Observed.With(r.Sandbox, r.Container)
	}
}

func (s *State) again(key string, err error, now time.Time) {
	if s.removeRetry == nil {
		s.removeRetry = map[string]retry{}
	}
	if err == nil {
		delete(s.removeRetry, key)
		return
	}
	s.removeRetry[key] = s.removeRetry[key].after(now, time.Second, 30*time.Second)
}

func (r retry) outcome(err error, now time.Time, base, limit time.Duration) retry {
	if err == nil {
		return retry{}
	}
	return r.after(now, base, limit)
}
