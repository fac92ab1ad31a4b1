// Package discovery holds the kinds of group discovery.k8s.io.
package discovery

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any { return []kind.Any{EndpointSlice()} }

type slice = *discoveryv1.EndpointSlice

// EndpointSlice is a part of the addresses behind a Service.
func EndpointSlice() *kind.Kind[slice] {
	doc := discoveryv1.EndpointSlice{}.SwaggerDoc()
	return &kind.Kind[slice]{
		GVK:      discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
		Resource: "endpointslices",
		New:      func() slice { return &discoveryv1.EndpointSlice{} },
		NewList:  func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		Default: func(s slice) {
			for i := range s.Ports {
				if s.Ports[i].Name == nil {
					s.Ports[i].Name = ptr.To("")
				}
				if s.Ports[i].Protocol == nil {
					s.Ports[i].Protocol = ptr.To(corev1.ProtocolTCP)
				}
			}
		},
		PrepareForCreate: func(_ context.Context, s slice) { dropTopology(s, nil) },
		PrepareForUpdate: func(_ context.Context, s, old slice) { dropTopology(s, old) },
		// There is no spec: everything but metadata counts, and labels, which say
		// whose slice it is.
		Spec: func(s slice) any { return []any{s.AddressType, s.Endpoints, s.Ports, s.Labels} },
		Validate: func(_ context.Context, s slice) field.ErrorList {
			return append(validateSlice(s), validateEndpoints(s)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, s, old slice) field.ErrorList {
			errs := validateSlice(s)
			// What was accepted by older rules may stay.
			if bad := validateEndpoints(s); len(bad) > 0 && !equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
				errs = append(errs, bad...)
			}
			return append(errs, core.ValidateImmutable(s.AddressType, old.AddressType, field.NewPath("addressType"))...)
		},
		Warnings: func(_ context.Context, s, old slice) []string { return warnings(s, old == nil) },
		Columns: []kind.Column[slice]{
			kind.NameColumn[slice](),
			{Name: "AddressType", Type: "string", Description: doc["addressType"], Value: func(s slice) any { return string(s.AddressType) }},
			{Name: "Ports", Type: "string", Description: doc["ports"], Value: func(s slice) any { return formatPorts(s.Ports) }},
			{Name: "Endpoints", Type: "string", Description: doc["endpoints"], Value: func(s slice) any { return formatEndpoints(s.Endpoints) }},
			kind.AgeColumn[slice](),
		},
	}
}

// dropTopology drops writes to a field that v1 does not have for writing.
func dropTopology(s, old slice) {
	if old != nil && equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
		return
	}
	for i := range s.Endpoints {
		s.Endpoints[i].DeprecatedTopology = nil
	}
}

func warnings(s slice, created bool) (list []string) {
	if created && s.AddressType == discoveryv1.AddressTypeFQDN {
		list = append(list, fmt.Sprintf("%s: FQDN endpoints are deprecated", field.NewPath("spec", "addressType")))
	}
	// The system's own controller writes canonical addresses.
	if s.Labels[discoveryv1.LabelManagedBy] == "endpointslice-controller.k8s.io" || s.AddressType == discoveryv1.AddressTypeFQDN {
		return list
	}
	for i, e := range s.Endpoints {
		for j, a := range e.Addresses {
			list = append(list, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), a)...)
		}
	}
	return list
}

func formatPorts(ports []discoveryv1.EndpointPort) string {
	var l shortList
	for _, p := range ports {
		switch {
		case p.Port != nil:
			l.add(strconv.Itoa(int(*p.Port)))
		case p.Name != nil:
			l.add(*p.Name)
		default:
			l.add("*")
		}
	}
	return l.String()
}

func formatEndpoints(endpoints []discoveryv1.Endpoint) string {
	var l shortList
	for _, e := range endpoints {
		for _, a := range e.Addresses {
			l.add(a)
		}
	}
	return l.String()
}

// shortList shows three items and counts the rest.
type shortList struct {
	shown []string
	count int
}

func (l *shortList) add(item string) {
	if l.count++; len(l.shown) < 3 {
		l.shown = append(l.shown, item)
	}
}

func (l *shortList) String() string {
	text := strings.Join(l.shown, ",")
	switch {
	case l.count > len(l.shown):
		return fmt.Sprintf("%s + %d more...", text, l.count-len(l.shown))
	case text == "":
		return "<unset>"
	}
	return text
}
