package kind

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Description implements Any.
func (v *Virtual) Description() Description {
	d := Description{GVK: v.GVK, Resource: v.Resource}
	if v.Prototype != nil {
		d.New = func() runtime.Object { return v.Prototype.DeepCopyObject() }
	}
	return d
}

// Register implements Any.
func (v *Virtual) Register(scheme *runtime.Scheme) error {
	if v.Default != nil && v.Prototype != nil {
		scheme.AddTypeDefaultingFunc(v.Prototype, func(o any) { v.Default(o.(runtime.Object)) })
	}
	return nil
}

// Build implements Any.
func (v *Virtual) Build(d *Deps) (map[string]rest.Storage, error) {
	s, err := v.New(d)
	if err != nil {
		return nil, fmt.Errorf("storage of %s: %w", v.Resource, err)
	}
	return map[string]rest.Storage{v.Resource: s}, nil
}

func eachItem(list runtime.Object, f func(runtime.Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error { f(o); return nil })
}
