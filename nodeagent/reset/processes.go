package reset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// killProcesses ends containerd, its shims and whatever else runs in the
// cluster's cgroups, in this order: containerd would restart shims' cleanup,
// shims report their containers' ends.
func (h *host) killProcesses(ctx context.Context) error {
	all := commandLines()
	runtimes := matching(all, func(argv []string) bool { return isRuntime(argv, h.layout.RuntimeDir) })
	h.signal(runtimes, syscall.SIGTERM)
	err := h.retry(ctx, func() error { return h.gone(runtimes) })
	if err != nil && ctx.Err() == nil {
		h.signal(runtimes, syscall.SIGKILL)
		err = h.retry(ctx, func() error { return h.gone(runtimes) })
	}
	if err != nil {
		return err
	}
	if len(runtimes) > 0 {
		h.removed("the container runtime (process %d)", runtimes[0])
	}
	return h.retry(ctx, func() error {
		left := h.members()
		left = append(left, matching(commandLines(), func(argv []string) bool { return isShim(argv, h.layout.Socket) })...)
		left = slices.DeleteFunc(left, func(pid int) bool { return pid == os.Getpid() })
		h.signal(left, syscall.SIGKILL)
		return h.gone(left)
	})
}

// signal sends to processes; one that is gone by now is what is wanted.
func (h *host) signal(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s)
	}
}

// gone returns an error that names the processes that still run.
func (h *host) gone(pids []int) error {
	var left []string
	for _, pid := range pids {
		if argv := commandLine(pid); len(argv) > 0 {
			left = append(left, fmt.Sprintf("%d (%s)", pid, filepath.Base(argv[0])))
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("still running: %s", strings.Join(left, ", "))
	}
	return nil
}

// members lists the processes in the cluster's cgroups.
func (h *host) members() []int {
	var pids []int
	for _, root := range cgroupRoots() {
		_ = filepath.WalkDir(filepath.Join(root, h.names.CgroupParent), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil
			}
			b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil {
				return nil
			}
			for _, field := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// removeCgroups removes the cluster's cgroups from every hierarchy.
func (h *host) removeCgroups(ctx context.Context) error {
	var failures []error
	any := false
	for _, root := range cgroupRoots() {
		top := filepath.Join(root, h.names.CgroupParent)
		if _, err := os.Stat(top); err != nil {
			continue
		}
		any = true
		// A cgroup stays busy for a moment after its last process.
		failures = append(failures, h.retry(ctx, func() error { return removeCgroup(top) }))
	}
	err := errors.Join(failures...)
	if any && err == nil {
		h.removed("cgroups %s", h.names.CgroupParent)
	}
	return err
}

// removeCgroup removes a cgroup and those below it. The files in it are the
// kernel's and go with it.
func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// cgroupRoots are the roots of all cgroup hierarchies: one on version 2, one
// for each controller on version 1.
func cgroupRoots() []string {
	const root = "/sys/fs/cgroup"
	var s unix.Statfs_t
	if unix.Statfs(root, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{root}
	}
	var roots []string
	for _, dir := range subdirectories(root) {
		if unix.Statfs(dir, &s) == nil && (s.Type == unix.CGROUP_SUPER_MAGIC || s.Type == unix.CGROUP2_SUPER_MAGIC) {
			roots = append(roots, dir)
		}
	}
	return roots
}

// commandLines reads the arguments of all processes.
func commandLines() map[int][]string {
	all := map[int][]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if argv := commandLine(pid); len(argv) > 0 {
				all[pid] = argv
			}
		}
	}
	return all
}

// commandLine returns none for a process that is gone, or is a zombie.
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

func matching(all map[int][]string, want func([]string) bool) []int {
	var pids []int
	for pid, argv := range all {
		if want(argv) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}
