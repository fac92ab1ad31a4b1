package garbagecollector

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// ownerState is what the API server says of an object's owner.
type ownerState int

const (
	// ownerSolid exists.
	ownerSolid ownerState = iota
	// ownerDangling does not exist.
	ownerDangling
	// ownerWaiting exists and waits for its dependents to be deleted.
	ownerWaiting
)

// action is what to do with one object.
type action struct {
	// dropOwners are references to remove; the object stays.
	dropOwners []types.UID
	// unblock sets blockOwnerDeletion to false in all references first.
	unblock bool
	// removeFinalizer is taken off the object.
	removeFinalizer string
	// deleteWith is the propagation policy to delete the object with; empty: do not.
	deleteWith metav1.DeletionPropagation
	// look are objects to look at next.
	look []types.UID
}

// decide says what becomes of the object whose present metadata is latest.
// states are those of latest's owners by UID.
func decide(v View, latest *metav1.PartialObjectMetadata, states map[types.UID]ownerState) action {
	if v.DeletingDependents {
		return foregroundStep(v)
	}
	var drop []types.UID
	solid, waiting := 0, 0
	for _, ref := range latest.OwnerReferences {
		switch states[ref.UID] {
		case ownerSolid:
			solid++
		case ownerWaiting:
			waiting++
			drop = append(drop, ref.UID)
		case ownerDangling:
			drop = append(drop, ref.UID)
		}
	}
	switch {
	case len(latest.OwnerReferences) == 0:
		return action{}
	case solid > 0:
		// Someone still wants it; only the others' references go.
		return action{dropOwners: drop}
	case waiting > 0 && len(v.Dependents) > 0:
		// The owner waits for this object, and this object has dependents of
		// its own: they go first. A dependent that waits itself may be part of
		// a circle; then nothing may block anything.
		unblock := slices.ContainsFunc(v.Dependents, func(d View) bool { return d.DeletingDependents })
		return action{deleteWith: metav1.DeletePropagationForeground, unblock: unblock && blocksAny(latest)}
	}
	policy := metav1.DeletePropagationBackground
	switch {
	case slices.Contains(latest.Finalizers, metav1.FinalizerOrphanDependents):
		policy = metav1.DeletePropagationOrphan
	case slices.Contains(latest.Finalizers, metav1.FinalizerDeleteDependents):
		policy = metav1.DeletePropagationForeground
	}
	return action{deleteWith: policy}
}

// foregroundStep lets an owner in foreground deletion go when nothing blocks
// it, and otherwise looks at what does.
func foregroundStep(v View) action {
	if !v.Blocked {
		return action{removeFinalizer: metav1.FinalizerDeleteDependents}
	}
	var look []types.UID
	for _, d := range v.Blocking {
		look = append(look, d.Identity.UID)
	}
	return action{look: look}
}

func blocksAny(m *metav1.PartialObjectMetadata) bool {
	return slices.ContainsFunc(m.OwnerReferences, func(r metav1.OwnerReference) bool { return ptr.Deref(r.BlockOwnerDeletion, false) })
}

// withoutOwners returns the references without those to the UIDs.
func withoutOwners(refs []metav1.OwnerReference, uids []types.UID) []metav1.OwnerReference {
	out := []metav1.OwnerReference{}
	for _, r := range refs {
		if !slices.Contains(uids, r.UID) {
			out = append(out, r)
		}
	}
	return out
}

// unblocked returns the references with blockOwnerDeletion false.
func unblocked(refs []metav1.OwnerReference) []metav1.OwnerReference {
	out := make([]metav1.OwnerReference, len(refs))
	for i, r := range refs {
		r.BlockOwnerDeletion = ptr.To(false)
		out[i] = r
	}
	return out
}
