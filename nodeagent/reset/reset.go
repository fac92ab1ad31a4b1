package reset

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/utils/clock"

	"proa/nodeagent/hostid"
	"proa/nodeagent/runtime"
)

// Options say what to remove.
type Options struct {
	// DataDir is the directory whose cluster is removed. Required, absolute.
	DataDir string
	// KeepData leaves the data directory itself, with etcd's data and the
	// certificates; what it made elsewhere goes.
	KeepData bool
	// PodLogsDir and ContainerLogsDir are /var/log/pods and
	// /var/log/containers by default.
	PodLogsDir, ContainerLogsDir string
	// RouteScope are the pod and service address ranges. Without them, routes
	// stay where another cluster has a bridge on this host, for they bear no
	// cluster's name.
	RouteScope []netip.Prefix
	// Report is called with a line for each thing removed; may be nil.
	Report func(line string)
	// Clock is the real one by default.
	Clock clock.WithTicker
}

// host is one reset under way.
type host struct {
	Options
	names  hostid.Names
	layout runtime.Layout
	real   string          // DataDir with symbolic links resolved, as the kernel shows it
	pods   map[string]bool // UIDs of the cluster's pods
	boxes  map[string]bool // ids of the cluster's sandboxes
}

// Run removes the cluster from this host. A data directory that does not exist
// is none to remove. A directory that is not a data directory, or that is in
// use, is refused with nothing touched. What cannot be removed does not stop
// the rest, except that the directories stay while anything is mounted below
// them; the error names all of it.
func Run(ctx context.Context, o Options) error {
	h, release, err := prepare(o)
	if err != nil || h == nil {
		return err
	}
	defer release()
	if os.Geteuid() != 0 {
		// An unprivileged server makes nothing outside its data directory.
		return h.removeDirectories(ctx)
	}
	var failures []error
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"pods", h.stopPods},
		{"processes", h.killProcesses},
		{"mounts", h.unmount},
		{"cgroups", h.removeCgroups},
		{"nftables", h.removeTables},
		{"routes", h.removeRoutes},
		{"links", h.removeLinks},
		{"logs", h.removeLogs},
		{"directories", h.removeDirectories},
	} {
		if err := step.do(ctx); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", step.what, err))
		}
		if ctx.Err() != nil {
			return errors.Join(append(failures, ctx.Err())...)
		}
	}
	return errors.Join(failures...)
}

// prepare checks that there is a cluster to remove and claims its directory.
// All is nil where there is nothing.
func prepare(o Options) (*host, func(), error) {
	if !filepath.IsAbs(o.DataDir) {
		return nil, nil, fmt.Errorf("reset: data directory %q: want an absolute path", o.DataDir)
	}
	o.DataDir = filepath.Clean(o.DataDir)
	if o.Report == nil {
		o.Report = func(string) {}
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.PodLogsDir == "" {
		o.PodLogsDir = "/var/log/pods"
	}
	if o.ContainerLogsDir == "" {
		o.ContainerLogsDir = "/var/log/containers"
	}
	if _, err := os.Stat(o.DataDir); errors.Is(err, os.ErrNotExist) {
		o.Report("nothing to remove: " + o.DataDir + " does not exist")
		return nil, nil, nil
	}
	id, err := hostid.Read(o.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("reset: %s is not a data directory: it has no file %s; remove it by hand if you mean it", o.DataDir, hostid.FileName)
	}
	if err != nil {
		// A damaged id leads to no names, so nothing could be found by them.
		return nil, nil, fmt.Errorf("reset: %w; the id is the 8 digits that `ip link` shows after \"pr\"", err)
	}
	release, err := hostid.Lock(o.DataDir)
	if err != nil {
		return nil, nil, fmt.Errorf("reset: %w", err)
	}
	real, err := filepath.EvalSymlinks(o.DataDir)
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("reset: %w", err)
	}
	return &host{
		Options: o, names: id.Names(), layout: runtime.LayoutOf(o.DataDir, id.Names()), real: real,
		pods: map[string]bool{}, boxes: map[string]bool{},
	}, release, nil
}

// removed reports one thing.
func (h *host) removed(format string, args ...any) { h.Report(fmt.Sprintf("removed "+format, args...)) }

// retry repeats try until it succeeds, for things that are let go of a moment
// after their holder's end. It returns the last error.
func (h *host) retry(ctx context.Context, try func() error) error {
	const times, pause = 40, 50 * time.Millisecond
	var err error
	for range times {
		if err = try(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.Clock.After(pause):
		}
	}
	return err
}
