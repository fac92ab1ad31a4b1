package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Scheduler is the component: the core, its informers and its writers.
type Scheduler struct {
	options  Options
	client   kubernetes.Interface
	cache    cache.Cache
	ownCache bool
	metrics  *metrics
	events   events.EventBroadcaster
	recorder events.EventRecorder
	ready    chan struct{}

	mu   sync.Mutex // guards core
	core *core
	wake chan struct{} // capacity 1: something for the loop to look at

	bindings chan *attempt
	failures chan *attempt
}

// New returns a scheduler that waits for Run.
func New(options Options) (*Scheduler, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(options.Config)
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("scheduler: client: %w", err)
	}
	if options.Cache != nil {
		return newScheduler(options, client, options.Cache)
	}
	own, err := cache.New(config, cache.Options{Scheme: scheme.Scheme, DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		return nil, fmt.Errorf("scheduler: cache: %w", err)
	}
	s, err := newScheduler(options, client, own)
	if err != nil {
		return nil, err
	}
	s.ownCache = true
	return s, nil
}

func newScheduler(options Options, client kubernetes.Interface, cache cache.Cache) (*Scheduler, error) {
	s := &Scheduler{
		options: options, client: client, cache: cache,
		core:     newCore(options.SchedulerName, options.Plugins, options.Random),
		ready:    make(chan struct{}),
		wake:     make(chan struct{}, 1),
		bindings: make(chan *attempt, 4096),
		failures: make(chan *attempt, 4096),
	}
	var err error
	if s.metrics, err = newMetrics(options.Registerer, options.SchedulerName, s.counts); err != nil {
		return nil, fmt.Errorf("scheduler: metrics: %w", err)
	}
	s.events = events.NewBroadcaster(newBoundedSink(&events.EventSinkImpl{Interface: client.EventsV1()}))
	s.recorder = s.events.NewRecorder(scheme.Scheme, options.SchedulerName)
	return s, nil
}

// Name is the component's name.
func (s *Scheduler) Name() string { return "scheduler" }

// Ready is closed once nodes and pods are known and pods are being scheduled
// (or, with leader election, could be).
func (s *Scheduler) Ready() <-chan struct{} { return s.ready }

// Run schedules pods until ctx is done. It returns an error when the leader's
// Lease was lost.
func (s *Scheduler) Run(ctx context.Context) error {
	parent := klog.NewContext(ctx, klog.FromContext(ctx).WithName(s.Name()))
	group, ctx := errgroup.WithContext(parent)
	if s.ownCache {
		group.Go(func() error { return s.cache.Start(ctx) })
	}
	if err := s.events.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("scheduler: events: %w", err)
	}
	defer s.events.Shutdown()

	group.Go(func() error {
		synced, err := s.watch(ctx)
		if err != nil {
			return err
		}
		if !toolscache.WaitForCacheSync(ctx.Done(), synced...) {
			return nil
		}
		close(s.ready)
		if s.options.LeaderElect {
			return s.lead(ctx, s.schedule)
		}
		s.schedule(ctx)
		return nil
	})
	if err := group.Wait(); parent.Err() == nil {
		return err
	}
	return nil // told to stop
}

// informer asks for an informer until the API server, which may start later,
// says that it serves the kind.
func (s *Scheduler) informer(ctx context.Context, obj client.Object) (cache.Informer, error) {
	for {
		i, err := s.cache.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
		if err == nil || ctx.Err() != nil {
			return i, err
		}
		klog.FromContext(ctx).Info("Waiting for the API server", "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.options.Clock.After(time.Second):
		}
	}
}

// watch connects the core to the informers.
func (s *Scheduler) watch(ctx context.Context) ([]toolscache.InformerSynced, error) {
	var synced []toolscache.InformerSynced
	nodes, err := s.informer(ctx, &v1.Node{})
	if err != nil {
		return nil, err
	}
	namespaces, err := s.informer(ctx, &v1.Namespace{})
	if err != nil {
		return nil, err
	}
	pods, err := s.informer(ctx, &v1.Pod{})
	if err != nil {
		return nil, err
	}
	for _, w := range []struct {
		informer cache.Informer
		handler  toolscache.ResourceEventHandler
	}{{nodes, s.nodeHandler()}, {namespaces, s.namespaceHandler()}, {pods, s.podHandler()}} {
		registration, err := w.informer.AddEventHandler(w.handler)
		if err != nil {
			return nil, fmt.Errorf("scheduler: event handler: %w", err)
		}
		context.AfterFunc(ctx, func() { _ = w.informer.RemoveEventHandler(registration) })
		synced = append(synced, registration.HasSynced)
	}
	return synced, nil
}

// schedule runs the loop and its writers until ctx is done.
func (s *Scheduler) schedule(ctx context.Context) {
	var writers sync.WaitGroup
	for range s.options.BindWorkers {
		writers.Go(func() { drain(ctx, s.bindings, s.bind) })
	}
	for range 8 {
		writers.Go(func() { drain(ctx, s.failures, s.reportFailure) })
	}
	s.loop(ctx)
	writers.Wait()
}

func drain(ctx context.Context, from <-chan *attempt, do func(context.Context, *attempt)) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-from:
			do(ctx, a)
		}
	}
}

// loop tries pods one after the other, as long as some are ready.
func (s *Scheduler) loop(ctx context.Context) {
	for ctx.Err() == nil {
		start := s.options.Clock.Now()
		s.mu.Lock()
		a := s.core.next(start)
		var wait time.Duration
		if a == nil {
			if at, ok := s.core.queue.Next(); ok {
				wait = max(at.Sub(start), time.Millisecond)
			}
		}
		s.mu.Unlock()
		if a == nil {
			s.sleep(ctx, wait)
			continue
		}
		s.metrics.attempted(a, s.options.Clock.Since(start))
		to := s.bindings
		if a.fit != nil {
			to = s.failures
		}
		select {
		case to <- a:
		case <-ctx.Done():
		}
	}
}

// sleep waits for a change, or for at most d unless d is 0.
func (s *Scheduler) sleep(ctx context.Context, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		timer := s.options.Clock.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C()
	}
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-timeout:
	}
}

// change applies something that was learned to the core.
func (s *Scheduler) change(apply func(c *core, now time.Time)) {
	s.mu.Lock()
	apply(s.core, s.options.Clock.Now())
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Scheduler) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.queue.Counts()
}
