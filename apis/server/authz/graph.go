package authz

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
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
	// owned are the objects that name their node themselves: volume attachments,
	// resource slices and pod certificate requests.
	owned map[object]string
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
		owned: map[object]string{},
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
	}
	return node != "" && g.owned[o] == node
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

// SetOwned records the node that an object names as its own; an empty node
// forgets the object.
func (g *Graph) SetOwned(resource, namespace, name, node string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := object{resource, namespace, name}
	if node == "" {
		delete(g.owned, o)
		return
	}
	g.owned[o] = node
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
