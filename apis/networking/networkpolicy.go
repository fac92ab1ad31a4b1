package networking

import (
	"context"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

type networkPolicy = *networkingv1.NetworkPolicy

// NetworkPolicy says which traffic pods may have.
func NetworkPolicy() *kind.Kind[networkPolicy] {
	return &kind.Kind[networkPolicy]{
		GVK:              networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
		Resource:         "networkpolicies",
		ShortNames:       []string{"netpol"},
		New:              func() networkPolicy { return &networkingv1.NetworkPolicy{} },
		NewList:          func() runtime.Object { return &networkingv1.NetworkPolicyList{} },
		Default:          defaultNetworkPolicy,
		PrepareForCreate: func(_ context.Context, p networkPolicy) { p.Generation = 1 },
		PrepareForUpdate: func(_ context.Context, p, old networkPolicy) {
			p.Generation = old.Generation
			// Not semantically: no rules and an empty list of them count as different.
			if !reflect.DeepEqual(p.Spec, old.Spec) {
				p.Generation++
			}
		},
		Validate: func(_ context.Context, p networkPolicy) field.ErrorList {
			return (&policyChecker{}).check(&p.Spec)
		},
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, p, old networkPolicy) field.ErrorList {
			c := policyChecker{selectors: metav1validation.LabelSelectorValidationOptions{
				AllowInvalidLabelValueInSelector: len(metav1validation.ValidateLabelSelector(&old.Spec.PodSelector, metav1validation.LabelSelectorValidationOptions{}, nil)) > 0,
			}}
			eachBlock(old, func(b *networkingv1.IPBlock, _ *field.Path) {
				c.cidrs = append(append(c.cidrs, b.CIDR), b.Except...)
			})
			return c.check(&p.Spec)
		},
		Warnings: func(_ context.Context, p, _ networkPolicy) (warnings []string) {
			eachBlock(p, func(b *networkingv1.IPBlock, at *field.Path) {
				warnings = append(warnings, validation.GetWarningsForCIDR(at.Child("cidr"), b.CIDR)...)
				for i, e := range b.Except {
					warnings = append(warnings, validation.GetWarningsForCIDR(at.Child("except").Index(i), e)...)
				}
			})
			return warnings
		},
		Columns: []kind.Column[networkPolicy]{
			kind.NameColumn[networkPolicy](),
			{Name: "Pod-Selector", Type: "string", Description: networkingv1.NetworkPolicySpec{}.SwaggerDoc()["podSelector"],
				Value: func(p networkPolicy) any { return metav1.FormatLabelSelector(&p.Spec.PodSelector) }},
			kind.AgeColumn[networkPolicy](),
		},
	}
}

func defaultNetworkPolicy(p networkPolicy) {
	s := &p.Spec
	if len(s.PolicyTypes) == 0 {
		s.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(s.Egress) > 0 {
			s.PolicyTypes = append(s.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	protocols := func(ports []networkingv1.NetworkPolicyPort) {
		for i := range ports {
			if ports[i].Protocol == nil {
				ports[i].Protocol = ptr.To(corev1.ProtocolTCP)
			}
		}
	}
	for i := range s.Ingress {
		protocols(s.Ingress[i].Ports)
	}
	for i := range s.Egress {
		protocols(s.Egress[i].Ports)
	}
}

// eachBlock visits the IP blocks of all rules.
func eachBlock(p networkPolicy, visit func(*networkingv1.IPBlock, *field.Path)) {
	peers := func(list []networkingv1.NetworkPolicyPeer, path *field.Path) {
		for i := range list {
			if b := list[i].IPBlock; b != nil {
				visit(b, path.Index(i).Child("ipBlock"))
			}
		}
	}
	for i := range p.Spec.Ingress {
		peers(p.Spec.Ingress[i].From, field.NewPath("spec", "ingress").Index(i).Child("from"))
	}
	for i := range p.Spec.Egress {
		peers(p.Spec.Egress[i].To, field.NewPath("spec", "egress").Index(i).Child("to"))
	}
}

// policyChecker validates a policy; what an old one had may stay.
type policyChecker struct {
	selectors metav1validation.LabelSelectorValidationOptions
	cidrs     []string
}

func (c *policyChecker) check(s *networkingv1.NetworkPolicySpec) field.ErrorList {
	spec := field.NewPath("spec")
	errs := metav1validation.ValidateLabelSelector(&s.PodSelector, c.selectors, spec.Child("podSelector"))
	rule := func(ports []networkingv1.NetworkPolicyPort, peers []networkingv1.NetworkPolicyPeer, path *field.Path, peersField string) {
		for i := range ports {
			errs = append(errs, validatePolicyPort(&ports[i], path.Child("ports").Index(i))...)
		}
		for i := range peers {
			errs = append(errs, c.peer(&peers[i], path.Child(peersField).Index(i))...)
		}
	}
	for i, r := range s.Ingress {
		rule(r.Ports, r.From, spec.Child("ingress").Index(i), "from")
	}
	for i, r := range s.Egress {
		rule(r.Ports, r.To, spec.Child("egress").Index(i), "to")
	}
	types := spec.Child("policyTypes")
	if len(s.PolicyTypes) > 2 {
		return append(errs, field.Invalid(types, &s.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, t := range s.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			errs = append(errs, field.NotSupported(types.Index(i), t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}))
		}
	}
	return errs
}

func (c *policyChecker) peer(p *networkingv1.NetworkPolicyPeer, path *field.Path) (errs field.ErrorList) {
	count := 0
	selector := func(s *metav1.LabelSelector, name string) {
		if s != nil {
			count++
			errs = append(errs, metav1validation.ValidateLabelSelector(s, c.selectors, path.Child(name))...)
		}
	}
	selector(p.PodSelector, "podSelector")
	selector(p.NamespaceSelector, "namespaceSelector")
	if p.IPBlock != nil {
		count++
		errs = append(errs, c.block(p.IPBlock, path.Child("ipBlock"))...)
	}
	switch {
	case count == 0:
		errs = append(errs, field.Required(path, "must specify a peer"))
	case count > 1 && p.IPBlock != nil:
		errs = append(errs, field.Forbidden(path, "may not specify both ipBlock and another peer"))
	}
	return errs
}

func (c *policyChecker) block(b *networkingv1.IPBlock, path *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(path.Child("cidr"), "")}
	}
	errs := validation.IsValidCIDRForLegacyField(path.Child("cidr"), b.CIDR, true, c.cidrs)
	_, outer, err := netutils.ParseCIDRSloppy(b.CIDR)
	if err != nil {
		return errs // said already
	}
	for i, e := range b.Except {
		at := path.Child("except").Index(i)
		errs = append(errs, validation.IsValidCIDRForLegacyField(at, e, true, c.cidrs)...)
		_, inner, err := netutils.ParseCIDRSloppy(e)
		if err != nil {
			continue
		}
		outerBits, _ := outer.Mask.Size()
		innerBits, _ := inner.Mask.Size()
		if !outer.Contains(inner.IP) || outerBits >= innerBits {
			errs = append(errs, field.Invalid(at, e, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}

func validatePolicyPort(p *networkingv1.NetworkPolicyPort, path *field.Path) (errs field.ErrorList) {
	if p.Protocol != nil {
		switch *p.Protocol {
		case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		default:
			errs = append(errs, field.NotSupported(path.Child("protocol"), *p.Protocol, []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}))
		}
	}
	port, end := path.Child("port"), path.Child("endPort")
	switch {
	case p.Port == nil:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is not specified"))
		}
	case p.Port.Type == intstr.Int:
		errs = append(errs, invalidEach(port, p.Port.IntVal, validation.IsValidPortNum(int(p.Port.IntVal)))...)
		if p.EndPort == nil {
			break
		}
		if *p.EndPort < p.Port.IntVal {
			errs = append(errs, field.Invalid(end, p.Port.IntVal, "must be greater than or equal to `port`"))
		}
		errs = append(errs, invalidEach(end, *p.EndPort, validation.IsValidPortNum(int(*p.EndPort)))...)
	default:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric"))
		}
		errs = append(errs, invalidEach(port, p.Port.StrVal, validation.IsValidPortName(p.Port.StrVal))...)
	}
	return errs
}
