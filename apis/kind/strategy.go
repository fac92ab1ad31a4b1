package kind

import (
	"context"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// strategy turns a Kind into the generic registry's create, update and delete strategies.
type strategy[T Object] struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind *Kind[T]
}

// gracefulStrategy adds graceful deletion; a separate type, because the registry
// asks by interface.
type gracefulStrategy[T Object] struct{ strategy[T] }

func newStrategy[T Object](k *Kind[T], typer runtime.ObjectTyper) strategy[T] {
	return strategy[T]{ObjectTyper: typer, NameGenerator: names.SimpleNameGenerator, kind: k}
}

func (s strategy[T]) NamespaceScoped() bool { return !s.kind.ClusterScoped }

func (s strategy[T]) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	o := obj.(T)
	if s.kind.Spec != nil {
		o.SetGeneration(1)
	}
	if s.kind.PrepareForCreate != nil {
		s.kind.PrepareForCreate(ctx, o)
	}
}

func (s strategy[T]) nameFn() validation.ValidateNameFunc {
	if s.kind.ValidateName != nil {
		return s.kind.ValidateName
	}
	return validation.NameIsDNSSubdomain
}

// validateFinalizers refuses names without a domain that are not Kubernetes' own;
// upstream does so for all kinds but those of a few groups.
func (s strategy[T]) validateFinalizers(o T) (errs field.ErrorList) {
	switch s.kind.GVK.Group {
	case "admissionregistration.k8s.io", "coordination.k8s.io", "node.k8s.io":
		return nil
	}
	for i, name := range o.GetFinalizers() {
		switch {
		case strings.Contains(name, "/"), name == string(corev1.FinalizerKubernetes),
			name == metav1.FinalizerOrphanDependents, name == metav1.FinalizerDeleteDependents:
		default:
			errs = append(errs, field.Invalid(field.NewPath("metadata", "finalizers").Index(i), name, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

// validateMetadata is what kinds check of metadata on their own; the generic
// registry checks more of it later.
func (s strategy[T]) validateMetadata(o T) field.ErrorList {
	if s.kind.PlainMetadata {
		return nil
	}
	name := s.nameFn()
	if s.kind.GenerateName == PrefixNever {
		whole := name
		name = func(n string, prefix bool) []string {
			if prefix {
				return nil
			}
			return whole(n, prefix)
		}
	}
	errs := validation.ValidateObjectMetaAccessor(o, !s.kind.ClusterScoped, name, field.NewPath("metadata"))
	return append(errs, s.validateFinalizers(o)...)
}

// validateUpdatedMetadata is the same for updates, which cannot change the name.
func (s strategy[T]) validateUpdatedMetadata(n, o T, prefix bool) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessorUpdate(n, o, field.NewPath("metadata"))
	if s.kind.PlainMetadata {
		return errs
	}
	errs = append(errs, s.validateFinalizers(n)...)
	if generate := n.GetGenerateName(); prefix && generate != "" {
		for _, message := range s.nameFn()(generate, true) {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "generateName"), generate, message))
		}
	}
	return errs
}

func (s strategy[T]) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	o := obj.(T)
	errs := s.validateMetadata(o)
	if s.kind.Validate != nil {
		errs = append(errs, s.kind.Validate(ctx, o)...)
	}
	return errs
}

func (s strategy[T]) WarningsOnCreate(ctx context.Context, obj runtime.Object) []string {
	if s.kind.Warnings == nil {
		return nil
	}
	var none T
	return s.kind.Warnings(ctx, obj.(T), none)
}

func (s strategy[T]) Canonicalize(obj runtime.Object) {
	if s.kind.Canonicalize != nil {
		s.kind.Canonicalize(obj.(T))
	}
}

func (s strategy[T]) AllowCreateOnUpdate(context.Context) bool { return s.kind.AllowCreateOnUpdate }

func (s strategy[T]) AllowUnconditionalUpdate(context.Context) bool {
	return !s.kind.RefuseUnconditionalUpdate
}

func (s strategy[T]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	n, o := obj.(T), old.(T)
	if s.kind.PrepareForUpdate != nil {
		s.kind.PrepareForUpdate(ctx, n, o)
	}
	if s.kind.Spec != nil {
		n.SetGeneration(o.GetGeneration())
		equal := equality.Semantic.DeepEqual
		if s.kind.EmptyIsChange {
			equal = reflect.DeepEqual
		}
		if !equal(s.kind.Spec(n), s.kind.Spec(o)) {
			n.SetGeneration(o.GetGeneration() + 1)
		}
	}
}

func (s strategy[T]) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	n, o := obj.(T), old.(T)
	rule := s.kind.GenerateName
	errs := s.validateUpdatedMetadata(n, o, rule == PrefixAlways || rule == PrefixEverywhere || rule == PrefixByDefault && !s.kind.UpdateValidatesAlone)
	if s.kind.Validate != nil && !s.kind.UpdateValidatesAlone {
		errs = append(errs, s.kind.Validate(ctx, n)...)
	}
	if s.kind.ValidateUpdate != nil {
		errs = append(errs, s.kind.ValidateUpdate(ctx, n, o)...)
	}
	return errs
}

func (s strategy[T]) WarningsOnUpdate(ctx context.Context, obj, old runtime.Object) []string {
	if s.kind.Warnings == nil {
		return nil
	}
	return s.kind.Warnings(ctx, obj.(T), old.(T))
}

// DefaultGarbageCollectionPolicy implements rest.GarbageCollectionDeleteStrategy.
func (s strategy[T]) DefaultGarbageCollectionPolicy(context.Context) rest.GarbageCollectionPolicy {
	switch {
	case s.kind.NoDependents:
		return rest.Unsupported
	case s.kind.OrphanByDefault:
		return rest.OrphanDependents
	}
	return rest.DeleteDependents
}

// GetResetFields tells server-side apply what a main-resource write never sets.
func (s strategy[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	switch {
	case s.kind.ResetFields != nil:
		return s.resetFields(s.kind.ResetFields...)
	case s.kind.Status == nil:
		return nil
	}
	return s.resetFields("status")
}

func (s strategy[T]) resetFields(paths ...string) map[fieldpath.APIVersion]*fieldpath.Set {
	set := fieldpath.NewSet()
	for _, p := range paths {
		var path fieldpath.Path
		for _, name := range strings.Split(p, ".") {
			path = append(path, fieldpath.PathElement{FieldName: &name})
		}
		set.Insert(path)
	}
	return map[fieldpath.APIVersion]*fieldpath.Set{fieldpath.APIVersion(s.kind.GVK.GroupVersion().String()): set}
}

// CheckGracefulDelete implements rest.RESTGracefulDeleteStrategy.
func (s gracefulStrategy[T]) CheckGracefulDelete(ctx context.Context, obj runtime.Object, options *metav1.DeleteOptions) bool {
	return s.kind.Grace(ctx, obj.(T), options)
}

// statusStrategy is the update strategy of /status.
type statusStrategy[T Object] struct{ strategy[T] }

func (s statusStrategy[T]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	n, o := obj.(T), old.(T)
	if s.kind.Status.Prepare != nil {
		s.kind.Status.Prepare(ctx, n, o)
	}
	n.SetGeneration(o.GetGeneration())
}

func (s statusStrategy[T]) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	n, o := obj.(T), old.(T)
	errs := s.validateUpdatedMetadata(n, o, s.kind.GenerateName == PrefixEverywhere)
	if s.kind.Status.Validate != nil {
		errs = append(errs, s.kind.Status.Validate(ctx, n, o)...)
	}
	return errs
}

func (s statusStrategy[T]) AllowCreateOnUpdate(context.Context) bool { return false }

func (s statusStrategy[T]) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

func (s statusStrategy[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	if len(s.kind.Status.ResetFields) > 0 {
		return s.resetFields(s.kind.Status.ResetFields...)
	}
	return s.resetFields("spec")
}
