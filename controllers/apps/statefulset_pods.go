package apps

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control"
)

// record notes on the set what was done with a pod; verb begins with a capital.
func (r *StatefulSet) record(verb string, set *appsv1.StatefulSet, pod *corev1.Pod, err error) {
	if err == nil {
		r.Recorder.Eventf(set, corev1.EventTypeNormal, "Successful"+verb, "%s Pod %s in StatefulSet %s successful", verb, pod.Name, set.Name)
		return
	}
	r.Recorder.Eventf(set, corev1.EventTypeWarning, "Failed"+verb, "%s Pod %s in StatefulSet %s failed error: %s", verb, pod.Name, set.Name, err)
}

func (r *StatefulSet) recordClaim(set *appsv1.StatefulSet, pod *corev1.Pod, claim string, err error) {
	if err == nil {
		r.Recorder.Eventf(set, corev1.EventTypeNormal, "SuccessfulCreate", "Create Claim %s Pod %s in StatefulSet %s success", claim, pod.Name, set.Name)
		return
	}
	r.Recorder.Eventf(set, corev1.EventTypeWarning, "FailedCreate", "Create Claim %s for Pod %s in StatefulSet %s failed error: %s", claim, pod.Name, set.Name, err)
}

// createPod creates a pod, its claims first.
func (r *StatefulSet) createPod(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	if err := r.createClaims(ctx, set, pod); err != nil {
		r.record("Create", set, pod, err)
		return err
	}
	key := control.Key(set)
	r.Expectations.ExpectCreations(key, 1)
	// The pod of the plan stays as it is: it counts when the cache shows it.
	err := r.Client.Create(ctx, pod.DeepCopy())
	if err != nil {
		r.Expectations.CreationObserved(key)
	}
	if apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := r.fixClaims(ctx, set, pod); err != nil {
		r.record("Update", set, pod, err)
		return err
	}
	r.record("Create", set, pod, err)
	return err
}

// deletePod deletes a pod; one that is gone already is as good.
func (r *StatefulSet) deletePod(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	key := control.Key(set)
	r.Expectations.ExpectDeletions(key, pod.UID)
	err := r.Client.Delete(ctx, &corev1.Pod{ObjectMeta: pod.ObjectMeta})
	if err != nil {
		r.Expectations.DeletionObserved(key, pod.UID)
	}
	err = client.IgnoreNotFound(err)
	r.record("Delete", set, pod, err)
	return err
}

// repairPod brings a pod's identity and volumes, and its claims' owners, back
// to what the set says.
func (r *StatefulSet) repairPod(ctx context.Context, set *appsv1.StatefulSet, cached *corev1.Pod) error {
	pod := cached.DeepCopy()
	attempted := false
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		consistent := true
		if !identityMatches(set, pod) {
			setIdentity(set, pod)
			consistent = false
		}
		if !storageMatches(set, pod) {
			setStorage(set, pod)
			consistent = false
			if err := r.createClaims(ctx, set, pod); err != nil {
				r.record("Update", set, pod, err)
				return err
			}
		}
		match, err := r.claimsMatch(ctx, set, pod)
		if err == nil && !match {
			consistent = false
			err = r.fixClaims(ctx, set, pod)
		}
		if err != nil {
			r.record("Update", set, pod, err)
			return err
		}
		if consistent {
			return nil
		}
		attempted = true
		err = r.Client.Update(ctx, pod)
		if apierrors.IsConflict(err) {
			var fresh corev1.Pod
			if err := r.Live.Get(ctx, client.ObjectKeyFromObject(pod), &fresh); err != nil {
				return err
			}
			pod = &fresh
		}
		return err
	})
	if attempted {
		r.record("Update", set, pod, err)
	}
	return err
}

// createClaims creates those of the pod's claims that do not exist.
func (r *StatefulSet) createClaims(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	var errs []error
	for _, claim := range podClaims(set, pod) {
		var existing corev1.PersistentVolumeClaim
		err := r.Client.Get(ctx, client.ObjectKeyFromObject(claim), &existing)
		switch {
		case apierrors.IsNotFound(err):
			name := claim.Name
			err := r.Client.Create(ctx, claim)
			if err != nil {
				errs = append(errs, fmt.Errorf("failed to create PVC %s: %w", name, err))
			}
			if !apierrors.IsAlreadyExists(err) {
				r.recordClaim(set, pod, name, err)
			}
		case err != nil:
			errs = append(errs, fmt.Errorf("failed to retrieve PVC %s: %w", claim.Name, err))
			r.recordClaim(set, pod, claim.Name, err)
		case existing.DeletionTimestamp != nil:
			errs = append(errs, fmt.Errorf("pvc %s is being deleted", claim.Name))
		}
	}
	return errors.Join(errs...)
}

// eachClaim calls fn with those of the pod's claims that exist.
func (r *StatefulSet) eachClaim(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod, fn func(*corev1.PersistentVolumeClaim) error) error {
	for i := range set.Spec.VolumeClaimTemplates {
		name := claimName(set, &set.Spec.VolumeClaimTemplates[i], ordinalOf(pod))
		var claim corev1.PersistentVolumeClaim
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: set.Namespace, Name: name}, &claim)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("could not retrieve claim %s for %s when checking PVC deletion policy: %w", name, pod.Name, err)
		}
		if err := fn(&claim); err != nil {
			return err
		}
	}
	return nil
}

// claimsMatch reports whether the owners of the pod's claims follow the policy.
func (r *StatefulSet) claimsMatch(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) (bool, error) {
	match := true
	err := r.eachClaim(ctx, set, pod, func(claim *corev1.PersistentVolumeClaim) error {
		match = match && claimOwnersMatch(claim, set, pod)
		return nil
	})
	return match, err
}

// fixClaims makes the owners of the pod's claims follow the policy.
func (r *StatefulSet) fixClaims(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	return r.eachClaim(ctx, set, pod, func(claim *corev1.PersistentVolumeClaim) error {
		if foreignController(claim, set, pod) {
			r.Recorder.Eventf(set, corev1.EventTypeWarning, "ConflictingController",
				"PersistentVolumeClaim %s has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim", claim.Name)
		}
		if claimOwnersMatch(claim, set, pod) {
			return nil
		}
		next := claim.DeepCopy()
		setClaimOwners(next, set, pod)
		err := r.Client.Update(ctx, next)
		if apierrors.IsConflict(err) {
			// The cache may not have our own last write.
			next = &corev1.PersistentVolumeClaim{}
			if err := r.Live.Get(ctx, client.ObjectKeyFromObject(claim), next); err != nil {
				return client.IgnoreNotFound(err)
			}
			if claimOwnersMatch(next, set, pod) {
				return nil
			}
			setClaimOwners(next, set, pod)
			err = r.Client.Update(ctx, next)
		}
		if err != nil {
			return fmt.Errorf("could not update claim %s for delete policy ownerRefs: %w", claim.Name, err)
		}
		return nil
	})
}

// staleClaim reports whether a claim of a pod yet to be created still belongs
// to its predecessor, with which it is going to be deleted.
func (r *StatefulSet) staleClaim(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) (bool, error) {
	if scaled, _ := claimPolicy(set); !scaled {
		return false, nil
	}
	stale := false
	err := r.eachClaim(ctx, set, pod, func(claim *corev1.PersistentVolumeClaim) error {
		stale = stale || staleOwner(claim, pod, podKind)
		return nil
	})
	return stale, err
}
