package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Runtime is what a GC asks of the container runtime.
type Runtime interface {
	ListContainers(ctx context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error)
	ListImages(ctx context.Context) ([]*runtimeapi.Image, error)
	RemoveImage(ctx context.Context, image *runtimeapi.ImageSpec) error
	ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error)
}

// GCOptions are what a GC needs. Fields without "Required" have defaults.
type GCOptions struct {
	Runtime Runtime // Required.
	// HighPercent of the image disk in use starts removing, LowPercent ends
	// it; 85 and 80.
	HighPercent, LowPercent int
	// MinAge is how long an image must have been known to go; 2 minutes.
	MinAge time.Duration
	// Period is the time between two looks; 5 minutes.
	Period time.Duration
	Clock  clock.WithTicker
	// Disk returns the size of the filesystem that holds path and what is
	// left of it, in bytes; statfs(2).
	Disk func(path string) (capacity, available uint64, err error)
	// OnFailure gets what the upstream kubelet makes into events of the node:
	// reason FreeDiskSpaceFailed or ImageGCFailed and the message.
	OnFailure func(reason, message string)
}

// GC removes images that no container uses when the disk fills up, the least
// recently used first. Pinned images stay.
type GC struct {
	o     GCOptions
	known map[string]*record // by image ID; only Run's goroutine uses it
}

// record is what the collector remembers of an image.
type record struct {
	image    *runtimeapi.Image
	detected time.Time
	lastUsed time.Time
}

// NewGC returns a collector; Run works it.
func NewGC(o GCOptions) *GC {
	if o.HighPercent == 0 {
		o.HighPercent = 85
	}
	if o.LowPercent == 0 {
		o.LowPercent = 80
	}
	if o.MinAge == 0 {
		o.MinAge = 2 * time.Minute
	}
	if o.Period == 0 {
		o.Period = 5 * time.Minute
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Disk == nil {
		o.Disk = statfs
	}
	if o.OnFailure == nil {
		o.OnFailure = func(string, string) {}
	}
	return &GC{o: o, known: map[string]*record{}}
}

// Name names the component.
func (*GC) Name() string { return "image-gc" }

// Run looks once at the start, so that images have an age, and then every
// period until ctx is done.
func (g *GC) Run(ctx context.Context) error {
	ticker := g.o.Clock.NewTicker(g.o.Period)
	defer ticker.Stop()
	for {
		if err := g.Collect(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Image garbage collection failed")
			g.o.OnFailure("ImageGCFailed", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// Collect looks once and removes what must go.
func (g *GC) Collect(ctx context.Context) error {
	if err := g.look(ctx); err != nil {
		return err
	}
	info, err := g.o.Runtime.ImageFsInfo(ctx)
	if err != nil {
		return fmt.Errorf("failed to get image stats: %w", err)
	}
	if len(info.ImageFilesystems) == 0 || info.ImageFilesystems[0].FsId == nil {
		return errors.New("the runtime does not say where images are stored")
	}
	mountpoint := info.ImageFilesystems[0].FsId.Mountpoint
	capacity, available, err := g.o.Disk(mountpoint)
	if err != nil {
		return fmt.Errorf("looking at the image disk %s: %w", mountpoint, err)
	}
	need, usage := toFree(capacity, available, g.o.HighPercent, g.o.LowPercent)
	if need == 0 {
		return nil
	}
	logger := klog.FromContext(ctx)
	logger.Info("Disk usage on image filesystem is over the high threshold, removing images", "usage", usage, "highThreshold", g.o.HighPercent, "amountToFree", need, "lowThreshold", g.o.LowPercent)
	var freed uint64
	var errs []error
	for _, r := range eligible(g.known, g.o.Clock.Now(), g.o.MinAge) {
		if freed >= need {
			break
		}
		if err := g.o.Runtime.RemoveImage(ctx, &runtimeapi.ImageSpec{Image: r.image.Id}); err != nil {
			errs = append(errs, fmt.Errorf("removing image %s: %w", r.image.Id, err))
			continue
		}
		logger.Info("Removed image to free disk space", "image", r.image.Id, "size", r.image.Size)
		delete(g.known, r.image.Id)
		freed += r.image.Size
	}
	if freed < need {
		g.o.OnFailure("FreeDiskSpaceFailed", fmt.Sprintf("Failed to garbage collect required amount of images. Attempted to free %d bytes, but only found %d bytes eligible to free.", need, freed))
	}
	return errors.Join(errs...)
}

// look brings what is known of the images up to date.
func (g *GC) look(ctx context.Context) error {
	images, err := g.o.Runtime.ListImages(ctx)
	if err != nil {
		return fmt.Errorf("listing images: %w", err)
	}
	containers, err := g.o.Runtime.ListContainers(ctx, nil)
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	g.known = observe(g.known, images, containers, g.o.Clock.Now())
	return nil
}

// observe returns the records for the images that exist, with their first
// sight and last use.
func observe(known map[string]*record, images []*runtimeapi.Image, containers []*runtimeapi.Container, now time.Time) map[string]*record {
	used := map[string]bool{}
	for _, c := range containers {
		used[c.ImageId], used[c.ImageRef] = true, true
		if c.Image != nil {
			used[c.Image.Image] = true
		}
	}
	delete(used, "")
	next := make(map[string]*record, len(images))
	for _, image := range images {
		r := &record{image: image, detected: now}
		if old, ok := known[image.Id]; ok {
			r.detected, r.lastUsed = old.detected, old.lastUsed
		}
		isUsed := func(name string) bool { return used[name] }
		if used[image.Id] || slices.ContainsFunc(image.RepoTags, isUsed) || slices.ContainsFunc(image.RepoDigests, isUsed) {
			r.lastUsed = now
		}
		next[image.Id] = r
	}
	return next
}

// eligible returns the images that may go, those to go first first: unused
// now, not pinned, known for long enough, the least recently used first and
// of those the oldest.
func eligible(known map[string]*record, now time.Time, minAge time.Duration) []*record {
	var out []*record
	for _, r := range known {
		if !r.image.Pinned && r.lastUsed.Before(now) && now.Sub(r.detected) >= minAge {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *record) int {
		if c := a.lastUsed.Compare(b.lastUsed); c != 0 {
			return c
		}
		if c := a.detected.Compare(b.detected); c != 0 {
			return c
		}
		return int(min(1, max(-1, int64(b.image.Size)-int64(a.image.Size)))) // the bigger first
	})
	return out
}

// toFree returns how many bytes must go to come below low percent, or 0 if
// usage is below high.
func toFree(capacity, available uint64, high, low int) (need uint64, usage int) {
	if capacity == 0 {
		return 0, 0
	}
	available = min(available, capacity)
	usage = 100 - int(float64(available)/float64(capacity)*100)
	if usage < high {
		return 0, usage
	}
	keep := uint64(float64(capacity) * float64(100-low) / 100)
	if keep <= available {
		return 0, usage
	}
	return keep - available, usage
}

func statfs(path string) (capacity, available uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	return s.Blocks * uint64(s.Bsize), s.Bavail * uint64(s.Bsize), nil
}
