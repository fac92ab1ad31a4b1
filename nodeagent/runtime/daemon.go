package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	stopGrace    = 10 * time.Second
	answerLimit  = 60 * time.Second
	askAgain     = 10 * time.Millisecond
	logSizeLimit = 16 << 20
)

// daemon starts, finds and asks containerd.
type daemon struct {
	layout Layout
	dirs   binDirs
	config string // path of the configuration in force
	clock  clock.WithTicker
}

// ensure returns a containerd that answers: the one that runs, where it is the
// same program with the same configuration, else a new one.
func (d daemon) ensure(ctx context.Context) (*process, error) {
	log := klog.FromContext(ctx)
	if p := findProcess(d.layout); p != nil {
		if configOf(p.argv) == d.config {
			ask, cancel := context.WithTimeout(ctx, stopGrace)
			version, err := d.answer(ask, p)
			cancel()
			if err == nil {
				log.Info("Adopted the running container runtime", "pid", p.pid, "version", version)
				return p, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			log.Error(err, "The running container runtime does not answer, replacing it", "pid", p.pid)
		} else {
			log.Info("Replacing the container runtime: its bundle or configuration changed", "pid", p.pid)
		}
		p.stop(d.clock, stopGrace)
	}
	started := d.clock.Now()
	offset := int64(0)
	if info, err := os.Stat(d.layout.Log); err == nil && info.Size() <= logSizeLimit {
		offset = info.Size()
	}
	p, err := d.start()
	if err != nil {
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	ask, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	version, err := d.answer(ask, p)
	if err == nil {
		log.Info("Started the container runtime", "pid", p.pid, "version", version, "took", d.clock.Since(started).Round(time.Millisecond))
		return p, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !errors.Is(err, errExited) {
		p.stop(d.clock, stopGrace)
	}
	return nil, fmt.Errorf("containerd: %w; the last lines of %s:\n%s", err, d.layout.Log, logTail(d.layout.Log, offset, 5))
}

// start runs containerd in a session of its own, so that neither a signal to
// our process group nor our death reaches it.
func (d daemon) start() (*process, error) {
	logFile, err := openLog(d.layout.Log, logSizeLimit)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	program := filepath.Join(d.dirs.bin, "containerd")
	cmd := exec.Command(program, "--config", d.config)
	cmd.Dir = "/"
	cmd.Env = environment(os.Environ(), d.dirs.bin)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{pid: cmd.Process.Pid, argv: cmd.Args, handle: cmd.Process, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // the status is in the log; that it ended is what matters
	}()
	return p, nil
}

// environment puts bin first on PATH. The rest stays: proxy settings and CA
// files matter to image pulls.
func environment(env []string, bin string) []string {
	out := []string{"PATH=" + bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, e := range env {
		if !strings.HasPrefix(e, "PATH=") && !strings.HasPrefix(e, "NOTIFY_SOCKET=") {
			out = append(out, e)
		}
	}
	return out
}

// answer waits until CRI answers and returns the runtime's version. It fails
// when ctx ends or the process does.
func (d daemon) answer(ctx context.Context, p *process) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := dial(d.layout.Socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	client := runtimeapi.NewRuntimeServiceClient(conn)
	for {
		reply, err := client.Version(ctx, &runtimeapi.VersionRequest{}, grpc.WaitForReady(true))
		if err == nil {
			return reply.RuntimeName + " " + reply.RuntimeVersion, nil
		}
		select {
		case <-p.exited:
			return "", errExited
		case <-ctx.Done():
			select {
			case <-p.exited:
				return "", errExited
			default:
				return "", fmt.Errorf("no answer from %s: %w", d.layout.Socket, err)
			}
		case <-d.clock.After(askAgain):
		}
	}
}

// dial returns a connection to a local socket, retried quickly: at start the
// socket is expected within a second.
func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: askAgain, Multiplier: 1.2, MaxDelay: 5 * askAgain},
			MinConnectTimeout: time.Second,
		}))
}
