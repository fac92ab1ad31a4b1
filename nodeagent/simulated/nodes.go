package simulated

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Nodes is the component: all simulated nodes together.
type Nodes struct {
	options  Options
	client   kubernetes.Interface
	cache    cache.Cache
	ownCache bool
	queue    workqueue.TypedDelayingInterface[types.NamespacedName]
	ready    chan struct{}

	mu        sync.Mutex
	uids      []types.UID             // by node index
	leases    []*coordinationv1.Lease // by node index, as last written
	pods      map[types.NamespacedName]entry
	addresses addresses
}

// entry is a pod on one of our nodes, as the API has it.
type entry struct {
	pod   *v1.Pod
	bound time.Time // when we first saw it
	ip    string
}

// New returns simulated nodes that wait for Run.
func New(options Options) (*Nodes, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(options.Config)
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("simulated nodes: client: %w", err)
	}
	if options.Cache != nil {
		return newNodes(options, kube, options.Cache), nil
	}
	own, err := cache.New(config, cache.Options{
		Scheme: scheme.Scheme, DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{&v1.Pod{}: {Field: fields.OneTermNotEqualSelector("spec.nodeName", "")}},
	})
	if err != nil {
		return nil, fmt.Errorf("simulated nodes: cache: %w", err)
	}
	n := newNodes(options, kube, own)
	n.ownCache = true
	return n, nil
}

func newNodes(options Options, kube kubernetes.Interface, cache cache.Cache) *Nodes {
	return &Nodes{
		options: options, client: kube, cache: cache, ready: make(chan struct{}),
		queue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[types.NamespacedName]{
			Name: "simulated-pods", Clock: options.Clock,
		}),
		uids: make([]types.UID, options.Count), leases: make([]*coordinationv1.Lease, options.Count),
		pods: map[types.NamespacedName]entry{}, addresses: addresses{used: map[string]bool{}},
	}
}

// Name is the component's name.
func (n *Nodes) Name() string { return "simulated-nodes" }

// Ready is closed once all nodes are registered and their pods are watched.
func (n *Nodes) Ready() <-chan struct{} { return n.ready }

// Run registers the nodes, keeps them alive and runs their pods until ctx is
// done. The Node objects stay behind, as those of real nodes do.
func (n *Nodes) Run(ctx context.Context) error {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName(n.Name()))
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer n.queue.ShutDown()
	if n.ownCache {
		wg.Go(func() {
			if err := n.cache.Start(ctx); err != nil {
				cancel(fmt.Errorf("simulated nodes: cache: %w", err))
			}
		})
	}

	work := make(chan func())
	for range n.options.Workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case job := <-work:
					job()
				}
			}
		})
	}
	if !n.registerAll(ctx, work) {
		return failure(ctx)
	}
	if err := n.watch(ctx); err != nil {
		if ctx.Err() != nil {
			return failure(ctx)
		}
		return err
	}
	for range n.options.Workers {
		wg.Go(func() { n.podWorker(ctx) })
	}
	context.AfterFunc(ctx, n.queue.ShutDown)
	close(n.ready)
	n.heartbeat(ctx, work)
	<-ctx.Done()
	return failure(ctx)
}

// failure is why ctx is done, unless someone asked for it.
func failure(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != context.Canceled && cause != context.DeadlineExceeded {
		return cause
	}
	return nil
}

// registerAll makes all Nodes; it tries those that fail again each second. It
// returns false if ctx is done first.
func (n *Nodes) registerAll(ctx context.Context, work chan<- func()) bool {
	todo := make([]int, n.options.Count)
	for i := range todo {
		todo[i] = i
	}
	for {
		var mu sync.Mutex
		var failed []int
		var round sync.WaitGroup
		for _, i := range todo {
			round.Add(1)
			job := func() {
				defer round.Done()
				if err := n.register(ctx, i); err != nil {
					n.check(ctx, err)
					mu.Lock()
					failed = append(failed, i)
					mu.Unlock()
				}
			}
			select {
			case work <- job:
			case <-ctx.Done():
				return false
			}
		}
		round.Wait()
		if len(failed) == 0 {
			return ctx.Err() == nil
		}
		todo = failed
		select {
		case <-ctx.Done():
			return false
		case <-n.options.Clock.After(time.Second):
		}
	}
}

func (n *Nodes) setUID(i int, uid types.UID) {
	n.mu.Lock()
	n.uids[i] = uid
	n.mu.Unlock()
}

// check logs what a retry will mend.
func (n *Nodes) check(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) {
		klog.FromContext(ctx).V(1).Info("Simulated node could not write; it will try again", "err", err)
	}
}
