package runtime

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"
)

// process is a containerd that runs: our child, or one that an earlier proa
// left.
type process struct {
	pid    int
	argv   []string
	exited chan struct{} // closed when it is gone
	handle *os.Process
}

// stop ends the process: SIGTERM, and SIGKILL after grace. Containers go on.
func (p *process) stop(c clock.Clock, grace time.Duration) {
	_ = p.handle.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return
	case <-c.After(grace):
	}
	_ = p.handle.Signal(syscall.SIGKILL)
	<-p.exited
}

// isOurs reports whether a command line is that of a containerd with one of
// this layout's configurations.
func isOurs(argv []string, l Layout) bool {
	return configOf(argv) != "" && strings.HasPrefix(configOf(argv), l.configPrefix())
}

// configOf returns the value of --config on a command line.
func configOf(argv []string) string {
	for i, arg := range argv {
		if arg == "--config" && i+1 < len(argv) && filepath.Base(argv[0]) == "containerd" {
			return argv[i+1]
		}
	}
	return ""
}

// findProcess returns the containerd that runs with one of this layout's
// configurations, or nil.
func findProcess(l Layout) *process {
	for _, pid := range pids() {
		argv := commandLine(pid)
		if !isOurs(argv, l) {
			continue
		}
		// The handle pins the process; reading the command line again after
		// taking it rules out that the number was reused meanwhile.
		handle, err := os.FindProcess(pid)
		if err != nil || !isOurs(commandLine(pid), l) {
			continue
		}
		p := &process{pid: pid, argv: argv, handle: handle, exited: make(chan struct{})}
		if watchExit(pid, p.exited) == nil {
			return p
		}
	}
	return nil
}

// watchExit closes exited when the process, which need not be a child, is gone.
// It watches for as long as the process lives.
func watchExit(pid int, exited chan<- struct{}) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return err
	}
	// A process file descriptor becomes readable at exit: the poller of Go's
	// own runtime waits for it, without a thread.
	f := os.NewFile(uintptr(fd), "pidfd")
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return err
	}
	go func() {
		defer f.Close()
		gone := false
		_ = conn.Read(func(fd uintptr) bool {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(poll, 0)
			gone = n > 0 && err == nil
			return gone
		})
		if gone {
			close(exited)
		}
	}()
	return nil
}

// pids lists the processes of this process namespace.
func pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// commandLine returns a process' arguments; none for a kernel thread, a zombie
// or a process that is gone.
func commandLine(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(b) == 0 {
		return nil
	}
	var argv []string
	for _, arg := range bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		argv = append(argv, string(arg))
	}
	return argv
}

// executables lists the programs that run.
func executables() []string {
	var all []string
	for _, pid := range pids() {
		if exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); err == nil {
			all = append(all, exe)
		}
	}
	return all
}

// openLog opens the log for appending, so that it can be truncated in place
// while containerd, which outlives us, writes to it.
func openLog(path string, limit int64) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > limit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
}

// logTail returns the last lines that were written after offset.
func logTail(path string, offset int64, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) < offset {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(b[offset:])), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

var errExited = errors.New("containerd ended")
