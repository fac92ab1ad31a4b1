package object

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// watched holds one object at its newest version: the store of a reflector
// with room for a single object.
type watched struct {
	reflector *cache.Reflector
	changed   func()             // called without the lock
	freeze    context.CancelFunc // ends the watch of an immutable object
	synced    chan struct{}      // closed by the first answer

	mu       sync.Mutex
	isSynced bool
	obj      metav1.Object
	err      error
}

func newWatched(client kubernetes.Interface, k key, changed func(), freeze context.CancelFunc) *watched {
	w := &watched{changed: changed, freeze: freeze, synced: make(chan struct{})}
	selector := fields.OneTermEqualSelector("metadata.name", k.name).String()
	lw := &cache.ListWatch{}
	var expected runtime.Object
	if k.kind == Secret {
		expected = &v1.Secret{}
		api := client.CoreV1().Secrets(k.namespace)
		lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return api.List(ctx, o)
		}
		lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return api.Watch(ctx, o)
		}
	} else {
		expected = &v1.ConfigMap{}
		api := client.CoreV1().ConfigMaps(k.namespace)
		lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return api.List(ctx, o)
		}
		lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return api.Watch(ctx, o)
		}
	}
	w.reflector = cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(w.recordErrors(lw), client), expected, w, cache.ReflectorOptions{
		Name:            k.kind + " " + k.namespace + "/" + k.name,
		MinWatchTimeout: 30 * time.Minute,
		// The first tries follow each other closely: the authorizer may learn
		// of a new pod a moment later than its node does.
		Backoff: &wait.Backoff{Duration: 10 * time.Millisecond, Factor: 2, Steps: 12, Cap: 30 * time.Second, Jitter: 0.5},
	})
	return w
}

// recordErrors keeps why the API refused, for those who wait.
func (w *watched) recordErrors(lw *cache.ListWatch) *cache.ListWatch {
	record := func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
	}
	list, watchFn := lw.ListWithContextFunc, lw.WatchFuncWithContext
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			obj, err := list(ctx, o)
			record(err)
			return obj, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			i, err := watchFn(ctx, o)
			record(err)
			return i, err
		},
	}
}

func (w *watched) run(ctx context.Context) { w.reflector.RunWithContext(ctx) }

// answer is the object at its newest version, once the watch has synced.
func (w *watched) answer(k key) (metav1.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.obj == nil {
		return nil, notFound(k.kind, k.name)
	}
	return w.obj, nil
}

func (w *watched) lastError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watched) set(obj metav1.Object, first bool) {
	w.mu.Lock()
	same := version(w.obj) == version(obj)
	w.obj = obj
	if first && !w.isSynced {
		w.isSynced = true
		close(w.synced)
	}
	w.mu.Unlock()
	if isImmutable(obj) {
		w.freeze()
	}
	if !same {
		w.changed()
	}
}

// Add, Update, Delete, Replace and Resync implement cache.ReflectorStore.

// Add stores the object.
func (w *watched) Add(obj any) error { return w.Update(obj) }

// Update stores the object.
func (w *watched) Update(obj any) error {
	o, _ := obj.(metav1.Object)
	w.set(o, false)
	return nil
}

// Delete forgets the object.
func (w *watched) Delete(any) error {
	w.set(nil, false)
	return nil
}

// Replace stores the answer of a list: the object, or nothing.
func (w *watched) Replace(list []any, _ string) error {
	var o metav1.Object
	if len(list) > 0 {
		o, _ = list[0].(metav1.Object)
	}
	w.set(o, true)
	return nil
}

// Resync does nothing.
func (w *watched) Resync() error { return nil }

// version tells apart a missing object and any two versions of one.
func version(o metav1.Object) string {
	if o == nil {
		return ""
	}
	return string(o.GetUID()) + "/" + o.GetResourceVersion()
}

func isImmutable(o metav1.Object) bool {
	switch o := o.(type) {
	case *v1.ConfigMap:
		return o.Immutable != nil && *o.Immutable
	case *v1.Secret:
		return o.Immutable != nil && *o.Immutable
	}
	return false
}
