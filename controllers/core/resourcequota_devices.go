package core

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/quota"
)

// concerns reports whether objects of the resource may be measured for a limit.
func concerns(name corev1.ResourceName, measured string) bool {
	return slices.Contains(quota.Measured(name, quota.DeviceClasses{}), measured) ||
		measured == quota.ResourceClaims && quota.AboutExtended(name)
}

// deviceClasses are those that matter for the quota's limits on extended resources.
func (r *ResourceQuota) deviceClasses(ctx context.Context, q *corev1.ResourceQuota) (quota.DeviceClasses, error) {
	asked := false
	for name := range q.Spec.Hard {
		asked = asked || quota.AboutExtended(name)
	}
	if !asked {
		return quota.DeviceClasses{}, nil
	}
	if _, err := r.kindOf(resourcev1.Resource("deviceclasses")); meta.IsNoMatchError(err) {
		return quota.DeviceClasses{}, nil
	}
	var list resourcev1.DeviceClassList
	if err := r.Client.List(ctx, &list); err != nil {
		return quota.DeviceClasses{}, err
	}
	all := make([]*resourcev1.DeviceClass, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	return quota.NewDeviceClasses(all), nil
}

// chargedWithPod is what the pod that a claim was made for is charged for
// already; nothing for other claims.
func (r *ResourceQuota) chargedWithPod(ctx context.Context, claim *resourcev1.ResourceClaim, now time.Time) corev1.ResourceList {
	owner := quota.ExtendedClaimOwner(claim)
	if owner == nil {
		return nil
	}
	var pod corev1.Pod
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: claim.Namespace, Name: owner.Name}, &pod); err != nil {
		return nil
	}
	var list resourcev1.ResourceClaimList
	if err := r.Client.List(ctx, &list, client.InNamespace(claim.Namespace)); err != nil {
		return nil
	}
	siblings := make([]*resourcev1.ResourceClaim, len(list.Items))
	for i := range list.Items {
		siblings[i] = &list.Items[i]
	}
	if !quota.ChargedWithPod(claim, &pod, siblings) {
		return nil
	}
	return quota.Usage(quota.Pods, &pod, now)
}
