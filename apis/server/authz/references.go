package authz

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/component-helpers/storage/ephemeral"
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
	ref("serviceaccounts", pod.Spec.ServiceAccountName)
	for _, s := range pod.Spec.ImagePullSecrets {
		ref("secrets", s.Name)
	}
	container := func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for _, f := range from {
			if f.ConfigMapRef != nil {
				ref("configmaps", f.ConfigMapRef.Name)
			}
			if f.SecretRef != nil {
				ref("secrets", f.SecretRef.Name)
			}
		}
		for _, e := range env {
			if e.ValueFrom == nil {
				continue
			}
			if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
				ref("configmaps", r.Name)
			}
			if r := e.ValueFrom.SecretKeyRef; r != nil {
				ref("secrets", r.Name)
			}
		}
	}
	for _, c := range pod.Spec.InitContainers {
		container(c.Env, c.EnvFrom)
	}
	for _, c := range pod.Spec.Containers {
		container(c.Env, c.EnvFrom)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		container(c.Env, c.EnvFrom)
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.PersistentVolumeClaim != nil {
			ref("persistentvolumeclaims", v.PersistentVolumeClaim.ClaimName)
		}
		if v.Ephemeral != nil {
			ref("persistentvolumeclaims", ephemeral.VolumeClaimName(pod, v))
		}
		volumeSourceReferences(&v.VolumeSource, ref)
	}
	for _, s := range pod.Status.ResourceClaimStatuses {
		if s.ResourceClaimName != nil {
			ref("resourceclaims", *s.ResourceClaimName)
		}
	}
	for _, c := range pod.Spec.ResourceClaims {
		if c.ResourceClaimName != nil {
			ref("resourceclaims", *c.ResourceClaimName)
		}
	}
	if s := pod.Status.ExtendedResourceClaimStatus; s != nil {
		ref("resourceclaims", s.ResourceClaimName)
	}
	return refs
}

func volumeSourceReferences(v *corev1.VolumeSource, ref func(resource, name string)) {
	local := func(r *corev1.LocalObjectReference) {
		if r != nil {
			ref("secrets", r.Name)
		}
	}
	if v.Secret != nil {
		ref("secrets", v.Secret.SecretName)
	}
	if v.ConfigMap != nil {
		ref("configmaps", v.ConfigMap.Name)
	}
	if v.Projected != nil {
		for _, s := range v.Projected.Sources {
			if s.Secret != nil {
				ref("secrets", s.Secret.Name)
			}
			if s.ConfigMap != nil {
				ref("configmaps", s.ConfigMap.Name)
			}
		}
	}
	if v.AzureFile != nil {
		ref("secrets", v.AzureFile.SecretName)
	}
	if v.CephFS != nil {
		local(v.CephFS.SecretRef)
	}
	if v.Cinder != nil {
		local(v.Cinder.SecretRef)
	}
	if v.FlexVolume != nil {
		local(v.FlexVolume.SecretRef)
	}
	if v.RBD != nil {
		local(v.RBD.SecretRef)
	}
	if v.ScaleIO != nil {
		local(v.ScaleIO.SecretRef)
	}
	if v.ISCSI != nil {
		local(v.ISCSI.SecretRef)
	}
	if v.StorageOS != nil {
		local(v.StorageOS.SecretRef)
	}
	if v.CSI != nil {
		local(v.CSI.NodePublishSecretRef)
	}
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
