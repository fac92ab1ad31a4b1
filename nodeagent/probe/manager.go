package probe

import (
	"context"
	"net/http"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
)

// Executor runs a command in a container.
type Executor interface {
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (cri.ExecResult, error)
}

// Options are what a Manager needs; all are required.
type Options struct {
	Exec  Executor
	Clock clock.Clock
	// Changed is told what the probes of a container say whenever that changes.
	Changed func(uid types.UID, containerID string, p planner.Probe)
	// Event is told of failed probes: the message of an Unhealthy or ProbeWarning event.
	Event func(uid types.UID, container, reason, message string)
}

// Target is a running container whose probes are to run.
type Target struct {
	Container *v1.Container
	// ID is the runtime's id.
	ID        string
	StartedAt time.Time
	// PodIP is where probes without a host go.
	PodIP string
	// Seed is what was last reported of this very container, by an agent
	// before this one; nil for a container just started.
	Seed *planner.Probe
}

// Manager runs the probes of all containers.
type Manager struct {
	o    Options
	http *http.Client

	mu   sync.Mutex
	pods map[types.UID]map[string]*container
}

// New returns a manager without containers.
func New(o Options) *Manager {
	return &Manager{o: o, http: client(), pods: map[types.UID]map[string]*container{}}
}

// Sync makes the probed containers of a pod those given; others stop. Calling
// it with what it knows already costs next to nothing.
func (m *Manager) Sync(uid types.UID, targets []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.pods[uid]
	want := map[string]bool{}
	for _, t := range targets {
		want[t.ID] = true
		if have[t.ID] != nil {
			continue
		}
		if have == nil {
			have = map[string]*container{}
			m.pods[uid] = have
		}
		have[t.ID] = m.start(uid, t)
	}
	for id, c := range have {
		if !want[id] {
			c.cancel()
			delete(have, id)
		}
	}
	if len(have) == 0 {
		delete(m.pods, uid)
	}
}

// Stop ends all probes.
func (m *Manager) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for uid, have := range m.pods {
		for _, c := range have {
			c.cancel()
		}
		delete(m.pods, uid)
	}
}

// Initial is what a container's probes say before any has run.
func Initial(c *v1.Container) planner.Probe {
	return planner.Probe{Started: c.StartupProbe == nil, Ready: c.StartupProbe == nil && c.ReadinessProbe == nil}
}

// container is one container's probes.
type container struct {
	m       *Manager
	uid     types.UID
	target  Target
	cancel  context.CancelFunc
	started chan struct{} // closed when the startup probe has succeeded

	mu    sync.Mutex
	probe planner.Probe
}

func (m *Manager) start(uid types.UID, t Target) *container {
	ctx, cancel := context.WithCancel(context.Background())
	c := &container{m: m, uid: uid, target: t, cancel: cancel, started: make(chan struct{}), probe: Initial(t.Container)}
	if t.Seed != nil {
		c.probe = *t.Seed
	}
	if c.probe.Started {
		close(c.started)
	}
	spec := t.Container
	if spec.StartupProbe != nil && !c.probe.Started {
		go c.run(ctx, startup, spec.StartupProbe)
	}
	if spec.LivenessProbe != nil {
		go c.run(ctx, liveness, spec.LivenessProbe)
	}
	if spec.ReadinessProbe != nil {
		go c.run(ctx, readiness, spec.ReadinessProbe)
	}
	return c
}

// set changes what the probes say and tells about it.
func (c *container) set(ctx context.Context, change func(p *planner.Probe)) {
	c.mu.Lock()
	old := c.probe
	change(&c.probe)
	now := c.probe
	c.mu.Unlock()
	if old != now && ctx.Err() == nil {
		c.m.o.Changed(c.uid, c.target.ID, now)
	}
}
