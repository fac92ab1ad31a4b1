package garbagecollector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control"
)

const (
	deleteWorkers = 10
	orphanWorkers = 2
	// absentOwners is how many owners that do not exist are remembered.
	absentOwners = 2000
	// resyncPeriod is how often the served resources are read again without cause.
	resyncPeriod = 2 * time.Minute
	// resyncDelay collects changes of definitions into one reading.
	resyncDelay = time.Second
	// firstSync is how long the first informers may take before work begins without them.
	firstSync = 30 * time.Second
)

// errRetry means: look again later, nothing is wrong.
var errRetry = errors.New("look again later")

// Collector is the garbage collector. It is a runnable of the manager.
type Collector struct {
	// Metadata reads, patches and deletes objects of any kind.
	Metadata metadata.Interface
	// Resources lists what is served in preferred versions; an error may come
	// with a part of the list.
	Resources func() ([]*metav1.APIResourceList, error)
	// Informers is the shared cache.
	Informers cache.Cache
	// Typed are the kinds that the shared cache holds whole; of the others it
	// holds the metadata only.
	Typed map[schema.GroupVersionResource]client.Object
	Clock clock.WithTicker

	table  table
	absent *lru.Cache

	mu    sync.Mutex
	graph *Graph

	deletions workqueue.TypedRateLimitingInterface[types.UID]
	orphans   workqueue.TypedRateLimitingInterface[types.UID]
	changed   chan struct{}

	monitors map[schema.GroupVersionResource]*monitor
}

type monitor struct {
	resource resource
	object   client.Object
	informer cache.Informer
	handler  toolscache.ResourceEventHandlerRegistration
}

// New returns a collector; see the fields for what it needs.
func New(meta metadata.Interface, resources func() ([]*metav1.APIResourceList, error), informers cache.Cache, typed map[schema.GroupVersionResource]client.Object, clk clock.WithTicker) *Collector {
	c := &Collector{
		Metadata: meta, Resources: resources, Informers: informers, Typed: typed, Clock: clk,
		absent:   lru.New(absentOwners),
		changed:  make(chan struct{}, 1),
		monitors: map[schema.GroupVersionResource]*monitor{},
	}
	c.graph = NewGraph(c.table.clusterScoped)
	queue := func(name string) workqueue.TypedRateLimitingInterface[types.UID] {
		return workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](5*time.Millisecond, 1000*time.Second),
			workqueue.TypedRateLimitingQueueConfig[types.UID]{Name: name, Clock: clk})
	}
	c.deletions = queue("garbage_collector_attempt_to_delete")
	c.orphans = queue("garbage_collector_attempt_to_orphan")
	return c
}

// Setup adds the collector to the manager. typed are the kinds the shared
// cache holds whole.
func Setup(env *control.Env, typed map[schema.GroupVersionResource]client.Object) error {
	c := New(env.Metadata, env.Discovery.ServerPreferredResources, env.Manager.GetCache(), typed, env.Clock)
	return env.Manager.Add(c)
}

// Start runs the collector until ctx is done.
func (c *Collector) Start(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("garbagecollector")
	ctx = klog.NewContext(ctx, logger)
	defer c.deletions.ShutDown()
	defer c.orphans.ShutDown()

	for c.syncMonitors(ctx) != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-c.Clock.After(resyncDelay):
		}
	}
	// Look at nothing before the graph is complete: most owners are just about
	// to be shown. A kind that cannot be listed must not hold the rest up.
	c.waitForMonitors(ctx, firstSync)

	var wg sync.WaitGroup
	for range deleteWorkers {
		wg.Go(func() { c.work(ctx, c.deletions, c.attemptToDelete) })
	}
	for range orphanWorkers {
		wg.Go(func() { c.work(ctx, c.orphans, c.attemptToOrphan) })
	}
	wg.Go(func() {
		<-ctx.Done()
		c.deletions.ShutDown()
		c.orphans.ShutDown()
	})
	c.resync(ctx)
	wg.Wait()
	return nil
}

// resync follows what the API server serves: at once when a definition
// changed, and now and then without cause.
func (c *Collector) resync(ctx context.Context) {
	ticker := c.Clock.NewTicker(resyncPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		case <-c.changed:
			select {
			case <-ctx.Done():
				return
			case <-c.Clock.After(resyncDelay):
			}
		}
		if err := c.syncMonitors(ctx); err != nil {
			klog.FromContext(ctx).V(2).Info("Could not read what the API server serves", "err", err)
		}
	}
}

// syncMonitors starts informers for resources that came and stops those of
// resources that went. With a partial answer nothing is stopped.
func (c *Collector) syncMonitors(ctx context.Context) error {
	lists, err := c.Resources()
	if len(lists) == 0 {
		return fmt.Errorf("discovery: %w", errors.Join(err, errors.New("no resources")))
	}
	served := resourcesFrom(lists)
	if err == nil || c.table.current.Load() == nil {
		c.table.set(served)
	} else {
		merged := map[schema.GroupKind]resource{}
		for gk, r := range *c.table.current.Load() {
			merged[gk] = r
		}
		for gk, r := range served {
			merged[gk] = r
		}
		c.table.set(merged)
	}
	wanted := map[schema.GroupVersionResource]bool{}
	for _, r := range served {
		if !r.monitored {
			continue
		}
		wanted[r.gvr] = true
		if c.monitors[r.gvr] == nil {
			if startErr := c.startMonitor(ctx, r); startErr != nil {
				klog.FromContext(ctx).V(2).Info("Could not watch a resource; its objects are not collected yet", "resource", r.gvr, "err", startErr)
			}
		}
	}
	if err != nil {
		return nil
	}
	for gvr, m := range c.monitors {
		if wanted[gvr] {
			continue
		}
		if err := m.informer.RemoveEventHandler(m.handler); err != nil {
			klog.FromContext(ctx).V(2).Info("Could not remove an event handler", "resource", gvr, "err", err)
		}
		if c.Typed[gvr] == nil {
			if err := c.Informers.RemoveInformer(ctx, m.object); err != nil {
				klog.FromContext(ctx).V(2).Info("Could not remove an informer", "resource", gvr, "err", err)
			}
		}
		delete(c.monitors, gvr)
	}
	return nil
}

func (c *Collector) startMonitor(ctx context.Context, r resource) error {
	obj := c.Typed[r.gvr]
	if obj == nil {
		m := &metav1.PartialObjectMetadata{}
		m.SetGroupVersionKind(r.gvk)
		obj = m
	}
	informer, err := c.Informers.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	// A definition's change changes what is served.
	definitions := r.gvr.Resource == "customresourcedefinitions" || r.gvr.Resource == "apiservices"
	observe := func(obj any) {
		if m, err := meta.Accessor(obj); err == nil {
			c.observe(r, m)
		}
		if definitions {
			c.poke()
		}
	}
	handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: observe,
		UpdateFunc: func(old, obj any) {
			// Status changes are no news to the graph.
			a, errA := meta.Accessor(old)
			b, errB := meta.Accessor(obj)
			if errA != nil || errB != nil || a.GetResourceVersion() == b.GetResourceVersion() {
				return
			}
			observe(obj)
		},
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if m, err := meta.Accessor(obj); err == nil {
				c.removed(r, m)
			}
			if definitions {
				c.poke()
			}
		},
	})
	if err != nil {
		return err
	}
	c.monitors[r.gvr] = &monitor{resource: r, object: obj, informer: informer, handler: handler}
	return nil
}

func (c *Collector) poke() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *Collector) waitForMonitors(ctx context.Context, atMost time.Duration) {
	deadline := c.Clock.After(atMost)
	for _, m := range c.monitors {
		for !m.handler.HasSynced() {
			select {
			case <-ctx.Done():
				return
			case <-deadline:
				klog.FromContext(ctx).Info("Not all resources could be listed; collecting garbage without them", "resource", m.resource.gvr)
				return
			case <-c.Clock.After(20 * time.Millisecond):
			}
		}
	}
}

func identity(r resource, m metav1.Object) Identity {
	return Identity{APIVersion: r.gvk.GroupVersion().String(), Kind: r.gvk.Kind, Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID()}
}

func (c *Collector) observe(r resource, m metav1.Object) {
	c.mu.Lock()
	work := c.graph.Observe(Object{
		Identity:   identity(r, m),
		Owners:     m.GetOwnerReferences(),
		Deleting:   m.GetDeletionTimestamp() != nil,
		Finalizers: m.GetFinalizers(),
	})
	c.mu.Unlock()
	c.enqueue(work)
}

func (c *Collector) removed(r resource, m metav1.Object) {
	id := identity(r, m)
	c.absent.Add(absentKey(id), true)
	c.mu.Lock()
	work := c.graph.Remove(id.UID)
	c.mu.Unlock()
	c.enqueue(work)
}

// absentKey leaves the version out: an object is absent in all of them.
func absentKey(id Identity) Identity {
	gk := id.groupKind()
	id.APIVersion, id.Kind = gk.Group, gk.Kind
	return id
}

func (c *Collector) enqueue(w Work) {
	for _, uid := range w.Delete {
		c.deletions.Add(uid)
	}
	for _, uid := range w.Orphan {
		c.orphans.Add(uid)
	}
}

func (c *Collector) work(ctx context.Context, q workqueue.TypedRateLimitingInterface[types.UID], do func(context.Context, types.UID) error) {
	for {
		uid, shutdown := q.Get()
		if shutdown {
			return
		}
		err := do(ctx, uid)
		switch {
		case err == nil:
			q.Forget(uid)
		case ctx.Err() != nil:
		default:
			if !errors.Is(err, errRetry) && !apierrors.IsConflict(err) {
				klog.FromContext(ctx).V(2).Info("Could not collect an object; trying again", "uid", uid, "err", err)
			}
			q.AddRateLimited(uid)
		}
		q.Done(uid)
	}
}

func (c *Collector) view(uid types.UID) (View, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.graph.View(uid)
}

// client returns the metadata client for an object, or an error for a kind that nobody serves.
func (c *Collector) client(id Identity) (metadata.ResourceInterface, resource, error) {
	r, ok := c.table.get(id.groupKind())
	if !ok {
		c.poke()
		return nil, r, fmt.Errorf("%w: nobody serves %s %s", errRetry, id.APIVersion, id.Kind)
	}
	if r.namespaced {
		return c.Metadata.Resource(r.gvr).Namespace(id.Namespace), r, nil
	}
	return c.Metadata.Resource(r.gvr), r, nil
}

// attemptToDelete looks at one object and does what is due.
func (c *Collector) attemptToDelete(ctx context.Context, uid types.UID) error {
	v, ok := c.view(uid)
	if !ok || (v.Deleting && !v.DeletingDependents) {
		return nil
	}
	if v.DeletingDependents && v.Blocked {
		// Known without asking; most often so.
		for _, next := range foregroundStep(v).look {
			c.deletions.Add(next)
		}
		return nil
	}
	objects, _, err := c.client(v.Identity)
	if err != nil {
		return err
	}
	latest, err := objects.Get(ctx, v.Identity.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && latest.UID != uid) {
		c.absent.Add(absentKey(v.Identity), true)
		c.mu.Lock()
		work := c.graph.Absent(v.Identity)
		c.mu.Unlock()
		// The same UID again means: under another name. Not at once, for the
		// names could take turns.
		again := slices.Contains(work.Delete, uid)
		work.Delete = slices.DeleteFunc(work.Delete, func(u types.UID) bool { return u == uid })
		c.enqueue(work)
		if again {
			return errRetry
		}
		return nil
	}
	if err != nil {
		return err
	}
	if v.Virtual {
		// It exists: its informer will show it, or else we ask again.
		return errRetry
	}
	if latest.DeletionTimestamp != nil && !v.DeletingDependents {
		return nil
	}
	states := map[types.UID]ownerState{}
	if !v.DeletingDependents {
		for _, ref := range latest.OwnerReferences {
			state, err := c.ownerState(ctx, v.Identity, ref)
			if err != nil {
				return err
			}
			states[ref.UID] = state
		}
	}
	return c.apply(ctx, objects, v, latest, decide(v, latest, states))
}

// ownerState asks the graph and, unless it shows the owner, the API server.
func (c *Collector) ownerState(ctx context.Context, of Identity, ref metav1.OwnerReference) (ownerState, error) {
	c.mu.Lock()
	id := c.graph.OwnerIdentity(of, ref)
	exists := c.graph.Exists(id)
	c.mu.Unlock()
	if exists {
		return ownerSolid, nil
	}
	if _, gone := c.absent.Get(absentKey(id)); gone {
		return ownerDangling, nil
	}
	owners, r, err := c.client(id)
	if err != nil {
		return ownerSolid, err
	}
	if r.namespaced && id.Namespace == "" {
		// A cluster-scoped object cannot have an owner in a namespace. Nobody
		// can tell which is meant, so the reference is left alone.
		klog.FromContext(ctx).V(2).Info("A cluster-scoped object refers to an owner in a namespace", "object", of, "owner", id)
		return ownerSolid, nil
	}
	owner, err := owners.Get(ctx, id.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && owner.UID != ref.UID:
		c.absent.Add(absentKey(id), true)
		return ownerDangling, nil
	case err != nil:
		return ownerSolid, err
	}
	o := Object{Deleting: owner.DeletionTimestamp != nil, Finalizers: owner.Finalizers}
	if o.foreground() {
		return ownerWaiting, nil
	}
	return ownerSolid, nil
}

func (c *Collector) apply(ctx context.Context, objects metadata.ResourceInterface, v View, latest *metav1.PartialObjectMetadata, a action) error {
	logger := klog.FromContext(ctx)
	for _, uid := range a.look {
		c.deletions.Add(uid)
	}
	if len(a.dropOwners) > 0 {
		_, err := patch(ctx, objects, latest, "ownerReferences", withoutOwners(latest.OwnerReferences, a.dropOwners))
		return err
	}
	if a.removeFinalizer != "" {
		return removeFinalizer(ctx, objects, latest, a.removeFinalizer)
	}
	if a.unblock {
		fresh, err := patch(ctx, objects, latest, "ownerReferences", unblocked(latest.OwnerReferences))
		if err != nil {
			return err
		}
		latest = fresh
	}
	if a.deleteWith == "" {
		return nil
	}
	logger.V(2).Info("Deleting object", "kind", v.Identity.Kind, "namespace", v.Identity.Namespace, "name", v.Identity.Name, "uid", v.Identity.UID, "propagationPolicy", a.deleteWith)
	err := objects.Delete(ctx, v.Identity.Name, metav1.DeleteOptions{
		PropagationPolicy: &a.deleteWith,
		// What was decided holds for the object as it was read.
		Preconditions: &metav1.Preconditions{UID: &latest.UID, ResourceVersion: ptr.To(latest.ResourceVersion)},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// attemptToOrphan releases an owner's dependents and then lets it go.
func (c *Collector) attemptToOrphan(ctx context.Context, uid types.UID) error {
	v, ok := c.view(uid)
	if !ok {
		return nil
	}
	var errs []error
	for _, dep := range v.Dependents {
		errs = append(errs, c.orphan(ctx, dep.Identity, uid))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	objects, _, err := c.client(v.Identity)
	if err != nil {
		return err
	}
	latest, err := objects.Get(ctx, v.Identity.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && latest.UID != uid) {
		return nil
	}
	if err != nil {
		return err
	}
	return removeFinalizer(ctx, objects, latest, metav1.FinalizerOrphanDependents)
}

func (c *Collector) orphan(ctx context.Context, id Identity, owner types.UID) error {
	objects, _, err := c.client(id)
	if err != nil {
		return err
	}
	latest, err := objects.Get(ctx, id.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && latest.UID != id.UID) {
		return nil
	}
	if err != nil {
		return err
	}
	rest := withoutOwners(latest.OwnerReferences, []types.UID{owner})
	if len(rest) == len(latest.OwnerReferences) {
		return nil
	}
	_, err = patch(ctx, objects, latest, "ownerReferences", rest)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func removeFinalizer(ctx context.Context, objects metadata.ResourceInterface, latest *metav1.PartialObjectMetadata, finalizer string) error {
	rest := []string{}
	for _, f := range latest.Finalizers {
		if f != finalizer {
			rest = append(rest, f)
		}
	}
	if len(rest) == len(latest.Finalizers) {
		return nil
	}
	_, err := patch(ctx, objects, latest, "finalizers", rest)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// patch replaces one list of the metadata of exactly the object that was read.
func patch(ctx context.Context, objects metadata.ResourceInterface, latest *metav1.PartialObjectMetadata, field string, value any) (*metav1.PartialObjectMetadata, error) {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":             latest.UID,
		"resourceVersion": latest.ResourceVersion,
		field:             value,
	}})
	if err != nil {
		return nil, err
	}
	return objects.Patch(ctx, latest.Name, types.MergePatchType, data, metav1.PatchOptions{})
}
