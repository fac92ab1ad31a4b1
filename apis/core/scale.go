package core

import (
	"context"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"proa/apis/kind"
)

// ScaleOf tells where a kind keeps what autoscaling/v1 Scale shows.
type ScaleOf[T kind.Object] struct {
	// Replicas points to spec.replicas.
	Replicas func(T) **int32
	// Status is the number of replicas there are.
	Status func(T) int32
	// Selector is the pods' label selector as text.
	Selector func(T) (string, error)
}

// ScaleREST serves the /scale subresource: a view of the main object with
// nothing but the number of replicas.
type ScaleREST[T kind.Object] struct {
	main  *kind.REST
	of    ScaleOf[T]
	gv    schema.GroupVersion
	paths managedfields.ResourcePathMappings
}

// NewScaleREST makes the /scale subresource of a kind whose replicas are at
// spec.replicas. r is the kind's main storage.
func NewScaleREST[T kind.Object](r *kind.REST, of ScaleOf[T]) *ScaleREST[T] {
	gv := schema.GroupVersion{Group: r.DefaultQualifiedResource.Group, Version: "v1"}
	return &ScaleREST[T]{main: r, of: of, gv: gv, paths: managedfields.ResourcePathMappings{
		gv.String(): fieldpath.MakePathOrDie("spec", "replicas"),
	}}
}

// New implements rest.Storage.
func (r *ScaleREST[T]) New() runtime.Object { return &autoscalingv1.Scale{} }

// Destroy implements rest.Storage.
func (r *ScaleREST[T]) Destroy() {}

// GroupVersionKind implements rest.GroupVersionKindProvider: the kind is of another group.
func (r *ScaleREST[T]) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return autoscalingv1.SchemeGroupVersion.WithKind("Scale")
}

// Get implements rest.Getter.
func (r *ScaleREST[T]) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	obj, err := r.main.Get(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return r.scale(obj)
}

// Update implements rest.Updater.
func (r *ScaleREST[T]) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	obj, _, err := r.main.Update(ctx, name, scaleUpdate[T]{r, name, info},
		func(ctx context.Context, obj runtime.Object) error {
			s, err := r.scale(obj)
			if err != nil {
				return err
			}
			return create(ctx, s)
		},
		func(ctx context.Context, obj, old runtime.Object) error {
			now, err := r.scale(obj)
			if err != nil {
				return err
			}
			before, err := r.scale(old)
			if err != nil {
				return err
			}
			return update(ctx, now, before)
		}, false, o)
	if err != nil {
		return nil, false, err
	}
	s, err := r.scale(obj)
	return s, false, err
}

// ConvertToTable implements rest.TableConvertor.
func (r *ScaleREST[T]) ConvertToTable(ctx context.Context, o, opts runtime.Object) (*metav1.Table, error) {
	return rest.NewDefaultTableConvertor(autoscalingv1.Resource("scales")).ConvertToTable(ctx, o, opts)
}

func (r *ScaleREST[T]) scale(obj runtime.Object) (*autoscalingv1.Scale, error) {
	o, ok := obj.(T)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("%s storage holds a %T", r.main.DefaultQualifiedResource, obj))
	}
	selector, err := r.of.Selector(o)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	s := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name:              o.GetName(),
			Namespace:         o.GetNamespace(),
			UID:               o.GetUID(),
			ResourceVersion:   o.GetResourceVersion(),
			CreationTimestamp: o.GetCreationTimestamp(),
		},
		Status: autoscalingv1.ScaleStatus{Replicas: r.of.Status(o), Selector: selector},
	}
	if n := *r.of.Replicas(o); n != nil {
		s.Spec.Replicas = *n
	}
	return s, nil
}

// scaleUpdate turns a change of the scale into one of the main object.
type scaleUpdate[T kind.Object] struct {
	r    *ScaleREST[T]
	name string
	info rest.UpdatedObjectInfo
}

// Preconditions implements rest.UpdatedObjectInfo.
func (u scaleUpdate[T]) Preconditions() *metav1.Preconditions { return u.info.Preconditions() }

// UpdatedObject implements rest.UpdatedObjectInfo.
func (u scaleUpdate[T]) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	main, ok := old.DeepCopyObject().(T)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("%s storage holds a %T", u.r.main.DefaultQualifiedResource, old))
	}
	if main.GetResourceVersion() == "" { // there is no such object
		gr := u.r.main.DefaultQualifiedResource
		gr.Resource += "/scale"
		return nil, apierrors.NewNotFound(gr, u.name)
	}
	// Who owns spec.replicas of the main object owns it in the scale, and back.
	fields := managedfields.NewScaleHandler(main.GetManagedFields(), u.r.gv, u.r.paths)
	before, err := u.r.scale(main)
	if err != nil {
		return nil, err
	}
	if before.ManagedFields, err = fields.ToSubresource(); err != nil {
		return nil, err
	}
	obj, err := u.info.UpdatedObject(ctx, before)
	if err != nil {
		return nil, err
	}
	s, ok := obj.(*autoscalingv1.Scale)
	if !ok || s == nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", obj))
	}
	errs := append(ValidateMeta(s, true), ValidateNonnegative(int64(s.Spec.Replicas), field.NewPath("spec", "replicas"))...)
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(autoscalingv1.SchemeGroupVersion.WithKind("Scale").GroupKind(), s.Name, errs)
	}
	if s.ResourceVersion != "" {
		main.SetResourceVersion(s.ResourceVersion) // the writer's precondition
	}
	if s.UID != "" {
		main.SetUID(s.UID)
	}
	replicas := s.Spec.Replicas
	*u.r.of.Replicas(main) = &replicas
	entries, err := fields.ToParent(s.ManagedFields)
	if err != nil {
		return nil, err
	}
	main.SetManagedFields(entries)
	return main, nil
}
