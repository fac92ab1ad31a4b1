package authz

import (
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// follow keeps the graph up to date from the informers of what is served.
func (g *Graph) follow(f informers.SharedInformerFactory, served func(schema.GroupVersionResource) bool) error {
	follow := func(what schema.GroupVersionResource, informer func() cache.SharedIndexInformer, set func(old, obj any), unset func(obj any)) error {
		if served != nil && !served(what) {
			return nil
		}
		_, err := informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { set(nil, o) },
			UpdateFunc: set,
			DeleteFunc: func(o any) {
				if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = t.Obj
				}
				unset(o)
			},
		})
		if err != nil {
			return fmt.Errorf("authz: watch %s: %w", what.Resource, err)
		}
		return nil
	}
	// owned follows a kind whose objects name their node.
	owned := func(what schema.GroupVersionResource, informer func() cache.SharedIndexInformer, of func(any) (namespace, name, node string)) error {
		return follow(what, informer, func(_, o any) {
			namespace, name, node := of(o)
			g.SetOwned(what.Resource, namespace, name, node)
		}, func(o any) {
			namespace, name, _ := of(o)
			g.SetOwned(what.Resource, namespace, name, "")
		})
	}
	core, storage, resource, certificates := f.Core().V1(), f.Storage().V1(), f.Resource().V1(), f.Certificates().V1()
	for _, err := range []error{
		follow(corev1.SchemeGroupVersion.WithResource("pods"), core.Pods().Informer, g.podChanged, func(o any) {
			if pod, ok := o.(*corev1.Pod); ok {
				g.DeletePod(pod.Namespace, pod.Name)
			}
		}),
		follow(corev1.SchemeGroupVersion.WithResource("persistentvolumes"), core.PersistentVolumes().Informer, func(_, o any) {
			if pv, ok := o.(*corev1.PersistentVolume); ok {
				g.SetVolume(pv)
			}
		}, func(o any) {
			if pv, ok := o.(*corev1.PersistentVolume); ok {
				g.DeleteVolume(pv.Name)
			}
		}),
		owned(storagev1.SchemeGroupVersion.WithResource("volumeattachments"), storage.VolumeAttachments().Informer, func(o any) (_, _, _ string) {
			if a, ok := o.(*storagev1.VolumeAttachment); ok {
				return "", a.Name, a.Spec.NodeName
			}
			return
		}),
		owned(resourcev1.SchemeGroupVersion.WithResource("resourceslices"), resource.ResourceSlices().Informer, func(o any) (_, _, _ string) {
			if s, ok := o.(*resourcev1.ResourceSlice); ok && s.Spec.NodeName != nil {
				return "", s.Name, *s.Spec.NodeName
			}
			return
		}),
		owned(certificatesv1.SchemeGroupVersion.WithResource("podcertificaterequests"), certificates.PodCertificateRequests().Informer, func(o any) (_, _, _ string) {
			if r, ok := o.(*certificatesv1.PodCertificateRequest); ok {
				return r.Namespace, r.Name, string(r.Spec.NodeName)
			}
			return
		}),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// podChanged takes a bound pod in, if its references can have changed: that is
// with its ephemeral containers and the statuses of its claims only.
func (g *Graph) podChanged(old, o any) {
	pod, ok := o.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" {
		return
	}
	if was, ok := old.(*corev1.Pod); ok && was.UID == pod.UID && was.Spec.NodeName == pod.Spec.NodeName &&
		len(was.Spec.EphemeralContainers) == len(pod.Spec.EphemeralContainers) && sameClaims(was, pod) {
		return
	}
	g.SetPod(pod)
}
