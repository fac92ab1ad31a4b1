package kind

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Description implements Any.
func (k *Kind[T]) Description() Description {
	return Description{GVK: k.GVK, Resource: k.Resource, ClusterScoped: k.ClusterScoped, Stored: true,
		StoragePrefix: k.StoragePrefix, New: func() runtime.Object { return k.New() }}
}

// Register implements Any.
func (k *Kind[T]) Register(scheme *runtime.Scheme) error {
	if k.Default != nil {
		scheme.AddTypeDefaultingFunc(k.New(), func(o any) { k.Default(o.(T)) })
		items := k.NewList()
		scheme.AddTypeDefaultingFunc(items, func(o any) {
			_ = eachItem(o.(runtime.Object), func(i runtime.Object) { k.Default(i.(T)) })
		})
	}
	if len(k.Fields) == 0 {
		return nil // the scheme's own conversion knows name and namespace
	}
	return scheme.AddFieldLabelConversionFunc(k.GVK, func(label, value string) (string, string, error) {
		if name, ok := k.FieldAliases[label]; ok {
			label = name
		}
		if _, ok := k.Fields[label]; ok || label == "metadata.name" || (label == "metadata.namespace" && !k.ClusterScoped) {
			return label, value, nil
		}
		return "", "", fmt.Errorf(cmp.Or(k.FieldRefusal, "field label not supported: %s"), label)
	})
}

// Build implements Any: it fills genericregistry.Store from the description.
func (k *Kind[T]) Build(d *Deps) (map[string]rest.Storage, error) {
	gr := schema.GroupResource{Group: k.GVK.Group, Resource: k.Resource}
	singular := k.Singular
	if singular == "" {
		singular = strings.ToLower(k.GVK.Kind)
	}
	plain := newStrategy(k, d.Scheme)
	var strategy interface {
		rest.RESTCreateStrategy
		rest.RESTUpdateStrategy
		rest.RESTDeleteStrategy
		rest.ResetFieldsStrategy
	} = plain
	if k.Grace != nil {
		strategy = gracefulStrategy[T]{plain}
	}
	store := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return k.New() },
		NewListFunc:               k.NewList,
		PredicateFunc:             k.predicate,
		DefaultQualifiedResource:  gr,
		SingularQualifiedResource: schema.GroupResource{Group: gr.Group, Resource: singular},
		CreateStrategy:            strategy,
		UpdateStrategy:            strategy,
		DeleteStrategy:            strategy,
		ResetFieldsStrategy:       strategy,
		TableConvertor:            newTable(k),
		ReturnDeletedObject:       k.ReturnDeleted,
	}
	if k.TTL != nil {
		seconds := uint64(k.TTL(d).Seconds())
		store.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return seconds, nil }
		// What has no watch cache is listed as it was decoded.
		store.Decorator = forgetItemTypes
	}
	options := &generic.StoreOptions{RESTOptions: d.RESTOptions, AttrFunc: k.attributes}
	for _, f := range k.IndexedFields {
		if options.TriggerFunc == nil {
			options.TriggerFunc, options.Indexers = storage.IndexerFuncs{}, &cache.Indexers{}
		}
		(*options.Indexers)[storage.FieldIndex(f)] = func(obj any) ([]string, error) {
			return []string{k.fieldValue(obj.(T), f)}, nil
		}
		options.TriggerFunc[f] = func(obj runtime.Object) string { return k.fieldValue(obj.(T), f) }
	}
	if k.StorageGroupResource.Resource != "" {
		options.RESTOptions = otherResource{d.RESTOptions, k.StorageGroupResource}
	}
	if err := store.CompleteWithOptions(options); err != nil {
		return nil, fmt.Errorf("storage of %s: %w", gr, err)
	}

	r := &REST{Store: store, shortNames: k.ShortNames, categories: k.Categories}
	var main rest.Storage = r
	out := map[string]rest.Storage{}
	if k.Extend != nil {
		m, subresources, err := k.Extend(d, r)
		if err != nil {
			return nil, fmt.Errorf("storage of %s: %w", gr, err)
		}
		if m != nil {
			main = m
		}
		for name, s := range subresources {
			out[k.Resource+"/"+name] = s
		}
	}
	out[k.Resource] = main
	if _, own := out[k.Resource+"/status"]; k.Status != nil && !own {
		status := newStatusREST(k, plain, store)
		out[k.Resource+"/status"] = tabledStatusREST{status, store.TableConvertor}
		if k.Status.NoTable {
			out[k.Resource+"/status"] = status
		}
	}
	return out, nil
}

// forgetItemTypes clears the kinds of a list's items, which the list itself tells.
func forgetItemTypes(o runtime.Object) {
	if meta.IsListType(o) {
		_ = eachItem(o, func(item runtime.Object) { item.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{}) })
	}
}

func (k *Kind[T]) fieldValue(obj T, label string) string {
	switch label {
	case "metadata.name":
		return obj.GetName()
	case "metadata.namespace":
		return obj.GetNamespace()
	}
	return k.Fields[label](obj)
}

// attributes returns an object's labels and selectable fields (storage.AttrFunc).
func (k *Kind[T]) attributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	o, ok := obj.(T)
	if !ok {
		return nil, nil, fmt.Errorf("%s storage holds a %T", k.Resource, obj)
	}
	set := make(fields.Set, len(k.Fields)+2)
	set["metadata.name"] = o.GetName()
	if !k.ClusterScoped {
		set["metadata.namespace"] = o.GetNamespace()
	}
	for label, value := range k.Fields {
		set[label] = value(o)
	}
	return o.GetLabels(), set, nil
}

func (k *Kind[T]) predicate(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: k.attributes, IndexFields: k.IndexedFields}
}

// StatusREST serves /status: get, update and patch over the main kind's storage.
type StatusREST struct {
	store *genericregistry.Store
	reset rest.ResetFieldsStrategy
}

// tabledStatusREST can be printed too.
type tabledStatusREST struct {
	*StatusREST
	rest.TableConvertor
}

func newStatusREST[T Object](k *Kind[T], plain strategy[T], store *genericregistry.Store) *StatusREST {
	status := statusStrategy[T]{plain}
	s := *store
	s.UpdateStrategy, s.ResetFieldsStrategy = status, status
	s.BeginUpdate = nil // allocation belongs to the spec
	return &StatusREST{store: &s, reset: status}
}

// New implements rest.Storage.
func (r *StatusREST) New() runtime.Object { return r.store.New() }

// Destroy implements rest.Storage; the main storage owns the connection.
func (r *StatusREST) Destroy() {}

// Get implements rest.Getter, which PATCH needs.
func (r *StatusREST) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	return r.store.Get(ctx, name, o)
}

// Update implements rest.Updater; it never creates.
func (r *StatusREST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.store.Update(ctx, name, info, create, update, false, o)
}

// GetResetFields implements rest.ResetFieldsStrategy.
func (r *StatusREST) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return r.reset.GetResetFields()
}

// otherResource asks for another resource's storage options (shared storage).
type otherResource struct {
	generic.RESTOptionsGetter
	resource schema.GroupResource
}

func (o otherResource) GetRESTOptions(_ schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	return o.RESTOptionsGetter.GetRESTOptions(o.resource, example)
}

// Stored is what tests may ask of a Kind: its strategies and table without any storage.
type Stored interface {
	Any
	Strategy(typer runtime.ObjectTyper) rest.RESTCreateUpdateStrategy
	Table() rest.TableConvertor
}

// Strategy implements Stored.
func (k *Kind[T]) Strategy(typer runtime.ObjectTyper) rest.RESTCreateUpdateStrategy {
	return newStrategy(k, typer)
}

// Table implements Stored.
func (k *Kind[T]) Table() rest.TableConvertor { return newTable(k) }
