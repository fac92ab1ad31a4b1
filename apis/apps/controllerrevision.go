package apps

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
	"proa/apis/kind"
)

type revision = *appsv1.ControllerRevision

// ControllerRevision is a snapshot of a controller's state, for rolling back.
func ControllerRevision() *kind.Kind[revision] {
	return &kind.Kind[revision]{
		GVK:      appsv1.SchemeGroupVersion.WithKind("ControllerRevision"),
		Resource: "controllerrevisions",
		New:      func() revision { return &appsv1.ControllerRevision{} },
		NewList:  func() runtime.Object { return &appsv1.ControllerRevisionList{} },
		Validate: func(_ context.Context, r revision) field.ErrorList {
			return append(core.ValidateNonnegative(r.Revision, field.NewPath("revision")), validateRevisionData(r)...)
		},
		ValidateUpdate: func(_ context.Context, r, old revision) field.ErrorList {
			errs := append(core.ValidateMeta(r, true), core.ValidateNonnegative(r.Revision, field.NewPath("revision"))...)
			return append(errs, core.ValidateImmutable(r.Data, old.Data, field.NewPath("data"))...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		Columns: []kind.Column[revision]{
			kind.NameColumn[revision](),
			{Name: "Controller", Type: "string", Description: "Controller of the object", Value: func(r revision) any { return controllerOf(r) }},
			{Name: "Revision", Type: "string", Description: appsv1.ControllerRevision{}.SwaggerDoc()["revision"], Value: func(r revision) any { return r.Revision }},
			kind.AgeColumn[revision](),
		},
	}
}

func validateRevisionData(r revision) field.ErrorList {
	path := field.NewPath("data")
	if r.Data.Raw == nil {
		return field.ErrorList{field.Required(path, "data is mandatory")}
	}
	var v any
	if err := json.Unmarshal(r.Data.Raw, &v); err != nil {
		return field.ErrorList{field.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data: %v", err))}
	}
	switch v.(type) {
	case nil:
		return field.ErrorList{field.Required(path, "data is mandatory")}
	case map[string]any:
		return nil
	}
	return field.ErrorList{field.Required(path, "data must be a valid JSON object")}
}

// controllerOf names the owning controller as kubectl does ("daemonset.apps/agent").
func controllerOf(r revision) string {
	ref := metav1.GetControllerOf(r)
	if ref == nil {
		return "<none>"
	}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return "<none>"
	}
	return strings.ToLower(gv.WithKind(ref.Kind).GroupKind().String()) + "/" + ref.Name
}
