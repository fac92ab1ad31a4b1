package authz

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"proa/apis/admission/podrefs"
)

// podReferences are the objects that the node of a pod must be able to read for
// it. A mirror pod gives none: nodes create those themselves.
func podReferences(pod *corev1.Pod) []object {
	seen := map[object]struct{}{}
	var refs []object
	ref := func(resource, name string) {
		o := object{resource, pod.Namespace, name}
		if _, ok := seen[o]; name != "" && !ok {
			seen[o] = struct{}{}
			refs = append(refs, o)
		}
	}
	ref("pods", pod.Name)
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return refs
	}
	podrefs.Visit(pod, ref)
	return refs
}

// volumeSecrets are the secrets that a PersistentVolume's node must read.
func volumeSecrets(pv *corev1.PersistentVolume) []object {
	var out []object
	in := func(namespace, name string) {
		if name != "" {
			out = append(out, object{"secrets", namespace, name})
		}
	}
	ref := func(r *corev1.SecretReference) {
		if r == nil {
			return
		}
		namespace := r.Namespace
		if namespace == "" && pv.Spec.ClaimRef != nil {
			namespace = pv.Spec.ClaimRef.Namespace
		}
		in(namespace, r.Name)
	}
	s := &pv.Spec.PersistentVolumeSource
	switch {
	case s.AzureFile != nil:
		namespace := ""
		if s.AzureFile.SecretNamespace != nil {
			namespace = *s.AzureFile.SecretNamespace
		}
		ref(&corev1.SecretReference{Namespace: namespace, Name: s.AzureFile.SecretName})
	case s.CephFS != nil:
		ref(s.CephFS.SecretRef)
	case s.Cinder != nil:
		ref(s.Cinder.SecretRef)
	case s.FlexVolume != nil:
		ref(s.FlexVolume.SecretRef)
	case s.RBD != nil:
		ref(s.RBD.SecretRef)
	case s.ScaleIO != nil:
		ref(s.ScaleIO.SecretRef)
	case s.ISCSI != nil:
		ref(s.ISCSI.SecretRef)
	case s.StorageOS != nil && s.StorageOS.SecretRef != nil:
		in(s.StorageOS.SecretRef.Namespace, s.StorageOS.SecretRef.Name)
	case s.CSI != nil:
		// The controller's secrets are none of the node's business.
		ref(s.CSI.NodePublishSecretRef)
		ref(s.CSI.NodeStageSecretRef)
		ref(s.CSI.NodeExpandSecretRef)
	}
	return out
}

func sameClaims(a, b *corev1.Pod) bool {
	return equality.Semantic.DeepEqual(a.Status.ResourceClaimStatuses, b.Status.ResourceClaimStatuses) &&
		equality.Semantic.DeepEqual(a.Status.ExtendedResourceClaimStatus, b.Status.ExtendedResourceClaimStatus)
}
