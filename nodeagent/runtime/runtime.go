package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/nodeagent/hostid"
)

// Options configure a Runtime.
type Options struct {
	// DataDir is the server's or agent's data directory. Required, absolute.
	DataDir string
	// ID is the data directory's cluster id (hostid.Load). Required.
	ID hostid.ID
	// BinDir replaces the embedded bundle: a directory with bin/, cni/ and
	// images/ as `make bundle` leaves them in bin/bundle.
	BinDir string
	// LogLevel is containerd's: trace, debug, info, warn (the default), error.
	LogLevel string
	// Clock is the real one by default.
	Clock clock.WithTicker
}

// Runtime is the component that keeps containerd running. Create it with New.
type Runtime struct {
	options Options
	layout  Layout
	dirs    binDirs
	digest  string // of the embedded bundle; empty with BinDir
	ready   chan struct{}
}

// New returns a Runtime, or an error that names the way out where the options
// are wrong or the binary carries no runtime. It touches nothing on the host.
func New(o Options) (*Runtime, error) {
	if !filepath.IsAbs(o.DataDir) {
		return nil, fmt.Errorf("runtime: data directory %q: want an absolute path", o.DataDir)
	}
	if _, err := hostid.Parse(string(o.ID)); err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.LogLevel == "" {
		o.LogLevel = "warn"
	}
	r := &Runtime{options: o, layout: LayoutOf(filepath.Clean(o.DataDir), o.ID.Names()), ready: make(chan struct{})}
	if o.BinDir != "" {
		dir, err := filepath.Abs(o.BinDir)
		if err != nil {
			return nil, err
		}
		r.dirs = binDirsOf(dir)
		if _, err := os.Stat(filepath.Join(r.dirs.bin, "containerd")); err != nil {
			return nil, fmt.Errorf("--runtime-bin-dir %s: want bin/containerd below it, as `make bundle` leaves in bin/bundle: %w", o.BinDir, err)
		}
		return r, nil
	}
	_, r.digest = embeddedBundle()
	if r.digest == "" {
		return nil, errNoBundle
	}
	r.dirs = binDirsOf(filepath.Join(r.layout.RuntimeDir, bundleName(r.digest)))
	return r, nil
}

// Name is the component's name.
func (r *Runtime) Name() string { return "runtime" }

// Ready is closed once CRI answers and the images at hand are imported.
func (r *Runtime) Ready() <-chan struct{} { return r.ready }

// Endpoint is the CRI endpoint of both services: unix:///run/proa-<id>/containerd.sock.
func (r *Runtime) Endpoint() string { return "unix://" + r.layout.Socket }

// CNIConfDir is where the pod network's configuration (*.conflist) goes;
// containerd picks it up as soon as it appears there.
func (r *Runtime) CNIConfDir() string { return r.layout.CNIConf }

// CNIBinDir holds the CNI plugins bridge, host-local and portmap.
func (r *Runtime) CNIBinDir() string { return r.dirs.cni }

// CgroupParent is the absolute cgroup path below which pods' cgroups belong
// (the driver is cgroupfs). Its child "runtime" is containerd's own.
func (r *Runtime) CgroupParent() string { return r.options.ID.Names().CgroupParent }

// Layout returns the runtime's paths.
func (r *Runtime) Layout() Layout { return r.layout }

// Run keeps containerd running until ctx ends, and then leaves it running (see
// the package comment). It returns an error only if containerd cannot be
// started at all.
func (r *Runtime) Run(ctx context.Context) error {
	log := klog.FromContext(ctx).WithName("runtime")
	ctx = klog.NewContext(ctx, log)
	config, snapshotter, err := r.prepare()
	if err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	d := daemon{layout: r.layout, dirs: r.dirs, config: config, clock: r.options.Clock}
	i := importer{
		layout: r.layout, dirs: r.dirs, clock: r.options.Clock, run: runProgram,
		snapshotter: snapshotter,
	}

	p, err := d.ensure(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("runtime: %w", err)
	}
	if err := i.importDir(ctx, r.dirs.images); err != nil && ctx.Err() == nil {
		return fmt.Errorf("runtime: %w", err)
	}
	if err := i.importDir(ctx, r.layout.Images); err != nil && ctx.Err() == nil {
		log.Error(err, "Not all image archives could be imported")
	}
	r.prune(log, config)
	close(r.ready)

	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := i.watch(ctx); err != nil {
			log.Error(err, "New image archives are imported at the next start only", "path", r.layout.Images)
		}
	}()
	r.supervise(ctx, d, p)
	<-watched
	return nil
}

// supervise replaces containerd whenever it ends, at once at first and with
// growing pauses while it keeps ending.
func (r *Runtime) supervise(ctx context.Context, d daemon, p *process) {
	const first, last, healthy = 100 * time.Millisecond, 10 * time.Second, time.Minute
	log := klog.FromContext(ctx)
	pause, since := time.Duration(0), r.options.Clock.Now()
	for {
		if p != nil {
			select {
			case <-ctx.Done():
				return
			case <-p.exited:
			}
			log.Error(errExited, "Restarting the container runtime; containers go on", "pid", p.pid, "log", r.layout.Log)
		}
		if r.options.Clock.Since(since) > healthy {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-r.options.Clock.After(pause):
		}
		pause = min(max(2*pause, first), last)
		since = r.options.Clock.Now()
		var err error
		if p, err = d.ensure(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "The container runtime does not start", "nextTryIn", pause)
		}
	}
}

// prepare makes the directories, unpacks the bundle and writes the
// configuration; it returns the configuration's path and the snapshotter in it.
func (r *Runtime) prepare() (config, snapshotter string, err error) {
	for _, dir := range r.layout.directories() {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return "", "", err
		}
	}
	if err := writeLocalRegistry(r.layout.Registries); err != nil {
		return "", "", err
	}
	if r.digest != "" {
		archive, digest := embeddedBundle()
		if err := unpack(strings.NewReader(archive), digest, filepath.Dir(r.dirs.bin)); err != nil {
			return "", "", err
		}
		releaseBundle()
	}
	if err := makeCgroup(r.layout.Cgroup); err != nil {
		return "", "", err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", "", err
	}
	f := facts{
		sysResource: hasCapability(status, unix.CAP_SYS_RESOURCE),
		overlay:     OverlayWorks(r.layout.Root),
		logLevel:    r.options.LogLevel,
	}
	path, content := renderConfig(r.layout, r.dirs, f)
	return path, f.snapshotter(), replaceFile(path, []byte(content))
}

// prune removes bundles and configurations that nothing uses any more. Shims
// of running pods come from the bundle they were started with.
func (r *Runtime) prune(log klog.Logger, config string) {
	entries, err := os.ReadDir(r.layout.RuntimeDir)
	if err != nil {
		return
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	current := filepath.Base(filepath.Dir(r.dirs.bin))
	unused := unusedBundles(r.layout.RuntimeDir, names, current, executables())
	for _, name := range names {
		path := filepath.Join(r.layout.RuntimeDir, name)
		if strings.HasPrefix(path, r.layout.configPrefix()) && path != config {
			unused = append(unused, name)
		}
	}
	for _, name := range unused {
		if err := os.RemoveAll(filepath.Join(r.layout.RuntimeDir, name)); err != nil {
			log.Error(err, "An unused part of the runtime stays", "name", name)
			continue
		}
		log.V(1).Info("Removed an unused part of the runtime", "name", name)
	}
}
