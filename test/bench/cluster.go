package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// bench holds what the current measurement has started.
type bench struct {
	bin      string
	cleanups []func()
}

func (b *bench) close() {
	for i := len(b.cleanups) - 1; i >= 0; i-- {
		b.cleanups[i]()
	}
	b.cleanups = nil
}

// cluster is a running proa server in a network namespace.
type cluster struct {
	cmd   *exec.Cmd
	dir   string
	ns    string
	ready time.Duration // exec to the line "proa is ready"
	begun time.Time
}

const address = "10.98.0.1"

// start runs `proa server` in a fresh namespace and waits until it is ready.
func (b *bench) start(ctx context.Context, args ...string) (*cluster, error) {
	ns := fmt.Sprintf("pb%d", os.Getpid())
	for _, c := range [][]string{
		{"ip", "netns", "add", ns},
		{"nsenter", "--net=/run/netns/" + ns, "ip", "link", "set", "lo", "up"},
		{"nsenter", "--net=/run/netns/" + ns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"},
		{"nsenter", "--net=/run/netns/" + ns, "ip", "link", "set", "eth1", "up"},
		{"nsenter", "--net=/run/netns/" + ns, "ip", "addr", "add", address + "/24", "dev", "eth0"},
		{"nsenter", "--net=/run/netns/" + ns, "ip", "link", "set", "eth0", "up"},
		{"nsenter", "--net=/run/netns/" + ns, "ip", "route", "add", "default", "via", "10.98.0.254"},
	} {
		if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", strings.Join(c, " "), err, out)
		}
	}
	b.cleanups = append(b.cleanups, func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	dir, err := os.MkdirTemp("", "proa-bench-")
	if err != nil {
		return nil, err
	}
	b.cleanups = append(b.cleanups, func() { _ = os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(filepath.Join(data, "images"), 0o755); err != nil {
		return nil, err
	}
	for _, image := range []string{"webapp.tar", "toolbox.tar"} {
		if out, err := exec.Command("cp", b.path("images/"+image), filepath.Join(data, "images")).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w", out, err)
		}
	}
	c := &cluster{dir: data, ns: ns, begun: time.Now()}
	c.cmd = exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + ns, b.path("proa"), "server",
		"--data-dir", data, "--advertise-address", address, "--node-name", "bench", "--pod-logs-dir", filepath.Join(dir, "pods")}, args...)...)
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	b.cleanups = append(b.cleanups, func() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		_ = c.cmd.Wait()
		if out, err := exec.Command("nsenter", "--net=/run/netns/"+ns, b.path("proa"), "reset", "--yes", "--data-dir", data, "--pod-logs-dir", filepath.Join(dir, "pods")).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: reset: %v\n%s", err, out)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "proa is ready") {
			c.ready = time.Since(c.begun)
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return c, nil
		}
	}
	return nil, errors.New("proa ended before it was ready")
}

func (b *bench) path(name string) string {
	p, err := filepath.Abs(filepath.Join(b.bin, name))
	if err != nil {
		return name
	}
	return p
}

// inside runs f on a thread that is in the cluster's network namespace.
func (c *cluster) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+c.ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// config is the administrator's, dialing inside the namespace.
func (c *cluster) config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.dir, "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.Dial = c.dial
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return config, nil
}

func (c *cluster) client() (*kubernetes.Clientset, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}
