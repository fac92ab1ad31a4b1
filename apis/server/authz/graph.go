package authz

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// object names something a node may be related to.
type object struct{ resource, namespace, name string }

// Graph knows which objects which node needs: what the pods bound to it refer to,
// and through their claims, volumes and the volumes' secrets. Every pod's
// references are counted per object and node, so that a question is two map
// look-ups and a pod's end undoes exactly what it added.
type Graph struct {
	mu sync.RWMutex
	// changed is closed, and replaced, when a pod is recorded.
	changed chan struct{}
	// pods are each known pod's node and references.
	pods map[object]podRefs
	// needs counts, for each object, the pods on each node that refer to it.
	needs map[object]map[string]int
	// volumes are the PersistentVolumes by name.
	volumes       map[string]volumeRefs
	volumeSecrets map[object]map[string]struct{} // secret → volumes
	attachments   map[string]string              // name → node
}

type podRefs struct {
	node string
	refs []object
}

type volumeRefs struct {
	claim   object
	secrets []object
}

// NewGraph returns an empty graph.
func NewGraph() *Graph {
	return &Graph{
		changed: make(chan struct{}),
		pods:    map[object]podRefs{}, needs: map[object]map[string]int{},
		volumes: map[string]volumeRefs{}, volumeSecrets: map[object]map[string]struct{}{},
		attachments: map[string]string{},
	}
}

// Related says whether the node needs the object.
func (g *Graph) Related(node, resource, namespace, name string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	o := object{resource, namespace, name}
	if g.needs[o][node] > 0 {
		return true
	}
	switch resource {
	case "persistentvolumes":
		return g.needs[g.volumes[name].claim][node] > 0
	case "secrets":
		for v := range g.volumeSecrets[o] {
			if g.needs[g.volumes[v].claim][node] > 0 {
				return true
			}
		}
	case "volumeattachments":
		return g.attachments[name] == node
	}
	return false
}

// Await is Related, but gives the graph until ctx ends to hear of a pod: a node
// may see its new pod a moment before this server's own informer does, and a
// refusal would cost the pod's start a retry.
func (g *Graph) Await(ctx context.Context, node, resource, namespace, name string) bool {
	for {
		g.mu.RLock()
		changed := g.changed
		g.mu.RUnlock()
		if g.Related(node, resource, namespace, name) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// SetPod records a pod bound to a node.
func (g *Graph) SetPod(pod *corev1.Pod) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := object{"pods", pod.Namespace, pod.Name}
	g.removePod(key)
	if pod.Spec.NodeName == "" {
		return
	}
	p := podRefs{node: pod.Spec.NodeName, refs: podReferences(pod)}
	g.pods[key] = p
	for _, r := range p.refs {
		if g.needs[r] == nil {
			g.needs[r] = map[string]int{}
		}
		g.needs[r][p.node]++
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// DeletePod forgets a pod.
func (g *Graph) DeletePod(namespace, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.removePod(object{"pods", namespace, name})
}

func (g *Graph) removePod(key object) {
	p, ok := g.pods[key]
	if !ok {
		return
	}
	delete(g.pods, key)
	for _, r := range p.refs {
		if g.needs[r][p.node]--; g.needs[r][p.node] <= 0 {
			delete(g.needs[r], p.node)
		}
		if len(g.needs[r]) == 0 {
			delete(g.needs, r)
		}
	}
}

// SetVolume records a PersistentVolume bound to a claim.
func (g *Graph) SetVolume(pv *corev1.PersistentVolume) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.removeVolume(pv.Name)
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return
	}
	v := volumeRefs{claim: object{"persistentvolumeclaims", ref.Namespace, ref.Name}, secrets: volumeSecrets(pv)}
	g.volumes[pv.Name] = v
	for _, s := range v.secrets {
		add(g.volumeSecrets, s, pv.Name)
	}
}

// DeleteVolume forgets a PersistentVolume.
func (g *Graph) DeleteVolume(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.removeVolume(name)
}

func (g *Graph) removeVolume(name string) {
	v, ok := g.volumes[name]
	if !ok {
		return
	}
	delete(g.volumes, name)
	for _, s := range v.secrets {
		remove(g.volumeSecrets, s, name)
	}
}

// SetAttachment records a VolumeAttachment's node; an empty node forgets it.
func (g *Graph) SetAttachment(name, node string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if node == "" {
		delete(g.attachments, name)
		return
	}
	g.attachments[name] = node
}

func add(m map[object]map[string]struct{}, k object, v string) {
	if m[k] == nil {
		m[k] = map[string]struct{}{}
	}
	m[k][v] = struct{}{}
}

func remove(m map[object]map[string]struct{}, k object, v string) {
	if delete(m[k], v); len(m[k]) == 0 {
		delete(m, k)
	}
}

// follow keeps the graph up to date from informers.
func (g *Graph) follow(f informers.SharedInformerFactory, volumes bool) ([]cache.InformerSynced, error) {
	var synced []cache.InformerSynced
	watch := func(what string, i cache.SharedIndexInformer, set func(old, obj any), unset func(obj any)) error {
		r, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { set(nil, o) },
			UpdateFunc: set,
			DeleteFunc: func(o any) {
				if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = t.Obj
				}
				unset(o)
			},
		})
		if err != nil {
			return fmt.Errorf("authz: watch %s: %w", what, err)
		}
		synced = append(synced, r.HasSynced)
		return nil
	}
	err := watch("pods", f.Core().V1().Pods().Informer(), func(old, o any) {
		pod, ok := o.(*corev1.Pod)
		if !ok || pod.Spec.NodeName == "" {
			return
		}
		// A bound pod's references change only with its ephemeral containers and claim statuses.
		if was, ok := old.(*corev1.Pod); ok && was.UID == pod.UID && was.Spec.NodeName == pod.Spec.NodeName &&
			len(was.Spec.EphemeralContainers) == len(pod.Spec.EphemeralContainers) &&
			sameClaims(was, pod) {
			return
		}
		g.SetPod(pod)
	}, func(o any) {
		if pod, ok := o.(*corev1.Pod); ok {
			g.DeletePod(pod.Namespace, pod.Name)
		}
	})
	if err != nil || !volumes {
		return synced, err
	}
	err = watch("persistent volumes", f.Core().V1().PersistentVolumes().Informer(), func(_, o any) {
		if pv, ok := o.(*corev1.PersistentVolume); ok {
			g.SetVolume(pv)
		}
	}, func(o any) {
		if pv, ok := o.(*corev1.PersistentVolume); ok {
			g.DeleteVolume(pv.Name)
		}
	})
	if err != nil {
		return synced, err
	}
	err = watch("volume attachments", f.Storage().V1().VolumeAttachments().Informer(), func(_, o any) {
		if a, ok := o.(*storagev1.VolumeAttachment); ok {
			g.SetAttachment(a.Name, a.Spec.NodeName)
		}
	}, func(o any) {
		if a, ok := o.(*storagev1.VolumeAttachment); ok {
			g.SetAttachment(a.Name, "")
		}
	})
	return synced, err
}
