// Package controltest is the small world in which controllers are tested: a
// fake API server that gives names, UIDs, times and generations out in order,
// a fake clock, a queue, and a transcript of everything that was written and
// recorded. Tests compare transcripts.
package controltest

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// Start is the time at which every world begins.
var Start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// collectDelay is the longest wait that Run lets pass by itself: controllers put
// events off for that long to handle several at once.
const collectDelay = 5 * time.Millisecond

// World is one test's cluster. Client both reads and writes; use it for the
// cache and for the live reader.
type World struct {
	t      *testing.T
	Client client.Client
	Clock  *clocktesting.FakeClock
	Queue  *Queue
	// Fail, if set, is asked before every write; an error refuses it. verb is
	// create, update, status, patch or delete.
	Fail func(verb string, obj client.Object) error
	// silent is set while the test itself acts.
	silent bool

	mu       sync.Mutex
	sequence int
	writes   []string
	events   []string
	watches  []watch
	pending  []func()
	// pendingLines is the transcript of finished reconciliations.
	pendingLines []string
}

type watch struct {
	kind    string
	handler handler.EventHandler
}

// New makes a world with the objects in it.
func New(t *testing.T, objs ...client.Object) *World {
	t.Helper()
	w := &World{t: t, Clock: clocktesting.NewFakeClock(Start)}
	w.Queue = &Queue{clock: w.Clock}
	w.Client = fake.NewClientBuilder().
		WithScheme(clientgoscheme.Scheme).
		WithStatusSubresource(&corev1.Pod{}, &corev1.Namespace{}, &appsv1.ReplicaSet{}, &appsv1.Deployment{}, &appsv1.DaemonSet{}, &appsv1.StatefulSet{}, &batchv1.Job{}, &batchv1.CronJob{},
			&corev1.ReplicationController{}, &corev1.ResourceQuota{}, &policyv1.PodDisruptionBudget{}, &networkingv1.ServiceCIDR{}).
		WithIndex(&corev1.Pod{}, control.OwnerIndex, control.ByOwner).
		WithIndex(&corev1.Pod{}, control.NodeIndex, control.ByNode).
		WithIndex(&appsv1.ReplicaSet{}, control.OwnerIndex, control.ByOwner).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: w.create, Update: w.update, Patch: w.patch, Delete: w.remove, SubResourceUpdate: w.subresource,
		}).Build()
	w.Do(func() {
		for _, obj := range objs {
			if err := w.Client.Create(context.Background(), obj); err != nil {
				t.Fatalf("create %T %s: %v", obj, obj.GetName(), err)
			}
		}
	})
	return w
}

// Do runs what the test, and not the controller, does: it is not in the transcript.
func (w *World) Do(act func()) {
	w.silent = true
	defer func() { w.silent = false }()
	act()
}

// Watch sends the events of the type of obj to h, as an informer would.
func (w *World) Watch(obj client.Object, h handler.EventHandler) {
	w.watches = append(w.watches, watch{w.kind(obj), h})
}

// WatchSelf queues every object of the type for its own events.
func (w *World) WatchSelf(obj client.Object) { w.Watch(obj, &handler.EnqueueRequestForObject{}) }

// Run delivers events and reconciles until nothing is due within collectDelay
// and returns the transcript since the last call.
func (w *World) Run(r reconcile.Reconciler) string {
	w.t.Helper()
	for range 200 {
		w.deliver()
		req, ok := w.Queue.next()
		if wait := w.Queue.Waiting(); !ok && wait > 0 && wait <= collectDelay {
			w.Clock.Step(wait)
			continue
		}
		if !ok {
			return w.Log()
		}
		res, err := r.Reconcile(context.Background(), req)
		if err != nil {
			w.mu.Lock()
			w.events = append(w.events, fmt.Sprintf("error %s: %v", req.Name, err))
			w.mu.Unlock()
			w.Queue.AddAfter(req, time.Second)
		} else if res.RequeueAfter > 0 {
			w.Queue.AddAfter(req, res.RequeueAfter)
		}
		w.flush()
	}
	w.t.Fatalf("no end after 200 reconciliations; transcript:\n%s", w.Log())
	return ""
}

// Advance moves the clock and makes due what was put off.
func (w *World) Advance(d time.Duration) { w.Clock.Step(d) }

// Log returns the transcript so far and begins a new one.
func (w *World) Log() string {
	w.flush()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := strings.Join(w.pendingLines, "\n")
	w.pendingLines = nil
	return out
}

// Get reads an object by namespace and name into obj and returns it.
func Get[T client.Object](w *World, namespace, name string, obj T) T {
	w.t.Helper()
	if err := w.Client.Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: name}, obj); err != nil {
		w.t.Fatalf("get %T %s/%s: %v", obj, namespace, name, err)
	}
	return obj
}

// Update applies change to a fresh copy of the object, spec and status, as
// someone else's write.
func Update[T client.Object](w *World, obj T, change func(T)) {
	w.t.Helper()
	w.Do(func() {
		fresh := Get(w, obj.GetNamespace(), obj.GetName(), obj.DeepCopyObject().(T))
		change(fresh)
		status := fresh.DeepCopyObject().(T)
		if err := w.Client.Update(context.Background(), fresh); err != nil {
			w.t.Fatalf("update %T %s: %v", obj, obj.GetName(), err)
		}
		status.SetResourceVersion(fresh.GetResourceVersion())
		if err := w.Client.Status().Update(context.Background(), status); err != nil && !strings.Contains(err.Error(), "not found") {
			w.t.Fatalf("status of %T %s: %v", obj, obj.GetName(), err)
		}
	})
}

// Delete removes the object as someone else would.
func (w *World) Delete(obj client.Object) {
	w.t.Helper()
	w.Do(func() {
		if err := w.Client.Delete(context.Background(), obj); err != nil {
			w.t.Fatalf("delete %T %s: %v", obj, obj.GetName(), err)
		}
	})
}

// Pods lists the pods of a namespace by name.
func (w *World) Pods(namespace string) []*corev1.Pod {
	var list corev1.PodList
	if err := w.Client.List(context.Background(), &list, client.InNamespace(namespace)); err != nil {
		w.t.Fatal(err)
	}
	var out []*corev1.Pod
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// SetReady makes a pod run on a node and be ready.
func (w *World) SetReady(pod *corev1.Pod) {
	Update(w, pod, func(p *corev1.Pod) {
		if p.Spec.NodeName == "" {
			p.Spec.NodeName = "node-1"
		}
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(w.Clock.Now())}}
	})
}

// SetPhase sets a pod's phase.
func (w *World) SetPhase(pod *corev1.Pod, phase corev1.PodPhase) {
	Update(w, pod, func(p *corev1.Pod) { p.Status.Phase = phase; p.Status.Conditions = nil })
}

func (w *World) kind(obj runtime.Object) string {
	gvk, err := apiutil.GVKForObject(obj, clientgoscheme.Scheme)
	if err != nil {
		w.t.Fatalf("%T: %v", obj, err)
	}
	return gvk.Kind
}

func (w *World) create(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
	if err := w.refused("create", obj); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sequence++
	if obj.GetName() == "" {
		obj.SetName(fmt.Sprintf("%s%d", obj.GetGenerateName(), w.sequence))
	}
	if obj.GetUID() == "" {
		obj.SetUID(types.UID(fmt.Sprintf("uid-%d", w.sequence)))
	}
	if obj.GetCreationTimestamp().Time.IsZero() {
		obj.SetCreationTimestamp(metav1.NewTime(w.Clock.Now()))
	}
	if obj.GetGeneration() == 0 {
		obj.SetGeneration(1)
	}
	status := obj.DeepCopyObject().(client.Object)
	if err := c.Create(ctx, obj, opts...); err != nil {
		return err
	}
	if w.silent {
		// A test may create an object with a status.
		status.SetResourceVersion(obj.GetResourceVersion())
		if err := c.Status().Update(ctx, status); err == nil {
			status.DeepCopyObject()
			_ = c.Get(ctx, client.ObjectKeyFromObject(obj), obj)
		}
	}
	if pod, ok := obj.(*corev1.Pod); ok && pod.Status.Phase == "" {
		// The API server's default.
		pod.Status.Phase = corev1.PodPending
		if err := c.Status().Update(ctx, pod); err != nil {
			return err
		}
	}
	w.write("create", obj, describe(obj))
	w.emit(func(h handler.EventHandler, obj client.Object) func() {
		return func() { h.Create(ctx, event.CreateEvent{Object: obj}, w.Queue) }
	}, obj)
	return nil
}

func (w *World) change(ctx context.Context, verb string, c client.WithWatch, obj client.Object, act func() error) error {
	if err := w.refused(verb, obj); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old := obj.DeepCopyObject().(client.Object)
	if err := c.Get(ctx, client.ObjectKeyFromObject(obj), old); err != nil {
		return err
	}
	if err := act(); err != nil {
		return err
	}
	fresh := obj.DeepCopyObject().(client.Object)
	if err := c.Get(ctx, client.ObjectKeyFromObject(obj), fresh); err != nil {
		w.write(verb, obj, "(gone)")
		w.emit(func(h handler.EventHandler, _ client.Object) func() {
			return func() { h.Delete(ctx, event.DeleteEvent{Object: old}, w.Queue) }
		}, obj)
		return nil
	}
	w.write(verb, obj, diff(old, fresh))
	w.emit(func(h handler.EventHandler, now client.Object) func() {
		return func() { h.Update(ctx, event.UpdateEvent{ObjectOld: old, ObjectNew: now}, w.Queue) }
	}, fresh)
	return nil
}

func (w *World) update(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
	return w.change(ctx, "update", c, obj, func() error {
		old := obj.DeepCopyObject().(client.Object)
		if err := c.Get(ctx, client.ObjectKeyFromObject(obj), old); err != nil {
			return err
		}
		if !equality.Semantic.DeepEqual(spec(old), spec(obj)) {
			obj.SetGeneration(old.GetGeneration() + 1)
		}
		return c.Update(ctx, obj, opts...)
	})
}

func (w *World) patch(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, opts ...client.PatchOption) error {
	return w.change(ctx, "patch", c, obj, func() error { return c.Patch(ctx, obj, p, opts...) })
}

func (w *World) remove(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
	return w.change(ctx, "delete", c, obj, func() error { return c.Delete(ctx, obj, opts...) })
}

// subresource writes status; annotations may go with it, as with the real API.
func (w *World) subresource(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	ww, ok := c.(client.WithWatch)
	if !ok {
		return fmt.Errorf("client %T cannot watch", c)
	}
	return w.change(ctx, name, ww, obj, func() error {
		annotations := obj.GetAnnotations()
		if err := c.SubResource(name).Update(ctx, obj, opts...); err != nil {
			return err
		}
		fresh := obj.DeepCopyObject().(client.Object)
		if err := c.Get(ctx, client.ObjectKeyFromObject(obj), fresh); err != nil {
			return err
		}
		if !equality.Semantic.DeepEqual(fresh.GetAnnotations(), annotations) {
			fresh.SetAnnotations(annotations)
			if err := c.Update(ctx, fresh); err != nil {
				return err
			}
		}
		obj.SetResourceVersion(fresh.GetResourceVersion())
		obj.SetAnnotations(annotations)
		return nil
	})
}

func (w *World) refused(verb string, obj client.Object) error {
	if w.silent || w.Fail == nil {
		return nil
	}
	return w.Fail(verb, obj)
}

// emit queues an event for the watches of the object's type.
func (w *World) emit(deliver func(handler.EventHandler, client.Object) func(), obj client.Object) {
	kind := w.kind(obj)
	for _, x := range w.watches {
		if x.kind == kind {
			w.pending = append(w.pending, deliver(x.handler, obj.DeepCopyObject().(client.Object)))
		}
	}
}

func (w *World) deliver() {
	for {
		w.mu.Lock()
		pending := w.pending
		w.pending = nil
		w.mu.Unlock()
		if len(pending) == 0 {
			return
		}
		for _, f := range pending {
			f()
		}
	}
}
