package core

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"proa/apis/kind"
)

// Endpoints are the addresses behind a Service, the older form of EndpointSlices.
func Endpoints() *kind.Kind[*corev1.Endpoints] {
	return &kind.Kind[*corev1.Endpoints]{
		GVK:                  corev1.SchemeGroupVersion.WithKind("Endpoints"),
		Resource:             "endpoints",
		ShortNames:           []string{"ep"},
		StoragePrefix:        "services/endpoints",
		New:                  func() *corev1.Endpoints { return &corev1.Endpoints{} },
		NewList:              func() runtime.Object { return &corev1.EndpointsList{} },
		Default:              defaultEndpoints,
		Validate:             func(_ context.Context, e *corev1.Endpoints) field.ErrorList { return validateSubsets(e.Subsets) },
		ValidateUpdate:       validateEndpointsUpdate,
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		Warnings:             func(_ context.Context, e, _ *corev1.Endpoints) []string { return endpointsWarnings(e) },
		AllowCreateOnUpdate:  true,
		Columns: []kind.Column[*corev1.Endpoints]{
			kind.NameColumn[*corev1.Endpoints](),
			{Name: "Endpoints", Type: "string", Description: corev1.Endpoints{}.SwaggerDoc()["subsets"],
				Value: func(e *corev1.Endpoints) any { return formatSubsets(e.Subsets) }},
			kind.AgeColumn[*corev1.Endpoints](),
		},
	}
}

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			if p := &e.Subsets[i].Ports[j]; p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
		}
	}
}

// validateEndpointsUpdate lets objects be updated that were accepted by older rules.
func validateEndpointsUpdate(_ context.Context, e, old *corev1.Endpoints) field.ErrorList {
	errs := validateSubsets(e.Subsets)
	if len(errs) > 0 && equality.Semantic.DeepEqual(e.Subsets, old.Subsets) {
		return nil
	}
	return errs
}

func validateSubsets(subsets []corev1.EndpointSubset) (errs field.ErrorList) {
	for i := range subsets {
		s, path := &subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(path, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range s.Addresses {
			errs = append(errs, validateEndpointAddress(&s.Addresses[j], path.Child("addresses").Index(j))...)
		}
		for j := range s.NotReadyAddresses {
			errs = append(errs, validateEndpointAddress(&s.NotReadyAddresses[j], path.Child("notReadyAddresses").Index(j))...)
		}
		for j := range s.Ports {
			errs = append(errs, validateEndpointPort(&s.Ports[j], len(s.Ports) > 1, path.Child("ports").Index(j))...)
		}
	}
	return errs
}

func validateEndpointAddress(a *corev1.EndpointAddress, path *field.Path) field.ErrorList {
	errs := validation.IsValidIPForLegacyField(path.Child("ip"), a.IP, true, nil)
	if a.Hostname != "" {
		errs = append(errs, ValidateDNSLabel(a.Hostname, path.Child("hostname"))...)
	}
	if a.NodeName != nil {
		errs = append(errs, ValidateDNSSubdomain(*a.NodeName, path.Child("nodeName"))...)
	}
	return append(errs, ValidateEndpointIP(a.IP, path.Child("ip"))...)
}

// ValidateEndpointIP refuses addresses that traffic must not be sent to: they
// would reach the node itself, not an endpoint.
func ValidateEndpointIP(address string, path *field.Path) (errs field.ErrorList) {
	ip := netutils.ParseIPSloppy(address)
	if ip == nil {
		return field.ErrorList{field.Invalid(path, address, "must be a valid IP address")}
	}
	if ip.IsUnspecified() {
		errs = append(errs, field.Invalid(path, address, fmt.Sprintf("may not be unspecified (%v)", address)))
	}
	if ip.IsLoopback() {
		errs = append(errs, field.Invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
	}
	if ip.IsLinkLocalUnicast() {
		errs = append(errs, field.Invalid(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
	}
	if ip.IsLinkLocalMulticast() {
		errs = append(errs, field.Invalid(path, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
	}
	return errs
}

func validateEndpointPort(p *corev1.EndpointPort, nameRequired bool, path *field.Path) (errs field.ErrorList) {
	if nameRequired && p.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else if p.Name != "" {
		errs = append(errs, ValidateDNSLabel(p.Name, path.Child("name"))...)
	}
	errs = append(errs, validPort(p.Port, path.Child("port"))...)
	errs = append(errs, validateProtocol(p.Protocol, path.Child("protocol"))...)
	if p.AppProtocol != nil {
		errs = append(errs, ValidateQualifiedName(*p.AppProtocol, path.Child("appProtocol"))...)
	}
	return errs
}

func validateProtocol(p corev1.Protocol, path *field.Path) field.ErrorList {
	return oneOf(p, path, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
}

func endpointsWarnings(e *corev1.Endpoints) (warnings []string) {
	if e.Labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller" {
		return nil
	}
	for i, s := range e.Subsets {
		path := field.NewPath("subsets").Index(i)
		for j := range s.Addresses {
			warnings = append(warnings, validation.GetWarningsForIP(path.Child("addresses").Index(j).Child("ip"), s.Addresses[j].IP)...)
		}
		for j := range s.NotReadyAddresses {
			warnings = append(warnings, validation.GetWarningsForIP(path.Child("notReadyAddresses").Index(j).Child("ip"), s.NotReadyAddresses[j].IP)...)
		}
	}
	return warnings
}

// formatSubsets lists at most three endpoints.
func formatSubsets(subsets []corev1.EndpointSubset) string {
	if len(subsets) == 0 {
		return "<none>"
	}
	const most = 3
	var shown []string
	count := 0
	add := func(s string) {
		if count++; len(shown) < most {
			shown = append(shown, s)
		}
	}
	for _, s := range subsets {
		if len(s.Ports) == 0 {
			for _, a := range s.Addresses {
				add(a.IP)
			}
		}
		for _, p := range s.Ports {
			for _, a := range s.Addresses {
				add(net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	list := strings.Join(shown, ",")
	if count > most {
		return fmt.Sprintf("%s + %d more...", list, count-most)
	}
	return list
}
