package resource

import (
	"context"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/core"
	"proa/apis/kind"
)

type template = *resourcev1.ResourceClaimTemplate

// ResourceClaimTemplate is what claims of single pods are made from.
func ResourceClaimTemplate() *kind.Kind[template] {
	var may access
	validate := func(t template) field.ErrorList {
		path := field.NewPath("spec")
		errs := core.ValidateObjectTemplateMeta(&t.Spec.ObjectMeta, path.Child("metadata"))
		return append(errs, validateClaim(&t.Spec.Spec.Devices, path.Child("spec", "devices"))...)
	}
	return &kind.Kind[template]{
		GVK:           resourcev1.SchemeGroupVersion.WithKind("ResourceClaimTemplate"),
		Resource:      "resourceclaimtemplates",
		ReturnDeleted: true,
		New:           func() template { return &resourcev1.ResourceClaimTemplate{} },
		NewList:       func() runtime.Object { return &resourcev1.ResourceClaimTemplateList{} },
		Default:       func(t template) { defaultClaim(&t.Spec.Spec.Devices) },
		Validate: func(ctx context.Context, t template) field.ErrorList {
			return append(may.admin(ctx, t.Namespace, requestsAdmin(t.Spec.Spec.Devices.Requests)), validate(t)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, t, old template) field.ErrorList {
			return append(validate(t), core.ValidateImmutable(t.Spec, old.Spec, field.NewPath("spec"))...)
		},
		Columns: []kind.Column[template]{kind.NameColumn[template](), kind.AgeColumn[template]()},
		Extend: func(d *kind.Deps, _ *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			may = access{client: d.Client, authorizer: d.Authorizer}
			return nil, nil, nil
		},
	}
}
