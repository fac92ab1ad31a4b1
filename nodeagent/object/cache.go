package object

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// syncTimeout is how long a read waits for the first answer of a new watch.
const syncTimeout = 10 * time.Second

// Options are the optional parts of a Cache.
type Options struct {
	// OnChange is called after an object that a registered pod refers to has
	// appeared, changed or gone. It must return at once and may call the
	// cache. kind is ConfigMap or Secret.
	OnChange func(kind, namespace, name string)
}

// Cache is a Source over the API with one watch per object that a registered
// pod refers to. Reads of other objects go to the API.
type Cache struct {
	client   kubernetes.Interface
	onChange func(kind, namespace, name string)
	ctx      context.Context // ends all watches
	cancel   context.CancelFunc

	mu    sync.Mutex
	pods  map[types.UID]registered
	items map[key]*item
}

type key struct{ kind, namespace, name string }

type registered struct {
	namespace string
	refs      map[Reference]struct{}
}

// item is one watched object and the pods that refer to it.
type item struct {
	*watched
	pods map[types.UID]struct{}
	stop context.CancelFunc
}

// New returns an empty cache. Close ends its watches.
func New(client kubernetes.Interface, opts Options) *Cache {
	if opts.OnChange == nil {
		opts.OnChange = func(string, string, string) {}
	}
	c := &Cache{
		client:   client,
		onChange: opts.OnChange,
		pods:     map[types.UID]registered{},
		items:    map[key]*item{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends all watches. Reads fail afterwards.
func (c *Cache) Close() { c.cancel() }

// Register starts watching what the pod refers to. Registering a pod again
// replaces its references, so it is right to call it for every update.
func (c *Cache) Register(pod *v1.Pod) {
	refs := References(pod)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.pods[pod.UID]
	c.pods[pod.UID] = registered{namespace: pod.Namespace, refs: refs}
	for ref := range refs {
		k := key{ref.Kind, pod.Namespace, ref.Name}
		it, ok := c.items[k]
		if !ok {
			it = c.watchLocked(k)
		}
		it.pods[pod.UID] = struct{}{}
	}
	for ref := range old.refs {
		if _, ok := refs[ref]; !ok {
			c.releaseLocked(key{ref.Kind, old.namespace, ref.Name}, pod.UID)
		}
	}
}

// Unregister ends the watches that only this pod needed.
func (c *Cache) Unregister(pod *v1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.pods[pod.UID]
	delete(c.pods, pod.UID)
	for ref := range old.refs {
		c.releaseLocked(key{ref.Kind, old.namespace, ref.Name}, pod.UID)
	}
}

// Referrers returns the registered pods that refer to an object.
func (c *Cache) Referrers(kind, namespace, name string) []types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	it, ok := c.items[key{kind, namespace, name}]
	if !ok {
		return nil
	}
	uids := make([]types.UID, 0, len(it.pods))
	for uid := range it.pods {
		uids = append(uids, uid)
	}
	return uids
}

// ConfigMap implements Source.
func (c *Cache) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	obj, err := c.get(ctx, key{ConfigMap, namespace, name})
	if err != nil {
		return nil, err
	}
	cm, ok := obj.(*v1.ConfigMap)
	if !ok {
		return nil, notFound(ConfigMap, name)
	}
	return cm, nil
}

// Secret implements Source.
func (c *Cache) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	obj, err := c.get(ctx, key{Secret, namespace, name})
	if err != nil {
		return nil, err
	}
	s, ok := obj.(*v1.Secret)
	if !ok {
		return nil, notFound(Secret, name)
	}
	return s, nil
}

// get reads an object from its watch. Where there is no watch, or it has no
// answer yet, it reads from the API: that is one quorum read, while the first
// answer of a watch may take a tenth of a second, which a starting pod would
// have to wait.
func (c *Cache) get(ctx context.Context, k key) (metav1.Object, error) {
	c.mu.Lock()
	it, watching := c.items[k]
	c.mu.Unlock()
	if watching {
		select {
		case <-it.synced:
			return it.answer(k)
		default:
		}
	}
	obj, err := c.read(ctx, k)
	if err == nil {
		return obj, nil
	}
	if apierrors.IsNotFound(err) {
		return nil, notFound(k.kind, k.name)
	}
	if !watching {
		return nil, fmt.Errorf("%s %s/%s could not be read: %w", lower(k.kind), k.namespace, k.name, err)
	}
	// The watch tries again and again, so it may get through where this one
	// attempt did not: while the API restarts, or when the authorizer has not
	// heard of a new pod yet.
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	select {
	case <-it.synced:
		return it.answer(k)
	case <-c.ctx.Done():
		return nil, errors.New("the object cache is closed")
	case <-ctx.Done():
		if last := it.lastError(); last != nil {
			err = last
		}
		return nil, fmt.Errorf("%s %s/%s could not be read: %w", lower(k.kind), k.namespace, k.name, err)
	}
}

// read asks the API.
func (c *Cache) read(ctx context.Context, k key) (metav1.Object, error) {
	if k.kind == Secret {
		return c.client.CoreV1().Secrets(k.namespace).Get(ctx, k.name, metav1.GetOptions{})
	}
	return c.client.CoreV1().ConfigMaps(k.namespace).Get(ctx, k.name, metav1.GetOptions{})
}

func (c *Cache) watchLocked(k key) *item {
	ctx, cancel := context.WithCancel(c.ctx)
	it := &item{
		watched: newWatched(c.client, k, func() { c.onChange(k.kind, k.namespace, k.name) }, cancel),
		pods:    map[types.UID]struct{}{},
		stop:    cancel,
	}
	c.items[k] = it
	go it.run(ctx)
	return it
}

func (c *Cache) releaseLocked(k key, uid types.UID) {
	it, ok := c.items[k]
	if !ok {
		return
	}
	delete(it.pods, uid)
	if len(it.pods) == 0 {
		it.stop()
		delete(c.items, k)
	}
}

func lower(kind string) string {
	if kind == Secret {
		return "secret"
	}
	return "configmap"
}

// notFound has the singular in its text, as the upstream kubelet does.
func notFound(kind, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: lower(kind)}, name)
}
