package rbac

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// guarded is a kind's main storage that asks check before every create and
// update; old is nil on create.
type guarded[T kind.Object] struct {
	*kind.REST
	check func(ctx context.Context, obj, old T) error
}

// Create implements rest.Creater.
func (g *guarded[T]) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, o *metav1.CreateOptions) (runtime.Object, error) {
	var none T
	if err := g.allow(ctx, obj, none); err != nil {
		return nil, err
	}
	return g.REST.Create(ctx, obj, validate, o)
}

// Update implements rest.Updater.
func (g *guarded[T]) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, force bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	checked := rest.WrapUpdatedObjectInfo(info, func(ctx context.Context, obj, old runtime.Object) (runtime.Object, error) {
		was, _ := old.(T)
		if old != nil && onlyForCollector(obj, old) {
			return obj, nil // so that the garbage collector can always finish its work
		}
		return obj, g.allow(ctx, obj, was)
	})
	return g.REST.Update(ctx, name, checked, create, update, force, o)
}

func (g *guarded[T]) allow(ctx context.Context, obj runtime.Object, old T) error {
	o, ok := obj.(T)
	if !ok {
		return apierrors.NewBadRequest("object of another kind")
	}
	err := g.check(ctx, o, old)
	if err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		return err
	}
	return apierrors.NewForbidden(g.DefaultQualifiedResource, o.GetName(), err)
}

// onlyForCollector says whether nothing changes but what garbage collection needs.
func onlyForCollector(obj, old runtime.Object) bool {
	c := obj.DeepCopyObject()
	n, err := meta.Accessor(c)
	if err != nil {
		return false
	}
	o, err := meta.Accessor(old)
	if err != nil {
		return false
	}
	n.SetOwnerReferences(o.GetOwnerReferences())
	n.SetFinalizers(o.GetFinalizers())
	n.SetManagedFields(o.GetManagedFields())
	return equality.Semantic.DeepEqual(c, old)
}

// namespaceOf is the request's namespace, which a created object may not carry yet.
func namespaceOf(ctx context.Context, own string) string {
	if ns, ok := request.NamespaceFrom(ctx); ok && ns != "" {
		return ns
	}
	return own
}
