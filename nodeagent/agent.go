package nodeagent

import (
	"context"

	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"proa/nodeagent/cgroup"
	"proa/nodeagent/cri"
	"proa/nodeagent/env"
	"proa/nodeagent/image"
	"proa/nodeagent/logs"
	"proa/nodeagent/object"
	"proa/nodeagent/planner"
	"proa/nodeagent/probe"
	"proa/nodeagent/volume"
)

// Agent is the node's agent, a component of the cluster.
type Agent struct {
	o        Options
	client   kubernetes.Interface
	runtime  cri.Runtime
	observer cri.Observer
	cgroups  *cgroup.Manager // nil without a CgroupRoot
	volumes  *volume.Manager
	objects  *object.Cache
	services env.Services
	probes   *probe.Manager
	events   events
	pulls    pulls
	metrics  *metrics
	memory   int64 // capacity in bytes
	gatherer prometheus.Gatherer
	actions  map[planner.Verb]func(context.Context, *worker, *v1.Pod, planner.Action) planner.Result
	ready    chan struct{}
	node     *nodeState

	mu      sync.Mutex
	workers map[types.UID]*worker
	adopted map[types.UID]*cri.Pod // what the runtime had at start
	ctx     context.Context        // of Run
	pods    *podWatch
	svcs    *serviceWatch

	allocations *allocations
	broadcaster record.EventBroadcaster
	closers     []func() error
}

// New returns an agent that does nothing until Run.
func New(o Options) (*Agent, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	client, err := newClient(o)
	if err != nil {
		return nil, err
	}
	var gatherer prometheus.Gatherer
	o.Registerer, gatherer = registry(o.Registerer)
	a := &Agent{
		o: o, gatherer: gatherer, client: client, runtime: o.Runtime, ready: make(chan struct{}),
		workers: map[types.UID]*worker{}, allocations: newAllocations(), metrics: newMetrics(o.Registerer),
		broadcaster: record.NewBroadcaster(),
	}
	if a.runtime == nil {
		m := cri.NewMetrics(o.Registerer)
		c, err := cri.Dial(o.RuntimeEndpoint, m.Intercept)
		if err != nil {
			return nil, fmt.Errorf("nodeagent: %w", err)
		}
		a.runtime = c
		a.closers = append(a.closers, c.Close)
	}
	if o.CgroupRoot != "" {
		if a.cgroups, err = cgroup.New(o.CgroupRoot); err != nil {
			return nil, fmt.Errorf("nodeagent: %w", err)
		}
	}
	a.observer = cri.Observer{Runtime: a.runtime, Exited: terminationMessage}
	a.events = events{recorder: a.broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: o.NodeName}), node: o.NodeName}
	a.objects = object.New(client, object.Options{OnChange: a.objectChanged})
	a.volumes = volume.New(volume.Options{
		RootDir: filepath.Join(o.RootDir, "pods"), Objects: a.objects, Tokens: volume.ClientTokens{Client: client},
		Images: a.volumeImage, Allocatable: a.allocatable, Clock: o.Clock,
	})
	if a.o.PullKeyring == nil {
		a.o.PullKeyring = &image.PullSecrets{Objects: a.objects, OnMissing: func(pod *v1.Pod, message string) {
			a.events.pod(pod, v1.EventTypeWarning, "FailedToRetrieveImagePullSecret", message)
		}}
	}
	a.probes = probe.New(probe.Options{Exec: a.runtime, Clock: o.Clock, Changed: a.probed, Event: a.unhealthy})
	a.node = newNodeState(a)
	a.pods, a.svcs = newPodWatch(a), newServiceWatch(a)
	a.services = a.svcs
	a.memory = capacityMemory()
	a.actions = map[planner.Verb]func(context.Context, *worker, *v1.Pod, planner.Action) planner.Result{
		planner.SetupVolumes:    a.setupVolumes,
		planner.CreateSandbox:   a.createSandbox,
		planner.EnsureImage:     a.ensureImage,
		planner.StartContainer:  a.startContainer,
		planner.KillContainer:   a.kill,
		planner.StopSandbox:     a.stopSandbox,
		planner.TeardownVolumes: a.teardownVolumes,
		planner.RemoveContainer: a.removeContainer,
		planner.RemoveSandbox:   a.removeSandbox,
		planner.Cleanup:         a.cleanup,
		planner.DeletePod:       a.deletePod,
		planner.ResizePod:       a.resizePod,
	}
	return a, nil
}

func newClient(o Options) (kubernetes.Interface, error) {
	if o.Client != nil {
		return o.Client, nil
	}
	config := rest.CopyConfig(o.Config)
	config.QPS = -1
	config.UserAgent = "kubelet/" + KubeletVersion
	if config.ContentType == "" {
		config.ContentType = "application/vnd.kubernetes.protobuf"
		config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("nodeagent: %w", err)
	}
	return client, nil
}

// Name is the component's name.
func (a *Agent) Name() string { return "nodeagent" }

// Ready is closed once the node is registered and the runtime answers.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run works until ctx is done. Containers keep running afterwards.
func (a *Agent) Run(ctx context.Context) error {
	defer func() {
		for _, c := range a.closers {
			_ = c()
		}
	}()
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, klog.FromContext(ctx).WithName("nodeagent")))
	defer cancel()
	a.ctx = ctx
	if err := os.MkdirAll(filepath.Join(a.o.RootDir, "pods"), 0o750); err != nil {
		return fmt.Errorf("nodeagent: %w", err)
	}
	if a.cgroups != nil {
		if err := a.cgroups.Start(ctx); err != nil {
			return fmt.Errorf("nodeagent: %w", err)
		}
	}
	sink := a.broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: a.client.CoreV1().Events("")})
	defer a.broadcaster.Shutdown()
	defer sink.Stop()
	defer a.objects.Close()
	defer a.probes.Stop()

	var wg sync.WaitGroup
	errs := make(chan error, 8)
	run := func(f func(context.Context) error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := f(ctx); err != nil {
				errs <- err
				cancel()
			}
		}()
	}
	run(a.volumes.Run)
	run(a.svcs.run)
	run(a.node.run)
	run(a.runEvents)
	run(a.runPods)
	run(logs.NewRotator(logs.RotatorOptions{Runtime: a.runtime, Clock: a.o.Clock}).Run)
	run(image.NewGC(image.GCOptions{Runtime: a.runtime, Clock: a.o.Clock, OnFailure: func(reason, message string) {
		a.events.onNode(v1.EventTypeWarning, reason, message)
	}}).Run)
	if a.o.ServerCert != nil || a.o.GetCertificate != nil {
		run(a.serve)
	}
	<-ctx.Done()
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// waitRuntime returns when the runtime answers.
func (a *Agent) waitRuntime(ctx context.Context) error {
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		if _, err := a.runtime.Version(ctx); err == nil {
			return nil
		} else if ctx.Err() == nil && delay >= time.Second {
			klog.FromContext(ctx).Info("Waiting for the container runtime", "endpoint", a.o.RuntimeEndpoint, "err", err)
		}
		t := a.o.Clock.NewTimer(delay)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// objectChanged is told by the cache of config maps and secrets.
func (a *Agent) objectChanged(kind, namespace, name string) {
	a.volumes.ObjectChanged(kind, namespace, name)
	for _, uid := range a.objects.Referrers(kind, namespace, name) {
		if w := a.worker(uid); w != nil {
			w.update(func(s *planner.State) { s.Retry() })
		}
	}
}

func (a *Agent) worker(uid types.UID) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.workers[uid]
}

// forget drops a worker whose pod is gone everywhere.
func (a *Agent) forget(w *worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.workers[w.uid] == w {
		delete(a.workers, w.uid)
	}
	a.objects.Unregister(w.state.Pod)
	klog.FromContext(w.ctx).V(2).Info("Pod is gone")
}

func (a *Agent) all() []*worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*worker, 0, len(a.workers))
	for _, w := range a.workers {
		out = append(out, w)
	}
	return out
}

// probed takes in what a container's probes say.
func (a *Agent) probed(uid types.UID, id string, p planner.Probe) {
	if w := a.worker(uid); w != nil {
		w.update(func(s *planner.State) { s.Probes[id] = p })
	}
}

func (a *Agent) unhealthy(uid types.UID, container, reason, message string) {
	if w := a.worker(uid); w != nil {
		w.mu.Lock()
		pod := w.state.Pod
		w.mu.Unlock()
		a.events.container(pod, container, v1.EventTypeWarning, reason, message)
	}
}
