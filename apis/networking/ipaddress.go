package networking

import (
	"context"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
	"proa/apis/kind"
)

type ipAddress = *networkingv1.IPAddress

// IPAddress holds a Service's cluster IP, which is its name (KEP-1880).
func IPAddress() *kind.Kind[ipAddress] {
	return &kind.Kind[ipAddress]{
		GVK:           networkingv1.SchemeGroupVersion.WithKind("IPAddress"),
		Resource:      "ipaddresses",
		ShortNames:    []string{"ip"},
		ClusterScoped: true,
		New:           func() ipAddress { return &networkingv1.IPAddress{} },
		NewList:       func() runtime.Object { return &networkingv1.IPAddressList{} },
		ValidateName: func(name string, _ bool) (msgs []string) {
			for _, err := range validation.IsValidIP(&field.Path{}, name) {
				msgs = append(msgs, err.Detail)
			}
			return msgs
		},
		Validate: func(_ context.Context, a ipAddress) field.ErrorList {
			return validateParent(a.Spec.ParentRef, field.NewPath("spec", "parentRef"))
		},
		ValidateUpdate: func(_ context.Context, a, old ipAddress) field.ErrorList {
			return core.ValidateImmutable(a.Spec.ParentRef, old.Spec.ParentRef, field.NewPath("spec", "parentRef"))
		},
		// Upstream's table has no age.
		Columns: []kind.Column[ipAddress]{
			kind.NameColumn[ipAddress](),
			{Name: "ParentRef", Type: "string", Description: networkingv1.IPAddressSpec{}.SwaggerDoc()["parentRef"],
				Value: func(a ipAddress) any { return formatParent(a.Spec.ParentRef) }},
		},
	}
}

// validateParent: the group may be empty, as that of services is.
func validateParent(p *networkingv1.ParentReference, path *field.Path) (errs field.ErrorList) {
	if p == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	if p.Group != "" {
		errs = core.ValidateDNSSubdomain(p.Group, path.Child("group"))
	}
	errs = append(errs, requiredSegment(p.Resource, path.Child("resource"))...)
	errs = append(errs, requiredSegment(p.Name, path.Child("name"))...)
	if p.Namespace != "" {
		errs = append(errs, invalidEach(path.Child("namespace"), p.Namespace, content.IsPathSegmentName(p.Namespace))...)
	}
	return errs
}

func formatParent(p *networkingv1.ParentReference) string {
	if p == nil {
		return "<none>"
	}
	text := strings.ToLower(schema.GroupResource{Group: p.Group, Resource: p.Resource}.String())
	if p.Namespace != "" {
		text += "/" + p.Namespace
	}
	return text + "/" + p.Name
}
