package probe

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/planner"
)

type kind string

const (
	startup   kind = "Startup"
	liveness  kind = "Liveness"
	readiness kind = "Readiness"
)

// outcome is what one probe found.
type outcome string

const (
	success outcome = "success"
	warning outcome = "warning"
	failure outcome = "failure"
	unknown outcome = "unknown"
)

// counter turns outcomes into verdicts: a verdict is due once as many outcomes
// in a row as its threshold agree.
type counter struct {
	last outcome
	run  int32
}

// add returns whether a verdict is due, and which.
func (c *counter) add(o outcome, p *v1.Probe) (due, ok bool) {
	if o == warning {
		o = success
	}
	if o == c.last {
		c.run++
	} else {
		c.last, c.run = o, 1
	}
	if o == success {
		return c.run >= max(p.SuccessThreshold, 1), true
	}
	threshold := p.FailureThreshold
	if threshold <= 0 {
		threshold = 3
	}
	return c.run >= threshold, false
}

func (c *container) run(ctx context.Context, k kind, p *v1.Probe) {
	if k != startup {
		select {
		case <-c.started:
		case <-ctx.Done():
			return
		}
	}
	period := time.Duration(max(p.PeriodSeconds, 1)) * time.Second
	if p.PeriodSeconds == 0 {
		period = 10 * time.Second
	}
	first := c.target.StartedAt.Add(time.Duration(p.InitialDelaySeconds) * time.Second)
	if !c.wait(ctx, first.Sub(c.m.o.Clock.Now())) {
		return
	}
	count := counter{}
	for {
		began := c.m.o.Clock.Now()
		o, output := c.m.probe(ctx, c.target, p)
		if ctx.Err() != nil {
			return
		}
		c.tell(k, o, output)
		due, ok := count.add(o, p)
		if due && o != unknown {
			if c.verdict(ctx, k, ok) {
				return
			}
		}
		if !c.wait(ctx, period-c.m.o.Clock.Since(began)) {
			return
		}
	}
}

// verdict applies a probe's verdict; it returns whether the probe is done.
func (c *container) verdict(ctx context.Context, k kind, ok bool) bool {
	switch {
	case k == startup && ok:
		c.set(ctx, func(p *planner.Probe) {
			p.Started = true
			p.Ready = p.Ready || c.target.Container.ReadinessProbe == nil
		})
		close(c.started)
		return true
	case k == startup:
		c.set(ctx, func(p *planner.Probe) { p.Failed = planner.KillStartup })
		return true
	case k == liveness && !ok:
		// The container will be killed; its successor has probes of its own.
		c.set(ctx, func(p *planner.Probe) { p.Failed = planner.KillLiveness })
		return true
	case k == readiness:
		c.set(ctx, func(p *planner.Probe) { p.Ready = ok })
	}
	return false
}

func (c *container) tell(k kind, o outcome, output string) {
	reason, message := "Unhealthy", ""
	switch o {
	case success:
		return
	case warning:
		reason, message = "ProbeWarning", fmt.Sprintf("%s probe warning: %s", k, output)
	case failure:
		message = fmt.Sprintf("%s probe failed: %s", k, output)
	case unknown:
		message = fmt.Sprintf("%s probe errored and resulted in unknown state: %s", k, output)
	}
	c.m.o.Event(c.uid, c.target.Container.Name, reason, message)
}

// wait returns false if the probe is to end.
func (c *container) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := c.m.o.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// probe runs a probe once.
func (m *Manager) probe(ctx context.Context, t Target, p *v1.Probe) (outcome, string) {
	timeout := time.Duration(p.TimeoutSeconds) * time.Second
	if timeout <= 0 {
		timeout = time.Second
	}
	switch h := p.ProbeHandler; {
	case h.Exec != nil:
		return m.exec(ctx, t, h.Exec, timeout)
	case h.HTTPGet != nil:
		return m.httpGet(ctx, t, h.HTTPGet, timeout)
	case h.TCPSocket != nil:
		return m.tcp(ctx, t, h.TCPSocket, timeout)
	case h.GRPC != nil:
		return m.grpc(ctx, t, h.GRPC, timeout)
	}
	return unknown, fmt.Sprintf("missing probe handler for container %s", t.Container.Name)
}
