package storage

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// protection is what to do about the finalizer that keeps an object while it is used.
type protection int

const (
	leave protection = iota
	// ask whether the object is used, and release it if it is not.
	ask
	// add the finalizer: admission did not.
	add
)

func protect(obj client.Object, finalizer string) protection {
	has := slices.Contains(obj.GetFinalizers(), finalizer)
	switch deleted := obj.GetDeletionTimestamp() != nil; {
	case deleted && has:
		return ask
	case !deleted && !has:
		return add
	}
	return leave
}

// concerned accepts objects about whose finalizer there is something to do.
func concerned(finalizer string) predicate.Predicate {
	return predicate.NewPredicateFuncs(func(obj client.Object) bool { return protect(obj, finalizer) != leave })
}

// keep does for one object, of which obj is the cached value, what protect says.
func keep(ctx context.Context, c client.Client, obj client.Object, finalizer string, used func() (bool, error)) (ctrl.Result, error) {
	next, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return ctrl.Result{}, nil
	}
	switch protect(obj, finalizer) {
	case leave:
		return ctrl.Result{}, nil
	case add:
		controllerutil.AddFinalizer(next, finalizer)
	case ask:
		in, err := used()
		if err != nil || in {
			return ctrl.Result{}, err
		}
		controllerutil.RemoveFinalizer(next, finalizer)
	}
	err := c.Update(ctx, next)
	if apierrors.IsConflict(err) { // its event brings us back
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}
