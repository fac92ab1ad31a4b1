package probe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/env"
)

// maxOutput bounds how much of a probe's output is read and reported.
const maxOutput = 10 << 10

func (m *Manager) exec(ctx context.Context, t Target, a *v1.ExecAction, timeout time.Duration) (outcome, string) {
	// The container's literal variables are known in probe commands.
	vars := map[string]string{}
	for _, e := range t.Container.Env {
		if e.ValueFrom == nil {
			vars[e.Name] = env.Expand(e.Value, env.Lookup(vars))
		}
	}
	cmd := make([]string, len(a.Command))
	for i, s := range a.Command {
		cmd[i] = env.Expand(s, env.Lookup(vars))
	}
	r, err := m.o.Exec.ExecSync(ctx, t.ID, cmd, timeout)
	switch {
	case status.Code(err) == codes.DeadlineExceeded:
		return failure, fmt.Sprintf("command timed out: %q timed out after %s", strings.Join(a.Command, " "), timeout)
	case err != nil:
		return unknown, err.Error()
	}
	output := append(append([]byte{}, r.Stdout...), r.Stderr...)
	if len(output) > maxOutput {
		output = output[:maxOutput]
	}
	if r.ExitCode != 0 {
		return failure, string(output)
	}
	return success, string(output)
}
