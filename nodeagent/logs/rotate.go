package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Runtime is what rotation asks of the container runtime.
type Runtime interface {
	ListContainers(ctx context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error)
	ContainerStatus(ctx context.Context, id string) (*runtimeapi.ContainerStatus, error)
	ReopenContainerLog(ctx context.Context, id string) error
}

// RotatorOptions are what a Rotator needs. Fields without "Required" have
// defaults.
type RotatorOptions struct {
	Runtime Runtime // Required.
	// MaxSize in bytes is when a log is rotated; 10 MiB.
	MaxSize int64
	// MaxFiles is how many files a container may have, the current one
	// included; 5, and at least 2.
	MaxFiles int
	// Period is the time between two looks; 10 seconds.
	Period time.Duration
	Clock  clock.WithTicker
}

// Rotator keeps the logs of running containers from growing without end.
type Rotator struct {
	o     RotatorOptions
	paths map[string]string // by container ID: the log path, which never changes
}

// NewRotator returns a rotator; Run works it.
func NewRotator(o RotatorOptions) *Rotator {
	if o.MaxSize == 0 {
		o.MaxSize = 10 << 20
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = 5
	}
	o.MaxFiles = max(o.MaxFiles, 2)
	if o.Period == 0 {
		o.Period = 10 * time.Second
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &Rotator{o: o, paths: map[string]string{}}
}

// Name names the component.
func (*Rotator) Name() string { return "log-rotation" }

// Run looks every period until ctx is done.
func (r *Rotator) Run(ctx context.Context) error {
	ticker := r.o.Clock.NewTicker(r.o.Period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		if err := r.Rotate(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not rotate all container logs")
		}
	}
}

// Rotate looks once and rotates what is too big.
func (r *Rotator) Rotate(ctx context.Context) error {
	containers, err := r.o.Runtime.ListContainers(ctx, &runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	paths := make(map[string]string, len(containers))
	var errs []error
	for _, c := range containers {
		path, ok := r.paths[c.Id]
		if !ok {
			status, err := r.o.Runtime.ContainerStatus(ctx, c.Id)
			if err != nil || status == nil {
				continue // gone meanwhile
			}
			path = status.LogPath
		}
		paths[c.Id] = path
		if path == "" {
			continue
		}
		if err := r.look(ctx, c.Id, path); err != nil {
			errs = append(errs, fmt.Errorf("container %s: %w", c.Id, err))
		}
	}
	r.paths = paths
	return errors.Join(errs...)
}

func (r *Rotator) look(ctx context.Context, id, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		// Rotation was cut short, or somebody removed the file.
		return r.o.Runtime.ReopenContainerLog(ctx, id)
	}
	if err != nil || info.Size() < r.o.MaxSize {
		return err
	}
	if err := r.makeRoom(path); err != nil {
		return err
	}
	rotated := path + "." + r.o.Clock.Now().Format("20060102-150405")
	if err := os.Rename(path, rotated); err != nil {
		return err
	}
	if err := r.o.Runtime.ReopenContainerLog(ctx, id); err != nil {
		// The container still writes to the old file: give it back its name.
		return errors.Join(fmt.Errorf("failed to reopen container log %q: %w", id, err), os.Rename(rotated, path))
	}
	return nil
}

// makeRoom removes remains and the oldest files, so that one more fits, and
// compresses the others.
func (r *Rotator) makeRoom(path string) error {
	files, err := rotatedFiles(path)
	if err != nil {
		return err
	}
	remains := func(f string) bool {
		return strings.HasSuffix(f, ".tmp") || slices.Contains(files, f+".gz")
	}
	var kept []string
	for _, f := range files {
		if remains(f) {
			if err := os.Remove(f); err != nil {
				return err
			}
			continue
		}
		kept = append(kept, f)
	}
	for len(kept) > r.o.MaxFiles-2 {
		if err := os.Remove(kept[0]); err != nil {
			return err
		}
		kept = kept[1:]
	}
	for _, f := range kept {
		if !strings.HasSuffix(f, ".gz") {
			if err := compress(f); err != nil {
				return fmt.Errorf("failed to compress log %q: %w", f, err)
			}
		}
	}
	return nil
}

// rotatedFiles returns the older files of a log, the oldest first.
func rotatedFiles(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries { // ReadDir sorts, and the names end in their time
		if strings.HasPrefix(e.Name(), filepath.Base(path)+".") {
			files = append(files, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return files, nil
}

func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(out.Name(), path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}

// Remove removes a container's log with its older files. A log that is not
// there is no error.
func Remove(path string) error {
	files, err := rotatedFiles(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, f := range append(files, path) {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
