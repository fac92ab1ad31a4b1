package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHelm installs, upgrades, rolls back, tests and uninstalls our chart with
// both Helms in use.
func TestHelm(t *testing.T) {
	p := newCluster(t)
	chart, err := filepath.Abs("../../charts/webapp")
	if err != nil {
		t.Fatal(err)
	}
	for _, helm := range []string{"tools/helm3", "tools/helm4"} {
		t.Run(filepath.Base(helm), func(t *testing.T) {
			p := p.In(t)
			run := func(args ...string) string {
				t.Helper()
				out, err := p.Try(append([]string{bin(helm)}, args...)...)
				if err != nil {
					events, _ := p.TryKubectl("get", "events,pods", "-A")
					t.Fatalf("helm %s: %v\n%s\n%s", strings.Join(args, " "), err, out, events)
				}
				return out
			}
			run("install", "site", chart, "--wait", "--timeout", "2m")
			p.EventuallySays("deployment.apps/site", 10*time.Second, "get", "deployments", "-o", "name")
			run("test", "site", "--timeout", "1m")
			run("upgrade", "site", chart, "--set", "replicas=3", "--wait", "--timeout", "2m")
			p.EventuallySays("3", 10*time.Second, "get", "deployments", "-o", "jsonpath={.items[*].status.readyReplicas}")
			run("rollback", "site", "1", "--wait", "--timeout", "2m")
			if out := run("history", "site"); !strings.Contains(out, "Rollback to 1") {
				t.Errorf("history: %s", out)
			}
			run("uninstall", "site", "--wait", "--timeout", "2m")
			p.EventuallySays("No resources found", 60*time.Second, "get", "deployments,pods,jobs,services", "-l", "app.kubernetes.io/instance=site")
		})
	}
}
