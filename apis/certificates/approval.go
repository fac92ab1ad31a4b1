package certificates

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

// approval serves /approval: only conditions are written through it.
type approval struct{ store *genericregistry.Store }

func newApproval(r *kind.REST) *approval {
	s := *r.Store
	strategy := approvalStrategy{s.UpdateStrategy}
	s.UpdateStrategy, s.ResetFieldsStrategy = strategy, strategy
	return &approval{&s}
}

var _ rest.Patcher = &approval{}

func (a *approval) New() runtime.Object { return &csr{} }
func (a *approval) Destroy()            {}

// Get implements rest.Getter, for PATCH.
func (a *approval) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	return a.store.Get(ctx, name, o)
}

// Update implements rest.Updater; it never creates.
func (a *approval) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return a.store.Update(ctx, name, info, create, update, false, o)
}

// GetResetFields implements rest.ResetFieldsStrategy.
func (a *approval) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return a.store.GetResetFields()
}

type approvalStrategy struct{ rest.RESTUpdateStrategy }

func (approvalStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	n, ok := obj.(*csr)
	o, ok2 := old.(*csr)
	if !ok || !ok2 {
		return
	}
	stampConditions(n, o, metav1.Now())
	conditions := n.Status.Conditions
	n.Spec, n.Status = o.Spec, o.Status
	n.Status.Conditions = conditions
}

func (approvalStrategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	n, ok := obj.(*csr)
	o, ok2 := old.(*csr)
	if !ok || !ok2 {
		return field.ErrorList{field.InternalError(nil, nil)}
	}
	return append(validation.ValidateObjectMetaUpdate(&n.ObjectMeta, &o.ObjectMeta, field.NewPath("metadata")), validateUpdate(n, o, writer{decisions: true})...)
}

func (approvalStrategy) AllowCreateOnUpdate(context.Context) bool { return false }

func (approvalStrategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return map[fieldpath.APIVersion]*fieldpath.Set{
		"certificates.k8s.io/v1": fieldpath.NewSet(fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("status", "certificate")),
	}
}
