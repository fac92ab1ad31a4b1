// Package podrefs tells which other objects of its namespace a pod refers to.
package podrefs

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/storage/ephemeral"
)

// Visit calls f for every reference of a pod's spec and claim statuses to
// secrets, configmaps, serviceaccounts, persistentvolumeclaims and
// resourceclaims (resource is the plural), in no order and with repetitions.
func Visit(pod *corev1.Pod, f func(resource, name string)) {
	ref := func(resource, name string) {
		if name != "" {
			f(resource, name)
		}
	}
	ref("serviceaccounts", pod.Spec.ServiceAccountName)
	for _, s := range pod.Spec.ImagePullSecrets {
		ref("secrets", s.Name)
	}
	for _, c := range pod.Spec.InitContainers {
		environment(c.Env, c.EnvFrom, ref)
	}
	for _, c := range pod.Spec.Containers {
		environment(c.Env, c.EnvFrom, ref)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		environment(c.Env, c.EnvFrom, ref)
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.PersistentVolumeClaim != nil {
			ref("persistentvolumeclaims", v.PersistentVolumeClaim.ClaimName)
		}
		if v.Ephemeral != nil {
			ref("persistentvolumeclaims", ephemeral.VolumeClaimName(pod, v))
		}
		volume(&v.VolumeSource, ref)
	}
	for _, c := range pod.Spec.ResourceClaims {
		if c.ResourceClaimName != nil {
			ref("resourceclaims", *c.ResourceClaimName)
		}
	}
	for _, s := range pod.Status.ResourceClaimStatuses {
		if s.ResourceClaimName != nil {
			ref("resourceclaims", *s.ResourceClaimName)
		}
	}
	if s := pod.Status.ExtendedResourceClaimStatus; s != nil {
		ref("resourceclaims", s.ResourceClaimName)
	}
}

func environment(env []corev1.EnvVar, from []corev1.EnvFromSource, ref func(resource, name string)) {
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

func volume(v *corev1.VolumeSource, ref func(resource, name string)) {
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
