package nodeagent

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
	"proa/nodeagent/status"
	"proa/nodeagent/volume"
)

// worker is one pod's: it feeds the planner and runs its actions. It has no
// goroutine of its own; whoever brings news plans, under the lock, and each
// action runs in a goroutine until its result is news in turn.
type worker struct {
	agent  *Agent
	uid    types.UID
	ctx    context.Context
	writer *statusWriter

	mu        sync.Mutex
	state     planner.State
	last      *v1.PodStatus // last generated
	cancels   map[string]context.CancelFunc
	timer     clock.Timer
	timerAt   time.Time
	seq       int  // counts changes of state.Observed by actions
	observing bool // a read of the runtime is under way
	again     bool // … and its result is stale already
	volumes   map[string]volume.Mounted
	users     map[string]map[string]imageUser // container → image → user
	seen      time.Time
	reported  bool // the start latency has been
	known     bool // the API's pod has been seen, not only the runtime's

	pending          *pendingResize
	reconsider       bool   // the pending resize may fit now
	resizing         bool   // as last reported
	resizeError      string // as last reported
	resizeGeneration int64  // of the spec last granted
}

func newWorker(a *Agent, ctx context.Context, pod *v1.Pod) *worker {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("pod", klog.KObj(pod), "podUID", pod.UID))
	w := &worker{
		agent: a, uid: pod.UID, ctx: ctx,
		writer:  &statusWriter{client: a.client, clock: a.o.Clock},
		cancels: map[string]context.CancelFunc{},
		users:   map[string]map[string]imageUser{},
		seen:    a.o.Clock.Now(),
	}
	w.state.Pod = pod
	w.state.Probes = map[string]planner.Probe{}
	return w
}

// update changes the state and plans.
func (w *worker) update(change func(s *planner.State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.state)
	w.plan()
}

// plan decides, reports and begins. The lock is held.
func (w *worker) plan() {
	if w.ctx.Err() != nil {
		return
	}
	a, s := w.agent, &w.state
	now := a.o.Clock.Now()
	s.NetworkReady = a.networkReady()
	w.allocate()
	p := s.Plan(now)
	for _, e := range p.Events {
		if e.Container == "" {
			a.events.pod(s.Pod, e.Type, e.Reason, e.Message)
		} else {
			a.events.container(s.Pod, e.Container, e.Type, e.Reason, e.Message)
		}
	}
	w.report(p, now)
	for _, act := range p.Actions {
		w.begin(act)
	}
	w.wake(p.Wake, now)
	a.probes.Sync(w.uid, w.targets())
	if p.Finished && s.Gone {
		w.stopTimer()
		w.writer.stop()
		a.forget(w)
	}
}

// report makes the pod's status and has it written if it says something new.
func (w *worker) report(p planner.Plan, now time.Time) {
	s := &w.state
	if s.Gone || !w.known || s.Observed == nil {
		return
	}
	old := w.last
	if old == nil {
		old = &s.Pod.Status
	}
	next := status.Generate(status.Input{
		Pod: s.Pod, Old: old, Observed: s.Observed, Starting: s.Starting, Waiting: p.Waiting, Probes: s.Probes,
		Allocated: s.Allocated(), Applied: s.Applied, Resize: w.resize(),
		Terminal: p.Terminal, Failed: p.Failed, HostIPs: w.agent.hostIPs(), Now: now,
	})
	if p.Terminal {
		w.agent.release(w.uid)
	}
	if s.StartTime.IsZero() && next.StartTime != nil {
		s.StartTime = next.StartTime.Time
	}
	if !w.reported && next.Phase == v1.PodRunning {
		w.reported = true
		w.agent.metrics.started(s.Pod, now)
	}
	if status.Same(old, &next) {
		if w.last == nil {
			w.last = &next
		}
		return
	}
	w.last = &next
	w.writer.write(w.ctx, next.DeepCopy())
}

// wake sets the timer to the time of the next plan.
func (w *worker) wake(at time.Time, now time.Time) {
	if at.Equal(w.timerAt) && w.timer != nil {
		return
	}
	w.stopTimer()
	if at.IsZero() {
		return
	}
	w.timerAt = at
	w.timer = w.agent.o.Clock.AfterFunc(max(at.Sub(now), 0), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.timerAt.Equal(at) {
			w.timer, w.timerAt = nil, time.Time{}
		}
		w.plan()
	})
}

func (w *worker) stopTimer() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer, w.timerAt = nil, time.Time{}
}

// begin runs an action. The lock is held.
func (w *worker) begin(act planner.Action) {
	if act.Verb == planner.Cancel {
		if cancel := w.cancels[act.Key]; cancel != nil {
			cancel()
		}
		return
	}
	run := w.agent.actions[act.Verb]
	if old := w.cancels[act.Key]; old != nil {
		// A kill that is hastened: the one before stops waiting.
		old()
	}
	ctx, cancel := context.WithCancel(w.ctx)
	w.cancels[act.Key] = cancel
	pod := w.state.Allocated()
	log, start := klog.FromContext(w.ctx), w.agent.o.Clock.Now()
	log.V(4).Info("Begin", "action", act.String())
	go func() {
		defer cancel()
		r := run(ctx, w, pod, act)
		log.V(3).Info("Done", "action", act.String(), "took", w.agent.o.Clock.Since(start), "err", r.Err)
		w.done(act, r)
	}()
}

// done takes an action's result in and plans on.
func (w *worker) done(act planner.Action, r planner.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Err != nil && w.ctx.Err() == nil {
		klog.FromContext(w.ctx).Info("Action failed", "action", act.String(), "err", r.Err)
	}
	w.seq++
	w.state.Done(act, r, w.agent.o.Clock.Now())
	if !w.state.UnderWay(act.Key) {
		delete(w.cancels, act.Key)
	}
	if r.Err != nil && (act.Verb == planner.CreateSandbox || act.Verb == planner.StartContainer) {
		// Something may be left of it.
		w.observe()
	}
	w.plan()
}

// event takes a runtime event in.
func (w *worker) event(e *runtimeapi.ContainerEventResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.state
	if s.Observed == nil || !s.Observed.Stale(e) {
		return
	}
	id := e.GetContainerId()
	switch e.GetContainerEventType() {
	case runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT:
		// What is being made here comes back as a result.
		if s.Making() {
			return
		}
	case runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT:
		if s.UnderWay("kill/"+id) || s.UnderWay("stop/"+id) {
			return
		}
	case runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT:
		if s.Busy() || !s.Observed.Has(id) {
			return
		}
	}
	w.observe()
}

// observe reads the pod's state from the runtime, in the background. The lock
// is held.
func (w *worker) observe() {
	if w.observing {
		w.again = true
		return
	}
	w.observing, w.again = true, false
	seq, previous := w.seq, w.state.Observed
	go func() {
		for {
			got, err := w.agent.observer.Observe(w.ctx, w.uid, previous)
			w.mu.Lock()
			if w.ctx.Err() != nil {
				w.mu.Unlock()
				return
			}
			if err == nil && !w.again && seq == w.seq {
				w.observing = false
				w.state.Observed = got
				w.plan()
				w.mu.Unlock()
				return
			}
			w.again = false
			seq, previous = w.seq, w.state.Observed
			w.mu.Unlock()
			if err != nil {
				// The relist repairs what a dead runtime keeps back.
				klog.FromContext(w.ctx).V(1).Info("Cannot read the pod's containers", "err", err)
				t := w.agent.o.Clock.NewTimer(500 * time.Millisecond)
				select {
				case <-t.C():
				case <-w.ctx.Done():
					t.Stop()
					return
				}
			}
		}
	}()
}

// What follows is read by actions.

func (w *worker) observed() *cri.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Observed
}

func (w *worker) podIPs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.Pod.Spec.HostNetwork {
		return w.agent.hostIPs()
	}
	return w.state.Observed.IPs()
}

func (w *worker) podIP() string {
	if ips := w.podIPs(); len(ips) > 0 {
		return ips[0]
	}
	return ""
}

func (w *worker) sandboxOf(container string) string {
	if p := w.observed(); p != nil {
		for _, c := range p.Containers {
			if c.ID == container {
				return c.SandboxID
			}
		}
	}
	return ""
}

func (w *worker) mounted() map[string]volume.Mounted {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.volumes
}

func (w *worker) setMounted(m map[string]volume.Mounted) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.volumes = m
}

func (w *worker) setUser(container, image string, u imageUser) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[container] = map[string]imageUser{image: u}
}

func (w *worker) userOf(ctx context.Context, container, image string) (imageUser, error) {
	w.mu.Lock()
	u, ok := w.users[container][image]
	w.mu.Unlock()
	if ok {
		return u, nil
	}
	return w.agent.imageUserOf(ctx, image)
}
