package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFaults starts proa where it cannot run: one clear line, the way out, the
// right exit code, nothing damaged.
func TestFaults(t *testing.T) {
	n := NewNetwork(t)
	p := n.newServer(t, "--no-node")
	run := func(m *Machine, args ...string) (string, int) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		out, err := m.Command(ctx, append([]string{bin("proa")}, args...)...).CombinedOutput()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		return string(out), code
	}
	t.Run("two servers on one data directory", func(t *testing.T) {
		out, code := run(p.Machine, "server", "--no-node", "--data-dir", p.data(), "--secure-port", "7443", "--etcd-port", "3379", "--etcd-peer-port", "3380")
		if code != 3 && code != 1 || !strings.Contains(out, p.data()) {
			t.Errorf("exit code %d:\n%s", code, out)
		}
		p.Kubectl("get", "namespaces")
	})
	t.Run("port in use", func(t *testing.T) {
		out, code := run(p.Machine, "server", "--no-node", "--data-dir", filepath.Join(p.Dir, "other"), "--etcd-port", "3379", "--etcd-peer-port", "3380")
		if code != 3 || !strings.Contains(out, "6443") || !strings.Contains(out, "--secure-port") {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		small := filepath.Join(p.Dir, "small")
		if err := os.MkdirAll(small, 0o755); err != nil {
			t.Fatal(err)
		}
		must(t, "mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small)
		t.Cleanup(func() { must(t, "umount", small) })
		args := []string{"server", "--no-node", "--data-dir", filepath.Join(small, "data"), "--secure-port", "7443", "--etcd-port", "3379", "--etcd-peer-port", "3380"}
		if out, code := run(p.Machine, args...); code != 3 || !strings.Contains(out, "disk") {
			t.Errorf("preflight: exit code %d:\n%s", code, out)
		}
		if out, code := run(p.Machine, append(args, "--skip-check")...); code != 1 || !strings.Contains(out, "no space left") || strings.Contains(out, "goroutine") {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	})
	t.Run("unknown flag", func(t *testing.T) {
		if out, code := run(p.Machine, "server", "--no-such-flag"); code != 2 || !strings.Contains(out, "no-such-flag") {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	})
	t.Run("corrupt data directory", func(t *testing.T) {
		m := n.NewMachine(t, "corrupt")
		s := m.StartServer("--no-node")
		s.Stop()
		db := filepath.Join(m.data(), "etcd", "member", "snap", "db")
		if err := os.WriteFile(db, []byte("this is no database"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, code := run(m, "server", "--no-node", "--data-dir", m.data())
		if code != 1 || !strings.Contains(out, "etcd") || strings.Contains(out, "goroutine") {
			t.Errorf("exit code %d:\n%s", code, out)
		}
		if err := os.RemoveAll(filepath.Join(m.data(), "etcd")); err != nil {
			t.Fatal(err)
		}
	})
}

// TestExternalEtcd runs the control plane on a separate etcd process.
func TestExternalEtcd(t *testing.T) {
	m := NewNetwork(t).NewMachine(t, "one")
	etcd := m.Command(context.Background(), bin("tools/etcd"), "--data-dir", filepath.Join(m.Dir, "etcd"), "--log-level", "error")
	if err := etcd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Process.Kill(); _ = etcd.Wait() })
	p := m.StartServer("--no-node", "--etcd-servers", "http://127.0.0.1:2379", "--simulated-nodes", "3")
	p.Kubectl("create", "deployment", "web", "--image=proa.local/webapp:1.0", "--replicas=6")
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=60s")
}

// TestReset compares the host before a cluster and after its reset.
func TestReset(t *testing.T) {
	n := NewNetwork(t)
	m := n.NewMachine(t, "one")
	before := m.host()
	m.addImages()
	p := m.StartServer()
	p.Apply(webapp)
	p.Kubectl("rollout", "status", "deployment/web", "--timeout=90s")
	m.noteID()
	p.Stop()
	if out, err := m.Try(bin("proa"), "reset", "--yes", "--data-dir", m.data()); err != nil {
		t.Fatalf("reset: %v\n%s", err, out)
	}
	if after := m.host(); after != before {
		t.Errorf("the host differs.\nbefore:\n%s\nafter:\n%s", before, after)
	}
	if _, err := os.Stat(m.data()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", m.data(), err)
	}
}

// noteID remembers the cluster id, which reset removes.
func (m *Machine) noteID() {
	m.t.Helper()
	id, err := os.ReadFile(filepath.Join(m.data(), "cluster-id"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.id = strings.TrimSpace(string(id))
}

// host is what a cluster could leave behind: links, routes, rules, and what of
// the machine-wide mounts, cgroups and processes bears this machine's directory
// or cluster id.
func (m *Machine) host() string {
	var out strings.Builder
	for _, c := range [][]string{{"ip", "-brief", "link"}, {"ip", "route"}, {"nft", "list", "ruleset"}} {
		out.WriteString(m.must(c...))
	}
	match := []string{m.Dir}
	if m.id != "" {
		match = append(match, "proa-"+m.id)
	}
	for _, words := range match {
		for _, c := range []string{"cat /proc/mounts", "ps axww -o args", "find /sys/fs/cgroup -type d", "ls /run /var/run/netns"} {
			b, _ := exec.Command("sh", "-c", c+" | grep -F -- "+words+" | grep -v grep").Output()
			out.Write(b)
		}
	}
	return out.String()
}
