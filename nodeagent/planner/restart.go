package planner

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
)

const (
	restartBackoff    = 10 * time.Second
	restartBackoffMax = 5 * time.Minute
)

// IsSidecar tells whether an init container is a restartable one (KEP-753).
func IsSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// ShouldRestart tells whether a container of the pod that exited with code is
// to be started again: by its own rules and policy (KEP-5307), else the pod's.
func ShouldRestart(spec *v1.PodSpec, c *v1.Container, code int32) bool {
	for _, rule := range c.RestartPolicyRules {
		if rule.Action != v1.ContainerRestartRuleActionRestart || rule.ExitCodes == nil {
			continue
		}
		in := false
		for _, v := range rule.ExitCodes.Values {
			in = in || v == code
		}
		if in == (rule.ExitCodes.Operator == v1.ContainerRestartRuleOnExitCodesOpIn) {
			return true
		}
	}
	policy := spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = v1.RestartPolicy(*c.RestartPolicy)
	}
	switch policy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// inBackoff tells until when an exited container has to wait before its next
// start, the zero time if it may start now.
func (s *State) inBackoff(c *v1.Container, old *cri.Container, now time.Time) (time.Time, time.Duration) {
	b, ok := s.backoff[c.Name]
	if !ok || b.Hash != cri.Hash(c) || old.FinishedAt.Sub(b.Updated) > 2*restartBackoffMax {
		return time.Time{}, 0
	}
	if until := old.FinishedAt.Add(b.Delay); now.Before(until) {
		return until, b.Delay
	}
	return time.Time{}, 0
}

// nextBackoff records a restart.
func (s *State) nextBackoff(c *v1.Container, old *cri.Container, now time.Time) {
	hash := cri.Hash(c)
	b, ok := s.backoff[c.Name]
	switch {
	case !ok || b.Hash != hash || old.FinishedAt.Sub(b.Updated) > 2*restartBackoffMax:
		b = Backoff{Delay: restartBackoff, Hash: hash}
	default:
		b.Delay = min(2*b.Delay, restartBackoffMax)
	}
	b.Updated = now
	if s.backoff == nil {
		s.backoff = map[string]Backoff{}
	}
	s.backoff[c.Name] = b
}

func (s *State) backoffMessage(c *v1.Container, delay time.Duration) string {
	return fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", delay, c.Name, podFormat(s.Pod))
}

// podFormat is upstream's form of a pod in messages: name_namespace(uid).
func podFormat(p *v1.Pod) string { return fmt.Sprintf("%s_%s(%s)", p.Name, p.Namespace, p.UID) }

// after returns the retry that follows a failure at now: base, doubled each
// time, at most limit.
func (r retry) after(now time.Time, base, limit time.Duration) retry {
	d := base
	for i := 0; i < r.failures && d < limit; i++ {
		d *= 2
	}
	return retry{failures: r.failures + 1, at: now.Add(min(d, limit))}
}
