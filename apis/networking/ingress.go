package networking

import (
	"context"
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// classAnnotation named the class before spec.ingressClassName did.
const classAnnotation = "kubernetes.io/ingress.class"

type ingress = *networkingv1.Ingress

// Ingress leads HTTP requests from outside to Services.
func Ingress() *kind.Kind[ingress] {
	return &kind.Kind[ingress]{
		GVK:              networkingv1.SchemeGroupVersion.WithKind("Ingress"),
		Resource:         "ingresses",
		ShortNames:       []string{"ing"},
		StoragePrefix:    "ingress",
		New:              func() ingress { return &networkingv1.Ingress{} },
		NewList:          func() runtime.Object { return &networkingv1.IngressList{} },
		PrepareForCreate: func(_ context.Context, i ingress) { i.Status = networkingv1.IngressStatus{} },
		PrepareForUpdate: func(_ context.Context, i, old ingress) { i.Status = old.Status },
		Spec:             func(i ingress) any { return &i.Spec },
		Validate: func(_ context.Context, i ingress) field.ErrorList {
			errs := (&ingressChecker{}).check(&i.Spec)
			// On creation only: old objects may have both.
			class, set := i.Annotations[classAnnotation]
			if name := i.Spec.IngressClassName; set && name != nil && class != *name {
				errs = append(errs, field.Invalid(field.NewPath("annotations").Child(classAnnotation), class, "must match `ingressClassName` when both are specified"))
			}
			return errs
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, i, old ingress) field.ErrorList {
			return tolerantOf(old).check(&i.Spec)
		},
		Warnings: func(_ context.Context, i, old ingress) []string {
			if _, set := i.Annotations[classAnnotation]; old == nil && set && i.Spec.IngressClassName == nil {
				return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", classAnnotation)}
			}
			return nil
		},
		Columns: []kind.Column[ingress]{
			kind.NameColumn[ingress](),
			{Name: "Class", Type: "string", Description: "The name of the IngressClass resource that should be used for additional configuration", Value: func(i ingress) any {
				if i.Spec.IngressClassName == nil {
					return "<none>"
				}
				return *i.Spec.IngressClassName
			}},
			{Name: "Hosts", Type: "string", Description: "Hosts that incoming requests are matched against before the ingress rule",
				Value: func(i ingress) any { return formatHosts(i.Spec.Rules) }},
			{Name: "Address", Type: "string", Description: "Address is a list containing ingress points for the load-balancer",
				Value: func(i ingress) any { return formatAddresses(i.Status.LoadBalancer.Ingress) }},
			{Name: "Ports", Type: "string", Description: "Ports of TLS configurations that open", Value: func(i ingress) any {
				if len(i.Spec.TLS) > 0 {
					return "80, 443"
				}
				return "80"
			}},
			kind.AgeColumn[ingress](),
		},
		Status: &kind.Status[ingress]{
			Prepare:  func(_ context.Context, i, old ingress) { i.Spec = old.Spec },
			Validate: func(_ context.Context, i, old ingress) field.ErrorList { return validateIngressStatus(i, old) },
		},
	}
}

// formatHosts shows three hosts and counts the rest.
func formatHosts(rules []networkingv1.IngressRule) string {
	const most = 3
	var hosts []string
	more := false
	for i := range rules {
		more = more || len(hosts) == most
		if !more && rules[i].Host != "" {
			hosts = append(hosts, rules[i].Host)
		}
	}
	switch text := strings.Join(hosts, ","); {
	case text == "":
		return "*"
	case more:
		return fmt.Sprintf("%s + %d more...", text, len(rules)-most)
	default:
		return text
	}
}

func formatAddresses(list []networkingv1.IngressLoadBalancerIngress) string {
	addresses := sets.New[string]()
	for _, i := range list {
		if i.IP != "" {
			addresses.Insert(i.IP)
		} else if i.Hostname != "" {
			addresses.Insert(i.Hostname)
		}
	}
	return strings.Join(sets.List(addresses), ",")
}
