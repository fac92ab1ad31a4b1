package garbagecollector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// script runs lines of a transcript against a graph. Objects are written
// Kind/name, in namespace ns unless the kind is Node; the UID is the name.
//
//	see Kind/name [owner=Kind/name[!]]... [deleting] [foreground] [orphan]
//	gone name
//	absent Kind/name
func script(t *testing.T, input string) string {
	t.Helper()
	g := NewGraph(func(gk schema.GroupKind) bool { return gk.Kind == "Node" })
	id := func(s string) Identity {
		kind, name, _ := strings.Cut(s, "/")
		i := Identity{APIVersion: "v1", Kind: kind, Name: name, Namespace: "ns", UID: types.UID(strings.TrimRight(name, "'"))}
		if kind == "Node" {
			i.Namespace = ""
		}
		return i
	}
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(input), "\n") {
		f := strings.Fields(line)
		var w Work
		switch f[0] {
		case "see":
			o := Object{Identity: id(f[1])}
			for _, x := range f[2:] {
				switch {
				case strings.HasPrefix(x, "owner="):
					ref := strings.TrimPrefix(x, "owner=")
					owner := id(strings.TrimSuffix(ref, "!"))
					o.Owners = append(o.Owners, metav1.OwnerReference{
						APIVersion: "v1", Kind: owner.Kind, Name: owner.Name, UID: owner.UID, BlockOwnerDeletion: ptr.To(strings.HasSuffix(ref, "!")),
					})
				case x == "deleting":
					o.Deleting = true
				case x == "foreground":
					o.Finalizers = append(o.Finalizers, metav1.FinalizerDeleteDependents)
				case x == "orphan":
					o.Finalizers = append(o.Finalizers, metav1.FinalizerOrphanDependents)
				default:
					t.Fatalf("unknown word %q", x)
				}
			}
			w = g.Observe(o)
		case "gone":
			w = g.Remove(types.UID(f[1]))
		case "absent":
			w = g.Absent(id(f[1]))
		default:
			t.Fatalf("unknown line %q", line)
		}
		out = append(out, fmt.Sprintf("%s -> delete%v orphan%v nodes=%d", line, w.Delete, w.Orphan, g.Len()))
	}
	return strings.Join(out, "\n")
}

func TestGraph(t *testing.T) {
	for name, want := range map[string]string{
		"owner first, then gone": `
see RS/a -> delete[] orphan[] nodes=1
see Pod/p owner=RS/a! -> delete[] orphan[] nodes=2
see Pod/q owner=RS/a! -> delete[] orphan[] nodes=3
gone a -> delete[p q] orphan[] nodes=2
gone p -> delete[] orphan[] nodes=1
gone q -> delete[] orphan[] nodes=0`,
		"dependent first, owner shown later": `
see Pod/p owner=RS/a -> delete[a] orphan[] nodes=2
see RS/a -> delete[] orphan[] nodes=2
gone a -> delete[p] orphan[] nodes=1`,
		"dependent first, owner does not exist": `
see Pod/p owner=RS/a -> delete[a] orphan[] nodes=2
absent RS/a -> delete[p] orphan[] nodes=1`,
		"an observed owner's absence is left to its informer": `
see RS/a -> delete[] orphan[] nodes=1
see Pod/p owner=RS/a -> delete[] orphan[] nodes=2
absent RS/a -> delete[] orphan[] nodes=2`,
		"two names for one UID": `
see Pod/p owner=RS/a -> delete[a] orphan[] nodes=2
see Pod/q owner=RS/a' -> delete[q] orphan[] nodes=3
absent RS/a -> delete[p a] orphan[] nodes=3
absent RS/a' -> delete[q a] orphan[] nodes=3
gone p -> delete[] orphan[] nodes=2
absent RS/a -> delete[a] orphan[] nodes=2
absent RS/a' -> delete[q] orphan[] nodes=1`,
		"the object turns out to have another name": `
see Pod/p owner=RS/a' -> delete[a] orphan[] nodes=2
see RS/a -> delete[p] orphan[] nodes=2`,
		"cluster-scoped owners are the same from every namespace": `
see Pod/p owner=Node/n -> delete[n] orphan[] nodes=2
see Lease/l owner=Node/n -> delete[] orphan[] nodes=3
see Node/n -> delete[] orphan[] nodes=3
gone n -> delete[l p] orphan[] nodes=2`,
		"foreground": `
see RS/a -> delete[] orphan[] nodes=1
see Pod/p owner=RS/a! -> delete[] orphan[] nodes=2
see Pod/q owner=RS/a -> delete[] orphan[] nodes=3
see RS/a deleting foreground -> delete[p q a] orphan[] nodes=3
see Pod/late owner=RS/a! -> delete[late] orphan[] nodes=4
see Pod/late owner=RS/a -> delete[a] orphan[] nodes=4
gone p -> delete[a] orphan[] nodes=3
see Pod/q -> delete[a] orphan[] nodes=3`,
		"orphan": `
see RS/a -> delete[] orphan[] nodes=1
see Pod/p owner=RS/a -> delete[] orphan[] nodes=2
see RS/a deleting orphan -> delete[] orphan[a] nodes=2
see RS/a deleting orphan -> delete[] orphan[] nodes=2
see Pod/p -> delete[] orphan[] nodes=2
gone a -> delete[] orphan[] nodes=1`,
		"a reference is dropped from a virtual owner": `
see Pod/p owner=RS/a owner=RS/b -> delete[a b] orphan[] nodes=3
see Pod/p owner=RS/b -> delete[] orphan[] nodes=2`,
	} {
		t.Run(name, func(t *testing.T) {
			want = strings.TrimSpace(want)
			var input []string
			for _, line := range strings.Split(want, "\n") {
				in, _, _ := strings.Cut(line, " -> ")
				input = append(input, in)
			}
			if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(script(t, strings.Join(input, "\n")), "\n")); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	ref := func(uid string) metav1.OwnerReference {
		return metav1.OwnerReference{UID: types.UID(uid), BlockOwnerDeletion: ptr.To(true)}
	}
	object := func(finalizer string, owners ...string) *metav1.PartialObjectMetadata {
		m := &metav1.PartialObjectMetadata{}
		if finalizer != "" {
			m.Finalizers = []string{finalizer}
		}
		for _, o := range owners {
			m.OwnerReferences = append(m.OwnerReferences, ref(o))
		}
		return m
	}
	child := View{Identity: Identity{UID: "child"}}
	waitingChild := View{Identity: Identity{UID: "waiting"}, DeletingDependents: true}
	for name, tc := range map[string]struct {
		view   View
		latest *metav1.PartialObjectMetadata
		states map[types.UID]ownerState
		want   action
	}{
		"no owners":          {View{}, object(""), nil, action{}},
		"solid owner":        {View{}, object("", "a"), map[types.UID]ownerState{"a": ownerSolid}, action{}},
		"owner gone":         {View{}, object("", "a"), map[types.UID]ownerState{"a": ownerDangling}, action{deleteWith: metav1.DeletePropagationBackground}},
		"owner gone, orphan": {View{}, object(metav1.FinalizerOrphanDependents, "a"), map[types.UID]ownerState{"a": ownerDangling}, action{deleteWith: metav1.DeletePropagationOrphan}},
		"owner gone, foreground": {View{}, object(metav1.FinalizerDeleteDependents, "a"), map[types.UID]ownerState{"a": ownerDangling},
			action{deleteWith: metav1.DeletePropagationForeground}},
		"one gone, one solid": {View{}, object("", "a", "b"), map[types.UID]ownerState{"a": ownerDangling, "b": ownerSolid}, action{dropOwners: []types.UID{"a"}}},
		"owner waits, leaf":   {View{}, object("", "a"), map[types.UID]ownerState{"a": ownerWaiting}, action{deleteWith: metav1.DeletePropagationBackground}},
		"owner waits, dependents": {View{Dependents: []View{child}}, object("", "a"), map[types.UID]ownerState{"a": ownerWaiting},
			action{deleteWith: metav1.DeletePropagationForeground}},
		"owner waits, circle": {View{Dependents: []View{waitingChild}}, object("", "a"), map[types.UID]ownerState{"a": ownerWaiting},
			action{deleteWith: metav1.DeletePropagationForeground, unblock: true}},
		"foreground, blocked":                   {View{DeletingDependents: true, Blocked: true, Blocking: []View{child}}, object(""), nil, action{look: []types.UID{"child"}}},
		"foreground, blockers on their way out": {View{DeletingDependents: true, Blocked: true}, object(""), nil, action{}},
		"foreground, free":                      {View{DeletingDependents: true, Dependents: []View{child}}, object(""), nil, action{removeFinalizer: metav1.FinalizerDeleteDependents}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, decide(tc.view, tc.latest, tc.states), cmp.AllowUnexported(action{})); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}
