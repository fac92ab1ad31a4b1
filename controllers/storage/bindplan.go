package storage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// note is an event.
type note struct{ kind, reason, message string }

// claimView is what a claim's plan depends on.
type claimView struct {
	// volumes are all there are, but for those just given to other claims.
	volumes []*corev1.PersistentVolume
	// named is the volume that the claim names; nil if there is none.
	named *corev1.PersistentVolume
	// class is the claim's; nil if there is none of that name.
	class *storagev1.StorageClass
	// defaultClass is for claims without a class; "" if there is none.
	defaultClass string
	// waiting are the pods that name the claim and have no node yet.
	waiting []string
}

// claimPlan is what to do with a claim; the zero value is nothing.
type claimPlan struct {
	// bind is the volume to bind the claim to, or to finish binding it to.
	bind *corev1.PersistentVolume
	// fresh is set if the claim is given a volume that it did not have.
	fresh bool
	// class is to be set as the claim's.
	class string
	// provisioner is to be asked for a volume.
	provisioner string
	// phase to set; "" leaves it.
	phase corev1.PersistentVolumeClaimPhase
	// event to record; with the phase Lost, only when the phase changes.
	event *note
}

// planClaim decides about one claim, as upstream's PersistentVolume controller does.
func planClaim(claim *corev1.PersistentVolumeClaim, v claimView) (claimPlan, error) {
	_, bound := claim.Annotations[volumehelpers.AnnBindCompleted]
	switch {
	case bound:
		return planBoundClaim(claim, v), nil
	case claim.Spec.VolumeName != "":
		return planNamingClaim(claim, v)
	}
	delayed := false
	if v.class != nil {
		if v.class.VolumeBindingMode == nil {
			return claimPlan{}, fmt.Errorf("VolumeBindingMode not set for StorageClass %q", v.class.Name)
		}
		delayed = *v.class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	}
	volume, err := bestVolume(claim, v.volumes, delayed)
	if err != nil {
		return claimPlan{}, fmt.Errorf("error finding PV for claim %q: %w", claim.Namespace+"/"+claim.Name, err)
	}
	if volume != nil {
		return claimPlan{bind: volume, fresh: true}, nil
	}
	if v.defaultClass != "" && !volumehelpers.PersistentVolumeClaimHasClass(claim) {
		return claimPlan{class: v.defaultClass}, nil
	}
	class := volumehelpers.GetPersistentVolumeClaimClass(claim)
	switch {
	case delayed && !volumehelpers.IsDelayBindingProvisioning(claim):
		return claimPlan{phase: corev1.ClaimPending, event: waits(v.waiting)}, nil
	case class == "":
		return claimPlan{phase: corev1.ClaimPending, event: &note{corev1.EventTypeNormal, "FailedBinding",
			"no persistent volumes available for this claim and no storage class is set"}}, nil
	case v.class == nil:
		return claimPlan{event: &note{corev1.EventTypeWarning, "ProvisioningFailed", fmt.Sprintf("storageclass.storage.k8s.io %q not found", class)}}, nil
	case strings.HasPrefix(v.class.Provisioner, "kubernetes.io/"):
		// None of those is here.
		return claimPlan{event: &note{corev1.EventTypeWarning, "ProvisioningFailed", "no volume plugin matched name: " + v.class.Provisioner}}, nil
	}
	return claimPlan{provisioner: v.class.Provisioner, event: &note{corev1.EventTypeNormal, "ExternalProvisioning", fmt.Sprintf(
		"Waiting for a volume to be created either by the external provisioner '%s' or manually by the system administrator. "+
			"If volume creation is delayed, please verify that the provisioner is running and correctly registered.", v.class.Provisioner)}}, nil
}

func waits(pods []string) *note {
	n := &note{corev1.EventTypeNormal, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"}
	switch len(pods) {
	case 0:
	case 1:
		n.reason, n.message = "WaitForPodScheduled", fmt.Sprintf("waiting for pod %s to be scheduled", pods[0])
	default:
		n.reason, n.message = "WaitForPodScheduled", fmt.Sprintf("waiting for pods %s to be scheduled", strings.Join(pods, ","))
	}
	return n
}

// planNamingClaim is about a claim that names its volume and is not bound yet.
func planNamingClaim(claim *corev1.PersistentVolumeClaim, v claimView) (claimPlan, error) {
	switch volume := v.named; {
	case volume == nil:
		return claimPlan{phase: corev1.ClaimPending}, nil
	case volume.Spec.ClaimRef == nil:
		if err := satisfies(volume, claim); err != nil {
			return claimPlan{phase: corev1.ClaimPending, event: &note{corev1.EventTypeWarning, "VolumeMismatch",
				fmt.Sprintf("Cannot bind to requested volume %q: %s", volume.Name, err)}}, nil
		}
		return claimPlan{bind: volume, fresh: true}, nil
	case volumehelpers.IsVolumeBoundToClaim(volume, claim):
		return claimPlan{bind: volume}, nil
	}
	taken := &note{corev1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q already bound to a different claim.", v.named.Name)}
	if !metav1.HasAnnotation(claim.ObjectMeta, volumehelpers.AnnBoundByController) {
		return claimPlan{phase: corev1.ClaimPending, event: taken}, nil
	}
	// Somebody took the sign of completion away.
	return claimPlan{event: taken}, nil
}

// planBoundClaim is about a claim that was bound once.
func planBoundClaim(claim *corev1.PersistentVolumeClaim, v claimView) claimPlan {
	lost := func(reason, message string) claimPlan {
		return claimPlan{phase: corev1.ClaimLost, event: &note{corev1.EventTypeWarning, reason, message}}
	}
	switch {
	case claim.Spec.VolumeName == "":
		return lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
	case v.named == nil:
		return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
	case v.named.Spec.ClaimRef != nil && v.named.Spec.ClaimRef.UID != claim.UID:
		return lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
	}
	return claimPlan{bind: v.named}
}

// satisfies says what a volume lacks of what a claim that names it asks for.
func satisfies(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) error {
	asked, has := claim.Spec.Resources.Requests[corev1.ResourceStorage], volume.Spec.Capacity[corev1.ResourceStorage]
	name := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	switch {
	case volume.DeletionTimestamp != nil:
		return fmt.Errorf("the volume is marked for deletion %q", volume.Name)
	case has.Value() < asked.Value():
		return fmt.Errorf("requested PV is too small")
	case volumehelpers.GetPersistentVolumeClass(volume) != volumehelpers.GetPersistentVolumeClaimClass(claim):
		return fmt.Errorf("storageClassName does not match")
	case name(claim.Spec.VolumeAttributesClassName) != name(volume.Spec.VolumeAttributesClassName):
		return fmt.Errorf("volumeAttributesClassName does not match")
	case volumehelpers.CheckVolumeModeMismatches(&claim.Spec, &volume.Spec):
		return fmt.Errorf("incompatible volumeMode")
	case !volumehelpers.CheckAccessModes(claim, volume):
		return fmt.Errorf("incompatible accessMode")
	}
	return nil
}

// bestVolume is the volume meant for the claim, or the smallest that fits, of
// those with the fewest access modes beyond what is asked for; nil if none fits.
func bestVolume(claim *corev1.PersistentVolumeClaim, all []*corev1.PersistentVolume, delayed bool) (*corev1.PersistentVolume, error) {
	groups := map[int][]*corev1.PersistentVolume{}
	var sizes []int
	for _, v := range all {
		if !volumehelpers.CheckAccessModes(claim, v) {
			continue
		}
		n := len(v.Spec.AccessModes)
		if groups[n] == nil {
			sizes = append(sizes, n)
		}
		groups[n] = append(groups[n], v)
	}
	slices.Sort(sizes)
	for _, n := range sizes {
		slices.SortFunc(groups[n], func(a, b *corev1.PersistentVolume) int { return cmp.Compare(a.Name, b.Name) })
		v, err := volumehelpers.FindMatchingVolume(claim, groups[n], nil, nil, delayed, true)
		if v != nil || err != nil {
			return v, err
		}
	}
	return nil, nil
}

// volumePlan is what to do with a volume; the zero value is nothing.
type volumePlan struct {
	phase   corev1.PersistentVolumePhase // "" leaves it
	message string                       // of the phase
	// unbind takes the volume from its claim, before the phase is set.
	unbind bool
	// claim is set if the claim's own plan will settle the matter.
	claim bool
	// event is recorded when the phase changes, or always if there is none;
	// claimEvent is about the claim.
	event, claimEvent *note
}

// planVolume decides about one volume. claim is the one its claimRef names by
// name and UID; nil if that is gone.
func planVolume(v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) volumePlan {
	switch {
	case v.Spec.ClaimRef == nil, v.Spec.ClaimRef.UID == "":
		return volumePlan{phase: corev1.VolumeAvailable}
	case claim == nil:
		return reclaim(v)
	case claim.Spec.VolumeName == v.Name:
		return volumePlan{phase: corev1.VolumeBound}
	case claim.Spec.VolumeName == "":
		if volumehelpers.CheckVolumeModeMismatches(&claim.Spec, &v.Spec) {
			return volumePlan{
				event:      &note{corev1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind PersistentVolume to requested PersistentVolumeClaim %q due to incompatible volumeMode.", claim.Name)},
				claimEvent: &note{corev1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind PersistentVolume %q to requested PersistentVolumeClaim due to incompatible volumeMode.", v.Name)},
			}
		}
		return volumePlan{claim: true}
	case metav1.HasAnnotation(v.ObjectMeta, volumehelpers.AnnDynamicallyProvisioned) && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
		return reclaim(v) // made for the claim, which found another
	}
	return volumePlan{unbind: true, phase: corev1.VolumeAvailable}
}

// reclaim is about a volume whose claim is gone. First it is released, for
// whoever deletes volumes; what nobody can do here fails.
func reclaim(v *corev1.PersistentVolume) volumePlan {
	if v.Status.Phase != corev1.VolumeReleased && v.Status.Phase != corev1.VolumeFailed {
		return volumePlan{phase: corev1.VolumeReleased}
	}
	failed := func(reason, message string) volumePlan {
		return volumePlan{phase: corev1.VolumeFailed, message: message, event: &note{corev1.EventTypeWarning, reason, message}}
	}
	if v.Annotations[volumehelpers.AnnMigratedTo] != "" {
		return volumePlan{}
	}
	switch v.Spec.PersistentVolumeReclaimPolicy {
	case corev1.PersistentVolumeReclaimRetain:
	case corev1.PersistentVolumeReclaimRecycle:
		return failed("VolumeFailedRecycle", "No recycler plugin found for the volume!")
	case corev1.PersistentVolumeReclaimDelete:
		provisioner := v.Annotations[volumehelpers.AnnDynamicallyProvisioned]
		switch {
		case strings.HasPrefix(provisioner, "kubernetes.io/"):
			return failed("VolumeFailedDelete", "no volume plugin matched name: "+provisioner)
		case provisioner == "" && v.Spec.CSI == nil:
			return failed("VolumeFailedDelete", fmt.Sprintf("error getting deleter volume plugin for volume %q: no deletable volume plugin matched", v.Name))
		}
	default:
		return failed("VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy")
	}
	return volumePlan{}
}
