package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cluster is a server and an agent, both of them nodes.
type cluster struct {
	bin           string
	network       *network
	machines      []*machine
	processes     []*process
	server, agent *machine
}

func (c *cluster) kubeconfig() string { return filepath.Join(c.server.data(), "admin.kubeconfig") }

// startCluster returns when both nodes are ready and hold all images. What it
// returns is to be removed, also after an error.
func startCluster(ctx context.Context, bin string) (*cluster, error) {
	c := &cluster{bin: bin}
	began := time.Now()
	images, err := filepath.Glob(filepath.Join(bin, "images", "conformance", "*.tar"))
	if err != nil || len(images) == 0 {
		return c, fmt.Errorf("no images in %s/images/conformance: make conformance-images (%v)", bin, err)
	}
	if c.network, err = newNetwork(); err != nil {
		return c, err
	}
	if err := c.startRegistry(); err != nil {
		return c, err
	}
	for _, m := range []struct {
		name string
		is   **machine
	}{{"node-1", &c.server}, {"node-2", &c.agent}} {
		if *m.is, err = c.network.newMachine(m.name); err != nil {
			return c, err
		}
		c.machines = append(c.machines, *m.is)
		if err := provide(images, filepath.Join((*m.is).data(), "images")); err != nil {
			return c, err
		}
		if err := mirror(*m.is, "registry.k8s.io"); err != nil {
			return c, err
		}
	}
	if err := c.start(ctx, c.server, "server", "--advertise-address", c.server.address); err != nil {
		return c, err
	}
	token, err := os.ReadFile(filepath.Join(c.server.data(), "node-token"))
	if err != nil {
		return c, err
	}
	if err := c.start(ctx, c.agent, "agent", "--server", "https://"+c.server.address+":6443", "--token", strings.TrimSpace(string(token))); err != nil {
		return c, err
	}
	if err := c.waitForImages(ctx, len(images)); err != nil {
		return c, err
	}
	fmt.Printf("two nodes with their images are ready after %.0f s\n", time.Since(began).Seconds())
	return c, nil
}

// startRegistry runs this program on the switch, serving the images.
func (c *cluster) startRegistry() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := startProcess(exec.Command("nsenter", "--net=/run/netns/"+c.network.name, self, "-serve-images", "-bin", c.bin))
	if err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	return nil
}

// provide links the archives into a folder that the node imports from.
func provide(images []string, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, image := range images {
		if err := command("cp", "--reflink=auto", image, dir); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) start(ctx context.Context, m *machine, verb string, args ...string) error {
	base := []string{filepath.Join(c.bin, "proa"), verb, "--data-dir", m.data(), "--node-name", m.name,
		"--pod-logs-dir", filepath.Join(m.dir, "pods")}
	p, err := startProcess(m.command(context.Background(), append(base, args...)...))
	if err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	select {
	case <-p.ready:
		return nil
	case <-p.done:
		return fmt.Errorf("%s: proa ended before it was ready:\n%s", m.name, p.text.String())
	case <-time.After(3 * time.Minute):
		return fmt.Errorf("%s: proa is not ready after 3 minutes", m.name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitForImages waits until every node is ready and lists as many images.
func (c *cluster) waitForImages(ctx context.Context, want int) error {
	var last error
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); {
		if last = c.lacking(ctx, want); last == nil {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("after 10 minutes: %w", last)
}

func (c *cluster) lacking(ctx context.Context, want int) error {
	kubectl := c.server.command(ctx, filepath.Join(c.bin, "tools", "kubectl"), "--kubeconfig", c.kubeconfig(), "get", "nodes", "-o", "json")
	out, err := kubectl.Output()
	if err != nil {
		return fmt.Errorf("kubectl get nodes: %w", err)
	}
	var nodes struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Images     []struct{ Names []string }
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := json.Unmarshal(out, &nodes); err != nil {
		return err
	}
	if len(nodes.Items) != len(c.machines) {
		return fmt.Errorf("%d nodes, want %d", len(nodes.Items), len(c.machines))
	}
	for _, node := range nodes.Items {
		ready := false
		for _, condition := range node.Status.Conditions {
			ready = ready || condition.Type == "Ready" && condition.Status == "True"
		}
		if !ready {
			return fmt.Errorf("node %s is not ready", node.Metadata.Name)
		}
		if got := len(node.Status.Images); got < want {
			return fmt.Errorf("node %s has %d images, want %d", node.Metadata.Name, got, want)
		}
	}
	return nil
}

// remove stops everything and removes what it left on this machine.
func (c *cluster) remove() error {
	var errs []error
	for i := len(c.processes) - 1; i >= 0; i-- {
		errs = append(errs, c.processes[i].stop())
	}
	for _, m := range c.machines {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		if out, err := m.command(ctx, filepath.Join(c.bin, "proa"), "reset", "--data-dir", m.data(), "--yes").CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("%s: reset: %w\n%s", m.name, err, out))
		}
		cancel()
		errs = append(errs, os.RemoveAll(m.dir))
	}
	if c.network != nil {
		errs = append(errs, c.network.remove())
	}
	return errors.Join(errs...)
}

// process is a running proa.
type process struct {
	cmd   *exec.Cmd
	text  strings.Builder // what it printed; read after done
	ready chan struct{}   // closed when it says that it is ready
	done  chan struct{}
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, ready: make(chan struct{}), done: make(chan struct{})}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	// An interrupt of the terminal is for the runner, which stops them in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		said := false
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			p.text.WriteString(lines.Text() + "\n")
			if !said && strings.HasPrefix(lines.Text(), "proa is ready") {
				said = true
				close(p.ready)
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	go func() {
		_ = cmd.Wait()
		_ = w.Close()
		<-read
		close(p.done)
	}()
	return p, nil
}

func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		return errors.New("proa did not end within a minute of SIGTERM")
	}
}
