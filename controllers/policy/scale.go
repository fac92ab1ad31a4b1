package policy

import (
	"context"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// scales reads the scale subresource of owners of any kind.
type scales struct {
	client    client.Client
	mapper    meta.RESTMapper
	discovery discovery.DiscoveryInterface
}

// get returns the replicas that the owner should have; nil if it is gone.
func (s scales) get(ctx context.Context, ref *metav1.OwnerReference, namespace string) (*int32, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	mapping, err := s.mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: ref.Kind}, gv.Version)
	if err != nil {
		return nil, err
	}
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(mapping.GroupVersionKind)
	obj.SetNamespace(namespace)
	obj.SetName(ref.Name)
	var scale autoscalingv1.Scale
	err = s.client.SubResource("scale").Get(ctx, obj, &scale)
	if apierrors.IsNotFound(err) {
		// Either the object is gone, or its kind has no scale.
		list, err := s.discovery.ServerResourcesForGroupVersion(mapping.Resource.GroupVersion().String())
		if err != nil {
			return nil, err
		}
		for i := range list.APIResources {
			if list.APIResources[i].Name == mapping.Resource.Resource+"/scale" {
				return nil, nil
			}
		}
		return nil, fmt.Errorf("%s does not implement the scale subresource", mapping.Resource.GroupResource())
	}
	if err != nil {
		return nil, err
	}
	if scale.UID != ref.UID {
		return nil, nil
	}
	return &scale.Spec.Replicas, nil
}
