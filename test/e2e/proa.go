package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin finds a built program: PROA_BIN (default ../../bin) below the repository.
func bin(name string) string {
	dir := os.Getenv("PROA_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		panic(err)
	}
	return path
}

// Proa is one running `proa` process on a machine.
type Proa struct {
	*Machine
	args []string
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
}

// StartServer runs `proa server` on the machine and waits until it says it is
// ready. The test ends with `proa reset`.
func (m *Machine) StartServer(args ...string) *Proa {
	m.t.Helper()
	base := []string{bin("proa"), "server", "--data-dir", m.data(), "--advertise-address", m.Address,
		"--node-name", m.Name, "--pod-logs-dir", filepath.Join(m.Dir, "pods")}
	return m.start(append(base, args...))
}

// StartAgent runs `proa agent` on the machine, joined to the server.
func (m *Machine) StartAgent(server *Proa, args ...string) *Proa {
	m.t.Helper()
	token, err := os.ReadFile(filepath.Join(server.data(), "node-token"))
	if err != nil {
		m.t.Fatal(err)
	}
	base := []string{bin("proa"), "agent", "--data-dir", m.data(), "--server", "https://" + server.Address + ":6443",
		"--token", strings.TrimSpace(string(token)), "--node-name", m.Name, "--pod-logs-dir", filepath.Join(m.Dir, "pods")}
	return m.start(append(base, args...))
}

func (m *Machine) data() string { return filepath.Join(m.Dir, "data") }

func (m *Machine) start(args []string) *Proa {
	m.t.Helper()
	p := &Proa{Machine: m, args: args}
	m.t.Cleanup(func() {
		p.Stop()
		if m.t.Failed() {
			m.t.Logf("%s: output of proa:\n%s", m.Name, p.out.String())
			m.t.Logf("%s: last errors and warnings of its log:\n%s", m.Name, complaints(filepath.Join(m.data(), "logs", "proa.log"), 40))
			if os.Getenv("PROA_E2E_KEEP") != "" {
				return
			}
		}
		if out, err := m.Try(bin("proa"), "reset", "--data-dir", m.data(), "--yes"); err != nil {
			m.t.Errorf("%s: reset: %v\n%s", m.Name, err, out)
		}
	})
	p.Start()
	return p
}

// Start starts the process (again) and waits until it is ready.
func (p *Proa) Start() {
	p.t.Helper()
	p.cmd = p.Command(context.Background(), p.args...)
	p.out = &output{ready: make(chan struct{})}
	p.done = make(chan struct{})
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go p.out.read(r)
	go func() {
		_ = p.cmd.Wait()
		_ = w.Close()
		close(p.done)
	}()
	select {
	case <-p.out.ready:
	case <-p.done:
		p.t.Fatalf("%s: proa ended before it was ready:\n%s", p.Name, p.out.String())
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("%s: proa is not ready after 2 minutes:\n%s", p.Name, p.out.String())
	}
}

// Kill ends the process with SIGKILL, as a crash would.
func (p *Proa) Kill() { p.signal(syscall.SIGKILL) }

// Stop ends the process with SIGTERM and waits.
func (p *Proa) Stop() { p.signal(syscall.SIGTERM) }

func (p *Proa) signal(s syscall.Signal) {
	p.t.Helper()
	// nsenter executes the program in its own place, so this is proa's process.
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		p.t.Errorf("%s: proa did not end within a minute of %v", p.Name, s)
	}
}

// Kubectl runs kubectl as the administrator and returns its output.
func (p *Proa) Kubectl(args ...string) string {
	p.t.Helper()
	return p.must(append([]string{bin("tools/kubectl")}, args...)...)
}

// TryKubectl is Kubectl that may fail.
func (p *Proa) TryKubectl(args ...string) (string, error) {
	return p.Try(append([]string{bin("tools/kubectl")}, args...)...)
}

// In is the same process for a subtest: failures are that test's.
func (p *Proa) In(t *testing.T) *Proa {
	m, c := *p.Machine, *p
	m.t, c.Machine = t, &m
	return &c
}

// Apply applies a manifest.
func (p *Proa) Apply(manifest string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := p.Command(ctx, bin("tools/kubectl"), "apply", "-f", "-")
	c.Stdin = strings.NewReader(manifest)
	if out, err := c.CombinedOutput(); err != nil {
		p.t.Fatalf("kubectl apply: %v\n%s\n%s", err, out, manifest)
	}
}

// Eventually tries until check returns nil; it fails the test after the time.
func Eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("after %s: %v", within, err)
}

// EventuallySays waits until kubectl's output contains want.
func (p *Proa) EventuallySays(want string, within time.Duration, args ...string) {
	p.t.Helper()
	Eventually(p.t, within, func() error {
		out, err := p.TryKubectl(args...)
		if err == nil && strings.Contains(out, want) {
			return nil
		}
		return fmt.Errorf("kubectl %s: want %q in (%v):\n%s", strings.Join(args, " "), want, err, out)
	})
}

// output collects what proa prints and notices its word that it is ready.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	ready chan struct{}
	once  sync.Once
}

func (o *output) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		o.mu.Lock()
		o.text.WriteString(lines.Text() + "\n")
		o.mu.Unlock()
		if strings.HasPrefix(lines.Text(), "proa is ready") {
			o.once.Do(func() { close(o.ready) })
		}
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// complaints returns the last lines of a klog file that are errors or warnings.
func complaints(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, l := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(l, "E") || strings.HasPrefix(l, "W") || strings.HasPrefix(l, "F") {
			all = append(all, l)
		}
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
