package core

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"
)

// podEvictionREST deletes a pod politely: pods/eviction. Budgets
// (PodDisruptionBudget) are not looked at yet.
type podEvictionREST struct {
	store *genericregistry.Store
	pods  podGetter
}

// New implements rest.Storage.
func (r *podEvictionREST) New() runtime.Object { return &policyv1.Eviction{} }

// Destroy implements rest.Storage.
func (r *podEvictionREST) Destroy() {}

// GroupVersionKind implements rest.GroupVersionKindProvider: the kind is of another group.
func (r *podEvictionREST) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return policyv1.SchemeGroupVersion.WithKind("Eviction")
}

// AcceptsGroupVersion implements rest.GroupVersionAcceptor.
func (r *podEvictionREST) AcceptsGroupVersion(gv schema.GroupVersion) bool {
	return gv == policyv1.SchemeGroupVersion
}

// Create implements rest.NamedCreater.
func (r *podEvictionREST) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	e, ok := obj.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Eviction object: %T", obj))
	}
	if name != e.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	deletion := e.DeleteOptions
	switch {
	case deletion == nil:
		deletion = &metav1.DeleteOptions{DryRun: options.DryRun}
	case len(deletion.DryRun) == 0:
		deletion.DryRun = options.DryRun
	case len(options.DryRun) > 0 && !slices.Equal(options.DryRun, deletion.DryRun):
		return nil, fmt.Errorf("Non-matching dry-run options in request and content: %v and %v", options.DryRun, deletion.DryRun) //nolint:staticcheck // upstream's text
	}
	if validate != nil {
		if err := validate(ctx, e.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	pod, err := r.pods.get(ctx, name)
	if err != nil {
		return nil, err
	}
	if !dryrun.IsDryRun(deletion.DryRun) && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		if err := r.mark(ctx, name, deletion); err != nil {
			return nil, err
		}
	}
	if _, _, err := r.store.Delete(ctx, name, rest.ValidateAllObjectFunc, deletion); err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// mark tells in the pod's status that it was evicted.
func (r *podEvictionREST) mark(ctx context.Context, name string, deletion *metav1.DeleteOptions) error {
	update := func(_ context.Context, _, old runtime.Object) (runtime.Object, error) {
		p, ok := old.(*corev1.Pod)
		if !ok {
			return nil, apierrors.NewInternalError(fmt.Errorf("pod storage holds a %T", old))
		}
		if pre := deletion.Preconditions; pre != nil && pre.UID != nil && *pre.UID != "" && *pre.UID != p.UID {
			return nil, apierrors.NewConflict(schema.GroupResource{Resource: "Pod"}, p.Name,
				fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *pre.UID, p.UID))
		}
		if pre := deletion.Preconditions; pre != nil && pre.ResourceVersion != nil && *pre.ResourceVersion != p.ResourceVersion {
			return nil, apierrors.NewConflict(schema.GroupResource{Resource: "Pod"}, p.Name,
				fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *pre.ResourceVersion, p.ResourceVersion))
		}
		p = p.DeepCopy()
		setPodCondition(&p.Status, corev1.PodCondition{
			Type:    corev1.DisruptionTarget,
			Status:  corev1.ConditionTrue,
			Reason:  "EvictionByEvictionAPI",
			Message: "Eviction API: evicting",
		})
		return p, nil
	}
	status := *r.store
	status.UpdateStrategy = keepAll{r.store.UpdateStrategy}
	obj, _, err := status.Update(ctx, name, rest.DefaultUpdatedObjectInfo(nil, update), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	// The deletion's precondition was about the pod before this update.
	if pre := deletion.Preconditions; pre != nil && pre.ResourceVersion != nil {
		if p, ok := obj.(*corev1.Pod); ok {
			pre.ResourceVersion = &p.ResourceVersion
		}
	}
	return nil
}

// keepAll is an update strategy that prepares nothing: the writer is this server.
type keepAll struct{ rest.RESTUpdateStrategy }

// PrepareForUpdate implements rest.RESTUpdateStrategy.
func (keepAll) PrepareForUpdate(context.Context, runtime.Object, runtime.Object) {}
