package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/nodeagent/object"
)

// Options are what a Manager needs.
type Options struct {
	// RootDir holds one directory per pod. Required.
	RootDir string
	// Objects gives config maps and secrets. Required.
	Objects object.Source
	// Tokens requests service account tokens. Without it, volumes with a
	// serviceAccountToken are refused.
	Tokens TokenRequester
	// Allocatable is what the node has for pods: the value of a limit that a
	// container does not set, and the bound of a memory volume. Optional.
	Allocatable func() v1.ResourceList
	// Images brings the image of a volume to the node, if its policy wants that,
	// and returns its id. Without it, image volumes are refused.
	Images func(ctx context.Context, pod *v1.Pod, source *v1.ImageVolumeSource) (string, error)
	// Clock is the real one where nil.
	Clock clock.WithTicker
	// Mounter is the kernel's where nil.
	Mounter Mounter
}

// Manager makes, keeps live and removes the volumes of this node's pods. All
// methods may be called at once from many goroutines; calls for one pod wait
// for each other.
type Manager struct {
	root        string
	objects     object.Source
	tokens      *tokens
	allocatable func() v1.ResourceList
	clock       clock.WithTicker
	mounter     Mounter
	images      func(context.Context, *v1.Pod, *v1.ImageVolumeSource) (string, error)
	types       []Type
	queue       workqueue.TypedRateLimitingInterface[types.UID]

	mu   sync.Mutex
	pods map[types.UID]*podVolumes
}

// podVolumes is what the manager knows of one pod.
type podVolumes struct {
	pod atomic.Pointer[v1.Pod] // the newest version; nil until Setup

	mu      sync.Mutex
	mounted map[string]Mounted
	gone    bool // torn down; a caller that waited for mu must look again
}

// New returns a manager; Run keeps contents live.
func New(o Options) *Manager {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Mounter == nil {
		o.Mounter = kernel{}
	}
	if o.Allocatable == nil {
		o.Allocatable = func() v1.ResourceList { return nil }
	}
	return &Manager{
		root:        o.RootDir,
		objects:     o.Objects,
		tokens:      newTokens(o.Tokens, o.Clock),
		allocatable: o.Allocatable,
		clock:       o.Clock,
		mounter:     o.Mounter,
		images:      o.Images,
		types:       all(),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](500*time.Millisecond, 2*time.Minute),
			workqueue.TypedRateLimitingQueueConfig[types.UID]{Clock: o.Clock},
		),
		pods: map[types.UID]*podVolumes{},
	}
}

// Setup makes all volumes that a container of the pod mounts and returns them
// by name. It is idempotent and cheap once they are there. The error is a
// utilerrors.Aggregate with one entry per failed volume, each worded as the
// upstream kubelet words its FailedMount event; the others are made.
func (m *Manager) Setup(ctx context.Context, pod *v1.Pod) (map[string]Mounted, error) {
	if err := checkUID(pod.UID); err != nil {
		return nil, err
	}
	p := m.lock(pod.UID)
	defer p.mu.Unlock()
	p.pod.Store(pod)
	used := usedVolumes(pod)
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if _, done := p.mounted[v.Name]; done || !used[v.Name] {
			continue
		}
		mounted, err := m.setUp(ctx, pod, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", v.Name, err))
			continue
		}
		p.mounted[v.Name] = mounted
	}
	out := make(map[string]Mounted, len(p.mounted))
	for name, mounted := range p.mounted {
		out[name] = mounted
	}
	return out, utilerrors.NewAggregate(errs)
}

func (m *Manager) setUp(ctx context.Context, pod *v1.Pod, v *v1.Volume) (Mounted, error) {
	if filepath.Base(v.Name) != v.Name || strings.HasPrefix(v.Name, "..") {
		return Mounted{}, fmt.Errorf("volume name %q is not a file name", v.Name)
	}
	t, ok := m.typeOf(v)
	if !ok {
		return Mounted{}, refuse(v)
	}
	r := &request{Manager: m, pod: pod, volume: v, dir: filepath.Join(m.podDir(pod.UID), "volumes", t.Directory, v.Name)}
	if t.SetUp != nil {
		return t.SetUp(ctx, r)
	}
	return Mounted{HostPath: r.dir, ReadOnly: true}, m.writeContent(ctx, t, r)
}

// writeContent makes the directory of a volume of files and brings its files
// up to date.
func (m *Manager) writeContent(ctx context.Context, t Type, r *request) error {
	content, err := t.Content(ctx, r)
	if !r.refreshAt.IsZero() {
		m.queue.AddAfter(r.pod.UID, r.refreshAt.Sub(m.clock.Now()))
	}
	if err != nil {
		return err
	}
	if err := makeDir(r.dir); err != nil {
		return err
	}
	if t.Memory {
		if err := r.mountTmpfs(r.dir, r.memoryLimit(nil)); err != nil {
			return err
		}
	}
	if err := makeNestedMountpoints(r.pod, r.volume.Name, r.dir); err != nil {
		return err
	}
	return writeAtomically(r.dir, content, m.clock.Now(), func() error {
		return setGroup(r.dir, r.fsGroup(), nil, true)
	})
}

// Teardown unmounts everything below the pod's directory and removes the
// directory. It is an error while something still uses a mount; nothing that
// is mounted is ever deleted. A pod that has no directory is no error.
func (m *Manager) Teardown(ctx context.Context, uid types.UID) error {
	if err := checkUID(uid); err != nil {
		return err
	}
	p := m.lock(uid)
	defer p.mu.Unlock()
	dir := m.podDir(uid)
	if _, err := os.Lstat(dir); err == nil {
		if err := removeTree(m.mounter, dir); err != nil {
			return fmt.Errorf("removing the volumes of pod %s: %w", uid, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the volumes of pod %s: %w", uid, err)
	}
	m.tokens.forget(uid)
	m.queue.Forget(uid)
	p.gone = true
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pods, uid)
	return nil
}

// Pods returns the pods that have a directory on disk, known or not: those
// that no longer exist are to be torn down.
func (m *Manager) Pods() []types.UID {
	entries, err := os.ReadDir(m.root)
	if err != nil {
		return nil
	}
	uids := make([]types.UID, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() {
			uids = append(uids, types.UID(e.Name()))
		}
	}
	return uids
}

// Run rewrites the files of volumes whose sources have changed, until ctx is
// done.
func (m *Manager) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m.refreshNext(ctx) {
		}
	}()
	<-ctx.Done()
	m.queue.ShutDown()
	<-done
	return nil
}

// ObjectChanged tells the manager that a config map or secret has changed;
// kind is object.ConfigMap or object.Secret. It returns at once.
func (m *Manager) ObjectChanged(kind, namespace, name string) {
	ref := object.Reference{Kind: kind, Name: name}
	for uid, p := range m.snapshot() {
		pod := p.pod.Load()
		if pod == nil || pod.Namespace != namespace {
			continue
		}
		if _, ok := object.References(pod)[ref]; ok {
			m.queue.Add(uid)
		}
	}
}

// PodUpdated tells the manager the newest version of a pod, whose labels and
// annotations its downwardAPI volumes show. It returns at once.
func (m *Manager) PodUpdated(pod *v1.Pod) {
	m.mu.Lock()
	p, ok := m.pods[pod.UID]
	m.mu.Unlock()
	if !ok {
		return
	}
	p.pod.Store(pod)
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.DownwardAPI != nil || v.Projected != nil {
			m.queue.Add(pod.UID)
			return
		}
	}
}

func (m *Manager) refreshNext(ctx context.Context) bool {
	uid, shutdown := m.queue.Get()
	if shutdown {
		return false
	}
	defer m.queue.Done(uid)
	err := m.refresh(ctx, uid)
	switch {
	case err == nil, apierrors.IsNotFound(err):
		// A missing object announces itself when it is back; until then the
		// files stay as they are.
		m.queue.Forget(uid)
	default:
		klog.FromContext(ctx).Error(err, "Could not refresh the volumes of a pod", "podUID", uid)
		m.queue.AddRateLimited(uid)
	}
	return true
}

// refresh brings the files of one pod's volumes up to date.
func (m *Manager) refresh(ctx context.Context, uid types.UID) error {
	m.mu.Lock()
	p, ok := m.pods[uid]
	m.mu.Unlock()
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pod := p.pod.Load()
	if p.gone || pod == nil {
		return nil
	}
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		t, known := m.typeOf(v)
		if _, made := p.mounted[v.Name]; !made || !known || t.Content == nil {
			continue
		}
		r := &request{Manager: m, pod: pod, volume: v, dir: p.mounted[v.Name].HostPath}
		if err := m.writeContent(ctx, t, r); err != nil {
			errs = append(errs, fmt.Errorf("volume %q: %w", v.Name, err))
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return utilerrors.NewAggregate(errs)
}

func (m *Manager) typeOf(v *v1.Volume) (Type, bool) {
	for _, t := range m.types {
		if t.Matches(&v.VolumeSource) {
			return t, true
		}
	}
	return Type{}, false
}

// lock returns the pod's state, locked and not gone.
func (m *Manager) lock(uid types.UID) *podVolumes {
	for {
		m.mu.Lock()
		p, ok := m.pods[uid]
		if !ok {
			p = &podVolumes{mounted: map[string]Mounted{}}
			m.pods[uid] = p
		}
		m.mu.Unlock()
		p.mu.Lock()
		if !p.gone {
			return p
		}
		p.mu.Unlock()
	}
}

func (m *Manager) snapshot() map[types.UID]*podVolumes {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[types.UID]*podVolumes, len(m.pods))
	for uid, p := range m.pods {
		out[uid] = p
	}
	return out
}

func (m *Manager) podDir(uid types.UID) string { return filepath.Join(m.root, string(uid)) }

// checkUID keeps a pod's directory inside the root.
func checkUID(uid types.UID) error {
	s := string(uid)
	if s == "" || s == "." || s == ".." || strings.ContainsRune(s, filepath.Separator) {
		return fmt.Errorf("pod UID %q cannot be a directory name", s)
	}
	return nil
}

// usedVolumes are the volumes that some container of the pod mounts.
func usedVolumes(pod *v1.Pod) map[string]bool {
	used := map[string]bool{}
	for _, mounts := range mountsOf(pod) {
		for i := range mounts {
			used[mounts[i].Name] = true
		}
	}
	return used
}

// mountsOf returns the volume mounts of every container.
func mountsOf(pod *v1.Pod) [][]v1.VolumeMount {
	var out [][]v1.VolumeMount
	for i := range pod.Spec.InitContainers {
		out = append(out, pod.Spec.InitContainers[i].VolumeMounts)
	}
	for i := range pod.Spec.Containers {
		out = append(out, pod.Spec.Containers[i].VolumeMounts)
	}
	for i := range pod.Spec.EphemeralContainers {
		out = append(out, pod.Spec.EphemeralContainers[i].VolumeMounts)
	}
	return out
}
