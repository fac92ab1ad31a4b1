package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

// This file decides who owns the claims of a StatefulSet, and with that when
// the garbage collector deletes them (KEP-1847):
//
//	whenScaled  whenDeleted  owner
//	Retain      Retain       nobody
//	Retain      Delete       the set
//	Delete      Retain       the pod, once it is scaled away
//	Delete      Delete       the set; the pod, once it is scaled away

var podKind = corev1.SchemeGroupVersion.WithKind("Pod")

// claimPolicy says for which events claims are deleted.
func claimPolicy(set *appsv1.StatefulSet) (scaled, deleted bool) {
	p := set.Spec.PersistentVolumeClaimRetentionPolicy
	if p == nil {
		return false, false
	}
	return p.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
		p.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

// claimOwners says which of set and pod should own the pod's claims.
func claimOwners(set *appsv1.StatefulSet, pod *corev1.Pod) (bySet, byPod bool) {
	scaled, deleted := claimPolicy(set)
	byPod = scaled && !inOrdinals(pod, set)
	return deleted && !byPod, byPod
}

// refMatches reports whether the reference names the object, of whatever UID.
func refMatches(ref *metav1.OwnerReference, obj metav1.Object, kind schema.GroupVersionKind) bool {
	return ref.APIVersion == kind.GroupVersion().String() && ref.Kind == kind.Kind && ref.Name == obj.GetName()
}

// staleOwner reports whether an object of the same name but another UID owns the claim.
func staleOwner(claim *corev1.PersistentVolumeClaim, obj metav1.Object, kind schema.GroupVersionKind) bool {
	for i := range claim.OwnerReferences {
		if ref := &claim.OwnerReferences[i]; refMatches(ref, obj, kind) {
			return ref.UID != obj.GetUID()
		}
	}
	return false
}

func ownedByUID(claim *corev1.PersistentVolumeClaim, obj metav1.Object) bool {
	for i := range claim.OwnerReferences {
		if claim.OwnerReferences[i].UID == obj.GetUID() {
			return true
		}
	}
	return false
}

// foreignController reports whether somebody else controls a claim that the
// policy wants to be deleted.
func foreignController(claim *corev1.PersistentVolumeClaim, set *appsv1.StatefulSet, pod *corev1.Pod) bool {
	if scaled, deleted := claimPolicy(set); !scaled && !deleted {
		return false
	}
	for i := range claim.OwnerReferences {
		ref := &claim.OwnerReferences[i]
		switch {
		case refMatches(ref, set, statefulSetKind):
			if ref.UID != set.UID {
				return true
			}
		case refMatches(ref, pod, podKind):
			if ref.UID != pod.UID {
				return true
			}
		case ptr.Deref(ref.Controller, false):
			return true
		}
	}
	return false
}

// claimOwnersMatch reports whether the claim's owners are what they should be.
// Claims with owners of another life are left alone and count as matching.
func claimOwnersMatch(claim *corev1.PersistentVolumeClaim, set *appsv1.StatefulSet, pod *corev1.Pod) bool {
	if staleOwner(claim, set, statefulSetKind) || staleOwner(claim, pod, podKind) {
		return true
	}
	hasSet, hasPod := ownedByUID(claim, set), ownedByUID(claim, pod)
	if foreignController(claim, set, pod) {
		return !hasSet && !hasPod
	}
	for i := range claim.OwnerReferences {
		ref := &claim.OwnerReferences[i]
		if (ref.UID == set.UID || ref.UID == pod.UID) && !ptr.Deref(ref.Controller, false) {
			return false
		}
	}
	bySet, byPod := claimOwners(set, pod)
	return hasSet == bySet && hasPod == byPod
}

// setClaimOwners makes the claim's owners what they should be.
func setClaimOwners(claim *corev1.PersistentVolumeClaim, set *appsv1.StatefulSet, pod *corev1.Pod) {
	foreign := foreignController(claim, set, pod)
	var refs []metav1.OwnerReference
	for i := range claim.OwnerReferences {
		if ref := &claim.OwnerReferences[i]; !refMatches(ref, set, statefulSetKind) && !refMatches(ref, pod, podKind) {
			refs = append(refs, *ref)
		}
	}
	bySet, byPod := claimOwners(set, pod)
	if !foreign && byPod {
		refs = append(refs, *metav1.NewControllerRef(pod, podKind))
	}
	if !foreign && bySet {
		refs = append(refs, *metav1.NewControllerRef(set, statefulSetKind))
	}
	claim.OwnerReferences = refs
}
