package core

import (
	"context"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"proa/apis/kind"
)

// PartialREST serves a subresource that writes one part of the main object
// (finalize, ephemeralcontainers, resize): get, update and patch.
type PartialREST struct {
	store *genericregistry.Store
	// filter keeps server-side apply to the fields that the subresource writes.
	filter map[fieldpath.APIVersion]fieldpath.Filter
}

// partial describes which part: prepare takes the rest back from old.
type partial[T kind.Object] struct {
	prepare  func(obj, old T)
	validate func(obj, old T) field.ErrorList
	filter   map[fieldpath.APIVersion]fieldpath.Filter
}

func newPartialREST[T kind.Object](main *genericregistry.Store, p partial[T]) *PartialREST {
	s := *main
	s.UpdateStrategy = partialStrategy[T]{RESTUpdateStrategy: main.UpdateStrategy, part: p}
	s.ResetFieldsStrategy = nil
	return &PartialREST{store: &s, filter: p.filter}
}

type partialStrategy[T kind.Object] struct {
	rest.RESTUpdateStrategy
	part partial[T]
}

func (s partialStrategy[T]) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	s.part.prepare(obj.(T), old.(T))
}

func (s partialStrategy[T]) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessorUpdate(obj.(T), old.(T), field.NewPath("metadata"))
	return append(errs, s.part.validate(obj.(T), old.(T))...)
}

func (s partialStrategy[T]) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// New implements rest.Storage.
func (r *PartialREST) New() runtime.Object { return r.store.New() }

// Destroy implements rest.Storage; the main storage owns the connection.
func (r *PartialREST) Destroy() {}

// Get implements rest.Getter, which PATCH needs.
func (r *PartialREST) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	return r.store.Get(ctx, name, o)
}

// Update implements rest.Updater; it never creates.
func (r *PartialREST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.store.Update(ctx, name, info, create, update, false, o)
}

// GetResetFieldsFilter implements rest.ResetFieldsFilterStrategy.
func (r *PartialREST) GetResetFieldsFilter() map[fieldpath.APIVersion]fieldpath.Filter {
	return r.filter
}

// ConvertToTable implements rest.TableConvertor.
func (r *PartialREST) ConvertToTable(ctx context.Context, o, opts runtime.Object) (*metav1.Table, error) {
	return r.store.ConvertToTable(ctx, o, opts)
}
