package garbagecollector

import (
	"slices"
	"sort"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// Identity names one object. Namespace is empty for cluster-scoped kinds.
type Identity struct {
	APIVersion string
	Kind       string
	Namespace  string
	Name       string
	UID        types.UID
}

// groupKind without the version: an object is the same in all its versions.
func (i Identity) groupKind() schema.GroupKind {
	return schema.FromAPIVersionAndKind(i.APIVersion, i.Kind).GroupKind()
}

// same reports whether two identities name the same object.
func (i Identity) same(o Identity) bool {
	return i.UID == o.UID && i.Name == o.Name && i.Namespace == o.Namespace && i.groupKind() == o.groupKind()
}

// Object is what the graph needs to know of an object.
type Object struct {
	Identity
	Owners     []metav1.OwnerReference
	Deleting   bool
	Finalizers []string
}

func (o *Object) foreground() bool {
	return o.Deleting && slices.Contains(o.Finalizers, metav1.FinalizerDeleteDependents)
}

func (o *Object) orphaning() bool {
	return o.Deleting && slices.Contains(o.Finalizers, metav1.FinalizerOrphanDependents)
}

// node is one object in the graph. A virtual node stands for an owner that
// somebody refers to and that no informer has shown.
type node struct {
	id                 Identity
	owners             []metav1.OwnerReference
	dependents         map[types.UID]*node
	virtual            bool
	deleting           bool
	deletingDependents bool
	orphaning          bool
}

// Graph holds all objects by UID with their dependents. Not safe for
// concurrent use.
type Graph struct {
	nodes map[types.UID]*node
	// clusterScoped tells kinds whose objects have no namespace.
	clusterScoped func(schema.GroupKind) bool
}

// NewGraph returns an empty graph.
func NewGraph(clusterScoped func(schema.GroupKind) bool) *Graph {
	return &Graph{nodes: map[types.UID]*node{}, clusterScoped: clusterScoped}
}

// Work is what an event makes worth looking at, by UID, in a fixed order.
type Work struct {
	// Delete are objects to look at: they may have lost their last owner, or
	// wait for dependents.
	Delete []types.UID
	// Orphan are owners whose dependents are to be released.
	Orphan []types.UID
}

func (w *Work) delete(uids ...types.UID) {
	for _, uid := range uids {
		if !slices.Contains(w.Delete, uid) {
			w.Delete = append(w.Delete, uid)
		}
	}
}

// ownerIdentity is whom a reference of an object names: owners live in the
// object's namespace unless their kind has none.
func (g *Graph) ownerIdentity(of Identity, ref metav1.OwnerReference) Identity {
	id := Identity{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: of.Namespace, Name: ref.Name, UID: ref.UID}
	if g.clusterScoped(id.groupKind()) {
		id.Namespace = ""
	}
	return id
}

// Observe takes an object as an informer shows it, new or changed.
func (g *Graph) Observe(obj Object) Work {
	var work Work
	n := g.nodes[obj.UID]
	if n == nil {
		n = &node{id: obj.Identity, dependents: map[types.UID]*node{}}
		g.nodes[obj.UID] = n
		g.link(n, obj.Owners, &work)
	} else {
		if n.virtual {
			n.virtual = false
			n.id = obj.Identity
			// Those that meant another object by this UID have to find out.
			for _, dep := range sortedNodes(n.dependents) {
				if !g.refersTo(dep, n.id) {
					work.delete(dep.id.UID)
				}
			}
		}
		g.relink(n, obj.Owners, &work)
	}
	n.deleting = n.deleting || obj.Deleting
	if obj.orphaning() && !n.orphaning {
		n.orphaning = true
		work.Orphan = append(work.Orphan, n.id.UID)
	}
	if obj.foreground() && !n.deletingDependents {
		n.deletingDependents = true
		for _, dep := range sortedNodes(n.dependents) {
			work.delete(dep.id.UID)
		}
		work.delete(n.id.UID)
	}
	return work
}

// refersTo reports whether the object has an owner reference to exactly owner.
func (g *Graph) refersTo(n *node, owner Identity) bool {
	for _, ref := range n.owners {
		if ref.UID == owner.UID && g.ownerIdentity(n.id, ref).same(owner) {
			return true
		}
	}
	return false
}

// link sets a node's owners and makes it their dependent.
func (g *Graph) link(n *node, owners []metav1.OwnerReference, work *Work) {
	n.owners = owners
	for _, ref := range owners {
		g.addDependent(n, ref, work)
	}
}

func (g *Graph) addDependent(n *node, ref metav1.OwnerReference, work *Work) {
	id := g.ownerIdentity(n.id, ref)
	owner := g.nodes[ref.UID]
	if owner == nil {
		owner = &node{id: id, virtual: true, dependents: map[types.UID]*node{}}
		g.nodes[ref.UID] = owner
		// Nobody has shown it: ask the API server.
		work.delete(ref.UID)
	} else if !owner.id.same(id) {
		// The reference and the object with its UID disagree.
		work.delete(n.id.UID)
	}
	owner.dependents[n.id.UID] = n
	// A dependent that comes while its owner is being deleted goes too.
	if owner.deletingDependents {
		work.delete(n.id.UID)
	}
}

// relink applies a change of owner references.
func (g *Graph) relink(n *node, owners []metav1.OwnerReference, work *Work) {
	old := map[types.UID]metav1.OwnerReference{}
	for _, ref := range n.owners {
		old[ref.UID] = ref
	}
	n.owners = owners
	for _, ref := range owners {
		before, had := old[ref.UID]
		delete(old, ref.UID)
		if !had {
			g.addDependent(n, ref, work)
			continue
		}
		// It no longer blocks its owner's deletion.
		if ptr.Deref(before.BlockOwnerDeletion, false) && !ptr.Deref(ref.BlockOwnerDeletion, false) {
			g.wake(ref.UID, work)
		}
	}
	removed := make([]types.UID, 0, len(old))
	for uid := range old {
		removed = append(removed, uid)
	}
	slices.Sort(removed)
	for _, uid := range removed {
		if owner := g.nodes[uid]; owner != nil {
			delete(owner.dependents, n.id.UID)
			g.wake(uid, work)
			if owner.virtual && len(owner.dependents) == 0 {
				delete(g.nodes, uid)
			}
		}
	}
}

// wake looks again at an owner that waits for its dependents.
func (g *Graph) wake(uid types.UID, work *Work) {
	if owner := g.nodes[uid]; owner != nil && owner.deletingDependents {
		work.delete(uid)
	}
}

// Remove takes the deletion of an object that an informer showed.
func (g *Graph) Remove(uid types.UID) Work {
	var work Work
	if n := g.nodes[uid]; n != nil {
		g.remove(n, &work)
	}
	return work
}

func (g *Graph) remove(n *node, work *Work) {
	delete(g.nodes, n.id.UID)
	// The dependents find out at their next look that it is gone.
	for _, dep := range sortedNodes(n.dependents) {
		work.delete(dep.id.UID)
	}
	for _, ref := range n.owners {
		owner := g.nodes[ref.UID]
		if owner == nil {
			continue
		}
		delete(owner.dependents, n.id.UID)
		g.wake(ref.UID, work)
		if owner.virtual && len(owner.dependents) == 0 {
			delete(g.nodes, ref.UID)
		}
	}
}

// Absent takes the API server's word that a virtual node's object does not
// exist. Dependents that named exactly that object are looked at; if others
// mean another object by the UID, that one is asked for next.
func (g *Graph) Absent(id Identity) Work {
	var work Work
	n := g.nodes[id.UID]
	if n == nil || !n.virtual || !n.id.same(id) {
		// An observed object's end is told by its informer.
		return work
	}
	var others []*node
	for _, dep := range sortedNodes(n.dependents) {
		if g.refersTo(dep, id) {
			work.delete(dep.id.UID)
		} else {
			others = append(others, dep)
		}
	}
	if len(others) == 0 {
		g.remove(n, &work)
		return work
	}
	for _, ref := range others[0].owners {
		if ref.UID == id.UID {
			n.id = g.ownerIdentity(others[0].id, ref)
		}
	}
	work.delete(id.UID)
	return work
}

// View is what an attempt needs to know of a node; it does not change with the graph.
type View struct {
	Identity           Identity
	Virtual            bool
	Deleting           bool
	DeletingDependents bool
	// Dependents are all of them, but none for a node in foreground deletion.
	Dependents []View
	// Blocked: a dependent holds the node's foreground deletion back. Blocking
	// are those of them that nobody has begun to delete.
	Blocked  bool
	Blocking []View
}

// View returns a node's view, with its dependents one level deep. A node in
// foreground deletion is viewed once per dependent that goes, so it is looked
// at without listing them all.
func (g *Graph) View(uid types.UID) (View, bool) {
	n := g.nodes[uid]
	if n == nil {
		return View{}, false
	}
	v := shallow(n)
	if !n.deletingDependents {
		for _, dep := range sortedNodes(n.dependents) {
			v.Dependents = append(v.Dependents, shallow(dep))
		}
		return v, true
	}
	blocking := map[types.UID]*node{}
	for _, dep := range n.dependents {
		if blocks(dep.owners, uid) {
			v.Blocked = true
			if !dep.deleting && !dep.deletingDependents {
				blocking[dep.id.UID] = dep
			}
		}
	}
	for _, dep := range sortedNodes(blocking) {
		v.Blocking = append(v.Blocking, shallow(dep))
	}
	return v, true
}

// blocks reports whether a reference to the owner holds its deletion back.
func blocks(refs []metav1.OwnerReference, owner types.UID) bool {
	for i := range refs {
		if refs[i].UID == owner && ptr.Deref(refs[i].BlockOwnerDeletion, false) {
			return true
		}
	}
	return false
}

func shallow(n *node) View {
	return View{Identity: n.id, Virtual: n.virtual, Deleting: n.deleting, DeletingDependents: n.deletingDependents}
}

// Exists reports whether an informer shows the object and it is not being
// deleted. False may mean that it has not been shown yet.
func (g *Graph) Exists(id Identity) bool {
	n := g.nodes[id.UID]
	return n != nil && !n.virtual && !n.deleting && n.id.same(id)
}

// OwnerIdentity is whom an owner reference of an object names.
func (g *Graph) OwnerIdentity(of Identity, ref metav1.OwnerReference) Identity {
	return g.ownerIdentity(of, ref)
}

// Len is the number of nodes, virtual ones included.
func (g *Graph) Len() int { return len(g.nodes) }

func sortedNodes(m map[types.UID]*node) []*node {
	out := make([]*node, 0, len(m))
	for _, n := range m {
		out = append(out, n)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id.UID < out[j].id.UID })
	return out
}
