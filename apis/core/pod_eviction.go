package core

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

// podEvictionREST deletes a pod politely, within its PodDisruptionBudget: pods/eviction.
type podEvictionREST struct {
	store *genericregistry.Store
	pods  podGetter
	deps  *kind.Deps
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
	if ptr.Deref(deletion.IgnoreStoreReadErrorWithClusterBreakingPotential, false) {
		return nil, apierrors.NewInvalid(policyv1.SchemeGroupVersion.WithKind("Eviction").GroupKind(), name, field.ErrorList{
			field.Invalid(field.NewPath("deleteOptions", "ignoreStoreReadErrorWithClusterBreakingPotential"), true, "can not be set for pod eviction, try after removing the option")})
	}
	if validate != nil {
		if err := validate(ctx, e.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	pod, deleted, err := r.deleteBeyondBudget(ctx, name, deletion)
	if err != nil {
		return nil, err
	}
	if deleted {
		return &metav1.Status{Status: metav1.StatusSuccess}, nil
	}
	list, err := r.deps.Client.PolicyV1().PodDisruptionBudgets(pod.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	budgets := budgetsFor(pod, list.Items)
	if len(budgets) > 1 {
		return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
			Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}, nil
	}
	guarded, own := deletion, versionOf(deletion) == nil
	spared := len(budgets) == 1 && spares(budgets[0], pod)
	switch {
	case spared:
		// The pod must not have become healthy since.
		guarded = atVersion(deletion, pod.ResourceVersion)
	case len(budgets) == 1:
		if err := r.spend(ctx, pod, budgets[0], dryrun.IsDryRun(deletion.DryRun)); err != nil {
			return nil, err
		}
	}
	if err := r.delete(ctx, name, guarded); err != nil {
		if spared && own && apierrors.IsConflict(err) {
			return nil, budgetUnsettled(budgets[0].Name)
		}
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// evictionRetry bounds how often a conflict with other writers is tried again.
func evictionRetry() wait.Backoff {
	return wait.Backoff{Steps: 20, Duration: 500 * time.Millisecond, Factor: 1, Jitter: 0.1}
}

// deleteBeyondBudget deletes a pod that no budget guards. Otherwise it returns the pod.
func (r *podEvictionREST) deleteBeyondBudget(ctx context.Context, name string, deletion *metav1.DeleteOptions) (pod *corev1.Pod, deleted bool, err error) {
	own := versionOf(deletion) == nil
	again := func(err error) bool { return own && apierrors.IsConflict(err) }
	err = retry.OnError(evictionRetry(), again, func() (err error) {
		if pod, err = r.pods.get(ctx, name); err != nil || !beyondBudget(pod) {
			return err
		}
		guarded := deletion
		if own && !finished(pod) && pod.DeletionTimestamp.IsZero() {
			// It must not have become healthy since.
			guarded = atVersion(deletion, pod.ResourceVersion)
		}
		if err := r.delete(ctx, name, guarded); err != nil {
			return err
		}
		deleted = true
		return nil
	})
	return pod, deleted, err
}

// spend writes into the budget that the pod goes.
func (r *podEvictionREST) spend(ctx context.Context, pod *corev1.Pod, b *policyv1.PodDisruptionBudget, dryRun bool) error {
	client, stale := r.deps.Client.PolicyV1().PodDisruptionBudgets(pod.Namespace), false
	err := retry.RetryOnConflict(evictionRetry(), func() (err error) {
		if stale {
			if b, err = client.Get(ctx, b.Name, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		stale = true
		if err := spend(b, pod.Name, r.deps.Clock.Now()); err != nil || dryRun {
			return err
		}
		_, err = client.UpdateStatus(ctx, b, metav1.UpdateOptions{})
		return err
	})
	if wait.Interrupted(err) {
		return apierrors.NewTimeoutError(fmt.Sprintf("couldn't update PodDisruptionBudget %q due to conflicts", b.Name), 10)
	}
	return err
}

// versionOf is the resource version that a deletion is bound to; nil for none.
func versionOf(o *metav1.DeleteOptions) *string {
	if o.Preconditions == nil {
		return nil
	}
	return o.Preconditions.ResourceVersion
}

// atVersion returns the options bound to a resource version.
func atVersion(o *metav1.DeleteOptions, version string) *metav1.DeleteOptions {
	o = o.DeepCopy()
	if o.Preconditions == nil {
		o.Preconditions = &metav1.Preconditions{}
	}
	o.Preconditions.ResourceVersion = &version
	return o
}

// delete marks the pod as evicted and deletes it.
func (r *podEvictionREST) delete(ctx context.Context, name string, deletion *metav1.DeleteOptions) error {
	if !dryrun.IsDryRun(deletion.DryRun) {
		version, err := r.mark(ctx, name, deletion)
		if err != nil {
			return err
		}
		// The precondition was about the pod before it was marked.
		if versionOf(deletion) != nil {
			deletion = atVersion(deletion, version)
		}
	}
	_, _, err := r.store.Delete(ctx, name, rest.ValidateAllObjectFunc, deletion)
	return err
}

// mark tells in the pod's status that it was evicted, and returns the version
// that this made.
func (r *podEvictionREST) mark(ctx context.Context, name string, deletion *metav1.DeleteOptions) (version string, err error) {
	update := func(_ context.Context, _, old runtime.Object) (runtime.Object, error) {
		p, ok := old.(*corev1.Pod)
		if !ok {
			return nil, apierrors.NewInternalError(fmt.Errorf("pod storage holds a %T", old))
		}
		if pre := deletion.Preconditions; pre != nil && pre.UID != nil && *pre.UID != "" && *pre.UID != p.UID {
			return nil, apierrors.NewConflict(schema.GroupResource{Resource: "Pod"}, p.Name,
				fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *pre.UID, p.UID))
		}
		if pre := deletion.Preconditions; pre != nil && pre.ResourceVersion != nil && *pre.ResourceVersion != "" && *pre.ResourceVersion != p.ResourceVersion {
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
		return "", err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return "", err
	}
	return m.GetResourceVersion(), nil
}

// keepAll is an update strategy that prepares nothing: the writer is this server.
type keepAll struct{ rest.RESTUpdateStrategy }

// PrepareForUpdate implements rest.RESTUpdateStrategy.
func (keepAll) PrepareForUpdate(context.Context, runtime.Object, runtime.Object) {}
