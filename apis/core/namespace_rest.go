package core

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storeerr "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"proa/apis/kind"
)

// namespaceREST deletes in two steps: the first delete marks the namespace as
// terminating; when its finalizers are gone (the namespace controller empties
// it), it is removed. One request cannot take all namespaces: there is no
// deletion of collections.
type namespaceREST struct {
	*kind.REST
	withoutMethods //nolint:unused // used by being ambiguous
}

// withoutMethods takes methods away from the store that it is embedded beside: two
// promoted methods of one name and depth hide each other. What remains is what
// upstream's namespace storage offers.
type withoutMethods struct{ hidden } //nolint:unused // as above

type hidden struct{} //nolint:unused // as above

func (hidden) DeleteCollection()           {} //nolint:unused // as above
func (hidden) DeleteReturnsDeletedObject() {} //nolint:unused // as above

// finalizeREST can only be updated; clients read the namespace itself.
type finalizeREST struct{ partial *PartialREST }

// New implements rest.Storage.
func (r finalizeREST) New() runtime.Object { return r.partial.New() }

// Destroy implements rest.Storage; the main storage owns the connection.
func (finalizeREST) Destroy() {}

// GetResetFieldsFilter implements rest.ResetFieldsFilterStrategy.
func (r finalizeREST) GetResetFieldsFilter() map[fieldpath.APIVersion]fieldpath.Filter {
	return r.partial.GetResetFieldsFilter()
}

// Update implements rest.Updater.
func (r finalizeREST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, forceAllowCreate bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.partial.Update(ctx, name, info, create, update, forceAllowCreate, o)
}

func extendNamespace(_ *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
	r.Store.ReturnDeletedObject = true
	r.Store.ShouldDeleteDuringUpdate = func(ctx context.Context, key string, obj, existing runtime.Object) bool {
		n, ok := obj.(*corev1.Namespace)
		return ok && len(n.Spec.Finalizers) == 0 && genericregistry.ShouldDeleteDuringUpdate(ctx, key, obj, existing)
	}
	finalize := newPartialREST(r.Store, partial[*corev1.Namespace]{
		prepare: func(n, old *corev1.Namespace) { n.Status = old.Status },
		validate: func(n, _ *corev1.Namespace) field.ErrorList {
			return validateNamespaceFinalizers(n.Spec.Finalizers, true)
		},
		filter: map[fieldpath.APIVersion]fieldpath.Filter{
			"v1": fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status"))),
		},
	})
	// Its own status storage: it must have the hook above, or writing the status of
	// a terminating namespace would remove it while it still has content.
	status := newPartialREST(r.Store, partial[*corev1.Namespace]{
		prepare:  func(n, old *corev1.Namespace) { n.Spec = old.Spec },
		validate: func(n, _ *corev1.Namespace) field.ErrorList { return validateNamespacePhase(n) },
		filter: map[fieldpath.APIVersion]fieldpath.Filter{
			"v1": fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("spec"))),
		},
	})
	return namespaceREST{REST: r}, map[string]rest.Storage{"finalize": finalizeREST{finalize}, "status": status}, nil
}

// Delete implements rest.GracefulDeleter.
func (r namespaceREST) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	found, err := r.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, false, err
	}
	n, ok := found.(*corev1.Namespace)
	if !ok {
		return nil, false, apierrors.NewInternalError(fmt.Errorf("namespace storage holds a %T", found))
	}
	if options == nil {
		options = metav1.NewDeleteOptions(0)
	}
	if options.Preconditions == nil {
		options.Preconditions = &metav1.Preconditions{}
	}
	pre := options.Preconditions
	conflict := func(what string, want, have any) error {
		return apierrors.NewConflict(r.DefaultQualifiedResource, name,
			fmt.Errorf("Precondition failed: %s in precondition: %v, %s in object meta: %v", what, want, what, have)) //nolint:staticcheck // upstream's text
	}
	if pre.UID == nil {
		pre.UID = &n.UID
	} else if *pre.UID != n.UID {
		return nil, false, conflict("UID", *pre.UID, n.UID)
	}
	if pre.ResourceVersion != nil && *pre.ResourceVersion != n.ResourceVersion {
		return nil, false, conflict("ResourceVersion", *pre.ResourceVersion, n.ResourceVersion)
	}
	if n.DeletionTimestamp == nil {
		out, err := r.terminate(ctx, name, validate, options)
		return out, false, err
	}
	if len(n.Spec.Finalizers) > 0 {
		return n, false, nil
	}
	return r.Store.Delete(ctx, name, validate, options)
}

// terminate marks the namespace as being deleted.
func (r namespaceREST) terminate(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, error) {
	key, err := r.KeyFunc(ctx, name)
	if err != nil {
		return nil, err
	}
	out := &corev1.Namespace{}
	pre := &storage.Preconditions{UID: options.Preconditions.UID, ResourceVersion: options.Preconditions.ResourceVersion}
	update := storage.SimpleUpdate(func(existing runtime.Object) (runtime.Object, error) {
		n, ok := existing.(*corev1.Namespace)
		if !ok {
			return nil, fmt.Errorf("namespace storage holds a %T", existing)
		}
		if err := validate(ctx, n); err != nil {
			return nil, err
		}
		if n.DeletionTimestamp == nil {
			now := metav1.Now()
			n.DeletionTimestamp = &now
		}
		n.Status.Phase = corev1.NamespaceTerminating
		setPropagationFinalizers(n, options)
		return n, nil
	})
	if err := r.Storage.GuaranteedUpdate(ctx, key, out, false, pre, update, dryrun.IsDryRun(options.DryRun), nil); err != nil {
		err = storeerr.InterpretGetError(err, r.DefaultQualifiedResource, name)
		err = storeerr.InterpretUpdateError(err, r.DefaultQualifiedResource, name)
		if status := apierrors.APIStatus(nil); !errors.As(err, &status) {
			err = apierrors.NewInternalError(err)
		}
		return nil, err
	}
	return out, nil
}

// setPropagationFinalizers makes the garbage collector's finalizers agree with
// what the deletion asked for; without a wish, those there stay.
func setPropagationFinalizers(n *corev1.Namespace, options *metav1.DeleteOptions) {
	set := func(finalizer string, wanted bool) {
		at := slices.Index(n.Finalizers, finalizer)
		switch {
		case wanted && at < 0:
			n.Finalizers = append(n.Finalizers, finalizer)
		case !wanted && at >= 0:
			n.Finalizers = slices.Delete(n.Finalizers, at, at+1)
		}
	}
	switch {
	case options.OrphanDependents != nil: //nolint:staticcheck // old clients send it
		set(metav1.FinalizerOrphanDependents, *options.OrphanDependents)  //nolint:staticcheck
		set(metav1.FinalizerDeleteDependents, !*options.OrphanDependents) //nolint:staticcheck
	case options.PropagationPolicy != nil:
		set(metav1.FinalizerOrphanDependents, *options.PropagationPolicy == metav1.DeletePropagationOrphan)
		set(metav1.FinalizerDeleteDependents, *options.PropagationPolicy == metav1.DeletePropagationForeground)
	}
}
