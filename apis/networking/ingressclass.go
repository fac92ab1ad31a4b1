package networking

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

const maxControllerLength = 250

type ingressClass = *networkingv1.IngressClass

// IngressClass names the controller that makes Ingresses work.
func IngressClass() *kind.Kind[ingressClass] {
	return &kind.Kind[ingressClass]{
		GVK:           networkingv1.SchemeGroupVersion.WithKind("IngressClass"),
		Resource:      "ingressclasses",
		ClusterScoped: true,
		New:           func() ingressClass { return &networkingv1.IngressClass{} },
		NewList:       func() runtime.Object { return &networkingv1.IngressClassList{} },
		Default: func(c ingressClass) {
			if p := c.Spec.Parameters; p != nil && p.Scope == nil {
				p.Scope = ptr.To(networkingv1.IngressClassParametersReferenceScopeCluster)
			}
		},
		Spec:     func(c ingressClass) any { return &c.Spec },
		Validate: func(_ context.Context, c ingressClass) field.ErrorList { return validateIngressClass(&c.Spec) },
		ValidateUpdate: func(_ context.Context, c, old ingressClass) field.ErrorList {
			return core.ValidateImmutable(c.Spec.Controller, old.Spec.Controller, field.NewPath("spec", "controller"))
		},
		Columns: []kind.Column[ingressClass]{
			{Name: "Name", Type: "string", Format: "name", Description: kind.NameColumn[ingressClass]().Description, Value: func(c ingressClass) any {
				if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
					return c.Name + " (default)"
				}
				return c.Name
			}},
			{Name: "Controller", Type: "string", Description: "Controller that is responsible for handling this class",
				Value: func(c ingressClass) any { return c.Spec.Controller }},
			{Name: "Parameters", Type: "string", Description: "A reference to a resource with additional parameters",
				Value: func(c ingressClass) any { return formatParameters(c.Spec.Parameters) }},
			kind.AgeColumn[ingressClass](),
		},
	}
}

func formatParameters(p *networkingv1.IngressClassParametersReference) string {
	switch {
	case p == nil:
		return "<none>"
	case p.APIGroup != nil:
		return p.Kind + "." + *p.APIGroup + "/" + p.Name
	}
	return p.Kind + "/" + p.Name
}

func validateIngressClass(s *networkingv1.IngressClassSpec) (errs field.ErrorList) {
	path := field.NewPath("spec", "controller")
	if len(s.Controller) > maxControllerLength {
		errs = append(errs, field.TooLong(path, "" /* the value is not shown */, maxControllerLength))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(path, s.Controller)...)
	return append(errs, validateParameters(s.Parameters, field.NewPath("spec", "parameters"))...)
}

func validateParameters(p *networkingv1.IngressClassParametersReference, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := validateLocalReference(p.APIGroup, p.Kind, p.Name, path)
	if p.Scope == nil {
		return append(errs, field.Required(path.Child("scope"), ""))
	}
	namespace := path.Child("namespace")
	switch *p.Scope {
	case networkingv1.IngressClassParametersReferenceScopeNamespace:
		if p.Namespace == nil {
			return append(errs, field.Required(namespace, "`parameters.scope` is set to 'Namespace'"))
		}
		return append(errs, core.ValidateDNSLabel(*p.Namespace, namespace)...)
	case networkingv1.IngressClassParametersReferenceScopeCluster:
		if p.Namespace != nil {
			errs = append(errs, field.Forbidden(namespace, "`parameters.scope` is set to 'Cluster'"))
		}
		return errs
	}
	return append(errs, field.NotSupported(path.Child("scope"), *p.Scope, []string{
		networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace}))
}
