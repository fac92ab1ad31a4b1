package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// Manager makes the pod cgroups of one parent.
type Manager struct {
	parent string

	mu      sync.Mutex
	refused map[string]bool // what could not be set, already logged
}

// New returns a manager of the cgroups below parent, an absolute cgroup path
// such as "/proa-1a2b3c".
func New(parent string) (*Manager, error) {
	clean := path.Clean(parent)
	if !path.IsAbs(clean) || clean == "/" {
		return nil, fmt.Errorf("cgroup parent %q: want an absolute path below /", parent)
	}
	return &Manager{parent: clean, refused: map[string]bool{}}, nil
}

// Path returns the cgroup path of a pod.
func (m *Manager) Path(uid types.UID, qos v1.PodQOSClass) string {
	return path.Join(m.class(qos), "pod"+string(uid))
}

func (m *Manager) class(qos v1.PodQOSClass) string {
	switch qos {
	case v1.PodQOSBurstable:
		return path.Join(m.parent, "burstable")
	case v1.PodQOSBestEffort:
		return path.Join(m.parent, "besteffort")
	}
	return m.parent
}

// Start makes the parent and the class cgroups.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.apply(ctx, m.parent, Limits{}); err != nil {
		return err
	}
	if err := m.apply(ctx, m.class(v1.PodQOSBurstable), Limits{}); err != nil {
		return err
	}
	return m.apply(ctx, m.class(v1.PodQOSBestEffort), Limits{Shares: minShares})
}

// Create makes a pod's cgroup and sets its limits. Idempotent.
func (m *Manager) Create(ctx context.Context, pod *v1.Pod, qos v1.PodQOSClass) error {
	if strings.ContainsRune(string(pod.UID), '/') || pod.UID == "" {
		return fmt.Errorf("pod %s/%s: UID %q cannot name a cgroup", pod.Namespace, pod.Name, pod.UID)
	}
	return m.apply(ctx, m.Path(pod.UID, qos), LimitsOf(pod, qos))
}

// Resize sets the limits of a pod's cgroup to those of after. While change runs
// they allow what before and after need.
func (m *Manager) Resize(ctx context.Context, before, after *v1.Pod, qos v1.PodQOSClass, change func() error) error {
	p := m.Path(after.UID, qos)
	old, next := LimitsOf(before, qos), LimitsOf(after, qos)
	if err := m.apply(ctx, p, loosest(old, next).explicit()); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return m.apply(ctx, p, next.explicit())
}

func (m *Manager) manager(p string, l Limits) (cgroups.Manager, error) {
	return manager.New(&cgroups.Cgroup{Path: p, Resources: resources(l)})
}

func resources(l Limits) *cgroups.Resources {
	r := &cgroups.Resources{SkipDevices: true, CpuQuota: l.Quota, Memory: l.Memory}
	if l.Quota > 0 {
		r.CpuPeriod = Period
	}
	if cgroups.IsCgroup2UnifiedMode() {
		r.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(l.Shares)
	} else {
		r.CpuShares = l.Shares
	}
	return r
}

// apply makes a cgroup. A limit that the kernel refuses, because a controller
// is missing or read-only here, is logged once and left out.
func (m *Manager) apply(ctx context.Context, p string, l Limits) error {
	cg, err := m.manager(p, l)
	if err != nil {
		return fmt.Errorf("cgroup %s: %w", p, err)
	}
	if err := cg.Apply(-1); err != nil {
		return fmt.Errorf("cgroup %s: %w", p, err)
	}
	if l == (Limits{}) {
		return nil
	}
	if err := cg.Set(resources(l)); err != nil {
		m.refuse(ctx, p, err)
	}
	return nil
}

func (m *Manager) refuse(ctx context.Context, p string, err error) {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i:]
	}
	m.mu.Lock()
	known := m.refused[text]
	m.refused[text] = true
	m.mu.Unlock()
	if !known {
		klog.FromContext(ctx).Info("The kernel refuses a pod cgroup's limits; going on without them", "cgroup", p, "err", err)
	}
}

// Remove removes a pod's cgroup, whichever class it is in.
func (m *Manager) Remove(ctx context.Context, uid types.UID) error {
	var errs []error
	for _, qos := range []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort} {
		for _, dir := range m.dirs(m.Path(uid, qos)) {
			errs = append(errs, remove(ctx, dir))
		}
	}
	return errors.Join(errs...)
}

// Pods lists the pods that have a cgroup.
func (m *Manager) Pods() []types.UID {
	seen := map[types.UID]bool{}
	var out []types.UID
	for _, qos := range []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort} {
		for _, dir := range m.dirs(m.class(qos)) {
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if uid, ok := strings.CutPrefix(e.Name(), "pod"); ok && e.IsDir() && !seen[types.UID(uid)] {
					seen[types.UID(uid)] = true
					out = append(out, types.UID(uid))
				}
			}
		}
	}
	return out
}

// dirs are the directories of a cgroup path, one per hierarchy, that exist.
func (m *Manager) dirs(p string) []string {
	cg, err := m.manager(p, Limits{})
	if err != nil {
		return nil
	}
	var out []string
	for _, dir := range cg.GetPaths() {
		// Never beyond the parent, whatever the paths say.
		if !strings.HasSuffix(dir, p) {
			continue
		}
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			out = append(out, dir)
		}
	}
	return out
}

// remove removes a cgroup directory, children first. A cgroup whose last
// process has just died can be busy for a moment.
func remove(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := remove(ctx, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	wait := time.Millisecond
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || wait > 200*time.Millisecond {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
}
