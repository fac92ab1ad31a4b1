package serviceaccount

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// secretNames adds the Secrets that a pod refers to.
func secretNames(spec *corev1.PodSpec, into sets.Set[string]) {
	local := func(refs ...*corev1.LocalObjectReference) {
		for _, r := range refs {
			if r != nil {
				into.Insert(r.Name)
			}
		}
	}
	environment := func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for _, f := range from {
			if f.SecretRef != nil {
				into.Insert(f.SecretRef.Name)
			}
		}
		for _, e := range env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				into.Insert(e.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	for i := range spec.ImagePullSecrets {
		local(&spec.ImagePullSecrets[i])
	}
	for _, c := range spec.InitContainers {
		environment(c.Env, c.EnvFrom)
	}
	for _, c := range spec.Containers {
		environment(c.Env, c.EnvFrom)
	}
	for _, c := range spec.EphemeralContainers {
		environment(c.Env, c.EnvFrom)
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i].VolumeSource
		switch {
		case v.Secret != nil:
			into.Insert(v.Secret.SecretName)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.Secret != nil {
					into.Insert(s.Secret.Name)
				}
			}
		case v.AzureFile != nil:
			into.Insert(v.AzureFile.SecretName)
		case v.CephFS != nil:
			local(v.CephFS.SecretRef)
		case v.Cinder != nil:
			local(v.Cinder.SecretRef)
		case v.FlexVolume != nil:
			local(v.FlexVolume.SecretRef)
		case v.RBD != nil:
			local(v.RBD.SecretRef)
		case v.ScaleIO != nil:
			local(v.ScaleIO.SecretRef)
		case v.ISCSI != nil:
			local(v.ISCSI.SecretRef)
		case v.StorageOS != nil:
			local(v.StorageOS.SecretRef)
		case v.CSI != nil:
			local(v.CSI.NodePublishSecretRef)
		}
	}
}
