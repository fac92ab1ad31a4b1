package core

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

// Service is a stable address for a set of pods. Addresses and node ports are
// allocated while it is written: service_rest.go, service_alloc.go.
func Service() *kind.Kind[*corev1.Service] {
	return &kind.Kind[*corev1.Service]{
		GVK:           corev1.SchemeGroupVersion.WithKind("Service"),
		Resource:      "services",
		ReturnDeleted: true,
		ShortNames:    []string{"svc"},
		Categories:    []string{"all"},
		StoragePrefix: "services/specs",
		New:           func() *corev1.Service { return &corev1.Service{} },
		NewList:       func() runtime.Object { return &corev1.ServiceList{} },
		Default:       defaultService,
		PrepareForCreate: func(_ context.Context, s *corev1.Service) {
			s.Status = corev1.ServiceStatus{}
		},
		PrepareForUpdate: func(_ context.Context, s, old *corev1.Service) {
			s.Status = old.Status
			dropTypeDependent(s, old)
		},
		ValidateName: apivalidation.NameIsDNSLabel,
		Validate: func(_ context.Context, s *corev1.Service) field.ErrorList {
			return validateService(s, nil)
		},
		ValidateUpdate: func(_ context.Context, s, old *corev1.Service) field.ErrorList {
			return append(validateServiceChange(s, old), validateService(s, old)...)
		},
		UpdateValidatesAlone: true,
		Warnings:             func(_ context.Context, s, _ *corev1.Service) []string { return serviceWarnings(s) },
		AllowCreateOnUpdate:  true,
		Columns:              serviceColumns(),
		Fields: map[string]func(*corev1.Service) string{
			"spec.clusterIP": func(s *corev1.Service) string { return s.Spec.ClusterIP },
			"spec.type":      func(s *corev1.Service) string { return string(s.Spec.Type) },
		},
		Status: &kind.Status[*corev1.Service]{
			Prepare: func(_ context.Context, s, old *corev1.Service) { s.Spec = old.Spec },
			Validate: func(_ context.Context, s, old *corev1.Service) field.ErrorList {
				return validateLoadBalancerStatus(s, old)
			},
		},
		Extend: extendService,
	}
}

func defaultService(s *corev1.Service) {
	spec := &s.Spec
	if spec.SessionAffinity == "" {
		spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	switch spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		spec.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		if c := spec.SessionAffinityConfig; c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
			spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
				ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(corev1.DefaultClientIPServiceAffinitySeconds)},
			}
		}
	}
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	if externallyAccessible(s) && spec.ExternalTrafficPolicy == "" {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	if spec.InternalTrafficPolicy == nil && hasCluster(spec.Type) {
		spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		if spec.AllocateLoadBalancerNodePorts == nil {
			spec.AllocateLoadBalancerNodePorts = ptr.To(true)
		}
		for i := range s.Status.LoadBalancer.Ingress {
			if in := &s.Status.LoadBalancer.Ingress[i]; in.IP != "" && in.IPMode == nil {
				in.IPMode = ptr.To(corev1.LoadBalancerIPModeVIP)
			}
		}
	}
}

// hasCluster: types that have a cluster address.
func hasCluster(t corev1.ServiceType) bool {
	return t == corev1.ServiceTypeClusterIP || t == corev1.ServiceTypeNodePort || t == corev1.ServiceTypeLoadBalancer
}

func externallyAccessible(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer || s.Spec.Type == corev1.ServiceTypeNodePort ||
		s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0
}

// isHeadless: without a cluster address on purpose.
func isHeadless(s *corev1.Service) bool {
	return len(s.Spec.ClusterIPs) == 1 && s.Spec.ClusterIPs[0] == corev1.ClusterIPNone
}

func serviceColumns() []kind.Column[*corev1.Service] {
	doc := corev1.ServiceSpec{}.SwaggerDoc()
	return []kind.Column[*corev1.Service]{
		kind.NameColumn[*corev1.Service](),
		{Name: "Type", Type: "string", Description: doc["type"], Value: func(s *corev1.Service) any { return string(s.Spec.Type) }},
		{Name: "Cluster-IP", Type: "string", Description: doc["clusterIP"], Value: func(s *corev1.Service) any {
			if len(s.Spec.ClusterIPs) > 0 {
				return s.Spec.ClusterIPs[0]
			}
			return "<none>"
		}},
		{Name: "External-IP", Type: "string", Description: doc["externalIPs"], Value: func(s *corev1.Service) any { return externalAddresses(s) }},
		{Name: "Port(s)", Type: "string", Description: doc["ports"], Value: func(s *corev1.Service) any { return formatPorts(s.Spec.Ports) }},
		kind.AgeColumn[*corev1.Service](),
		{Name: "Selector", Type: "string", Priority: 1, Description: doc["selector"], Value: func(s *corev1.Service) any { return FormatLabels(s.Spec.Selector) }},
	}
}

func externalAddresses(s *corev1.Service) string {
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		return orNone(strings.Join(s.Spec.ExternalIPs, ","))
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		points := sets.New[string]()
		for _, in := range s.Status.LoadBalancer.Ingress {
			if at := firstNonEmpty(in.IP, in.Hostname); at != "" {
				points.Insert(at)
			}
		}
		if all := append(sets.List(points), s.Spec.ExternalIPs...); len(all) > 0 {
			return strings.Join(all, ",")
		}
		return "<pending>"
	}
	return "<unknown>"
}

func formatPorts(ports []corev1.ServicePort) string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if p.NodePort > 0 {
			list[i] = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		}
	}
	return orNone(strings.Join(list, ","))
}

func serviceWarnings(s *corev1.Service) (warnings []string) {
	spec := field.NewPath("spec")
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	addresses := func(path *field.Path, list []string, check func(*field.Path, string) []string) {
		for i, a := range list {
			warnings = append(warnings, check(path.Index(i), a)...)
		}
	}
	if _, ok := s.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]; ok {
		warn("annotation %s is deprecated, please use %s instead", corev1.DeprecatedAnnotationTopologyAwareHints, corev1.AnnotationTopologyMode)
	}
	if s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
		addresses(spec.Child("clusterIPs"), s.Spec.ClusterIPs, validation.GetWarningsForIP)
	}
	headless := s.Spec.Type == corev1.ServiceTypeClusterIP && s.Spec.ClusterIP == corev1.ClusterIPNone
	if headless {
		if s.Spec.LoadBalancerIP != "" {
			warn("spec.loadBalancerIP is ignored for headless services")
		}
		if len(s.Spec.ExternalIPs) > 0 {
			warn("spec.externalIPs is ignored for headless services")
		}
		if s.Spec.SessionAffinity != corev1.ServiceAffinityNone {
			warn("spec.SessionAffinity is ignored for headless services")
		}
	}
	addresses(spec.Child("externalIPs"), s.Spec.ExternalIPs, validation.GetWarningsForIP)
	named := s.Spec.Type == corev1.ServiceTypeExternalName
	if len(s.Spec.ExternalIPs) > 0 && !headless && !named {
		warn("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
	}
	if s.Spec.LoadBalancerIP != "" {
		warnings = append(warnings, validation.GetWarningsForIP(spec.Child("loadBalancerIP"), s.Spec.LoadBalancerIP)...)
	}
	addresses(spec.Child("loadBalancerSourceRanges"), s.Spec.LoadBalancerSourceRanges, validation.GetWarningsForCIDR)
	if named && len(s.Spec.ExternalIPs) > 0 {
		warn("spec.externalIPs is ignored when spec.type is %q", corev1.ServiceTypeExternalName)
	}
	if !named && s.Spec.ExternalName != "" {
		warn("spec.externalName is ignored when spec.type is not %q", corev1.ServiceTypeExternalName)
	}
	if ptr.Deref(s.Spec.TrafficDistribution, "") == corev1.ServiceTrafficDistributionPreferClose {
		warn("spec.trafficDistribution: %q is deprecated; use %q", corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone)
	}
	return warnings
}
