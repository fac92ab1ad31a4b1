package networking

import (
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

const notDNSName = "must be a DNS name, not an IP address"

// ingressChecker validates an Ingress's spec. What older rules let in may stay.
type ingressChecker struct {
	anySecretName, anyWildcardRule bool
}

// tolerantOf allows what the old object has already.
func tolerantOf(old ingress) *ingressChecker {
	c, strict := &ingressChecker{}, &ingressChecker{}
	for _, t := range old.Spec.TLS {
		c.anySecretName = c.anySecretName || len(validateTLSSecret(t.SecretName)) > 0
	}
	for i := range old.Spec.Rules {
		r := &old.Spec.Rules[i]
		c.anyWildcardRule = c.anyWildcardRule || strings.Contains(r.Host, "*") && len(strict.paths(r, nil)) > 0
	}
	return c
}

func validateTLSSecret(name string) []string {
	if name == "" {
		return nil
	}
	return apivalidation.NameIsDNSSubdomain(name, false)
}

func (c *ingressChecker) check(s *networkingv1.IngressSpec) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		errs = append(errs, field.Invalid(spec, s.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if s.DefaultBackend != nil {
		errs = append(errs, validateBackend(s.DefaultBackend, spec.Child("defaultBackend"))...)
	}
	for i := range s.Rules {
		errs = append(errs, c.rule(&s.Rules[i], spec.Child("rules").Index(i))...)
	}
	for i, t := range s.TLS {
		at := spec.Child("tls").Index(i)
		for j, host := range t.Hosts {
			errs = append(errs, validateHost(host, at.Child("hosts").Index(j))...)
		}
		if !c.anySecretName {
			errs = append(errs, invalidEach(at.Child("secretName"), t.SecretName, validateTLSSecret(t.SecretName))...)
		}
	}
	if name := s.IngressClassName; name != nil {
		errs = append(errs, invalidEach(spec.Child("ingressClassName"), *name, apivalidation.NameIsDNSSubdomain(*name, false))...)
	}
	return errs
}

func validateHost(host string, path *field.Path) field.ErrorList {
	if strings.Contains(host, "*") {
		return invalidEach(path, host, validation.IsWildcardDNS1123Subdomain(host))
	}
	return invalidEach(path, host, validation.IsDNS1123Subdomain(host))
}

func (c *ingressChecker) rule(r *networkingv1.IngressRule, path *field.Path) (errs field.ErrorList) {
	if r.Host != "" {
		if netutils.ParseIPSloppy(r.Host) != nil {
			errs = append(errs, field.Invalid(path.Child("host"), r.Host, notDNSName))
		}
		errs = append(errs, validateHost(r.Host, path.Child("host"))...)
	}
	if strings.Contains(r.Host, "*") && c.anyWildcardRule {
		return errs
	}
	return append(errs, c.paths(r, path)...)
}

func (c *ingressChecker) paths(r *networkingv1.IngressRule, path *field.Path) (errs field.ErrorList) {
	if r.HTTP == nil {
		return nil
	}
	paths := path.Child("http", "paths")
	if len(r.HTTP.Paths) == 0 {
		errs = append(errs, field.Required(paths, ""))
	}
	for i := range r.HTTP.Paths {
		errs = append(errs, validateHTTPPath(&r.HTTP.Paths[i], paths.Index(i))...)
	}
	return errs
}

func validateHTTPPath(p *networkingv1.HTTPIngressPath, at *field.Path) (errs field.ErrorList) {
	if p.PathType == nil {
		return field.ErrorList{field.Required(at.Child("pathType"), "pathType must be specified")}
	}
	path := at.Child("path")
	absolute := func() {
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(path, p.Path, "must be an absolute path"))
		}
	}
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		absolute()
		for _, s := range []string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(p.Path, s) {
				errs = append(errs, field.Invalid(path, p.Path, fmt.Sprintf("must not contain '%s'", s)))
			}
		}
		for _, s := range []string{"/..", "/."} {
			if strings.HasSuffix(p.Path, s) {
				errs = append(errs, field.Invalid(path, p.Path, fmt.Sprintf("cannot end with '%s'", s)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" {
			absolute()
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("pathType"), *p.PathType,
			[]networkingv1.PathType{networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix}))
	}
	return append(errs, validateBackend(&p.Backend, at.Child("backend"))...)
}

func validateBackend(b *networkingv1.IngressBackend, path *field.Path) (errs field.ErrorList) {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(path, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return validateLocalReference(b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name, path.Child("resource"))
	case b.Service == nil:
		return field.ErrorList{field.Invalid(path, "", "resource or service backend is required")}
	}
	name, port := path.Child("service", "name"), path.Child("service", "port")
	if b.Service.Name == "" {
		errs = append(errs, field.Required(name, ""))
	} else {
		errs = append(errs, invalidEach(name, b.Service.Name, apivalidation.NameIsDNSLabel(b.Service.Name, false))...)
	}
	switch p := b.Service.Port; {
	case p.Name != "" && p.Number != 0:
		errs = append(errs, field.Invalid(path, "", "cannot set both port name & port number"))
	case p.Name != "":
		errs = append(errs, invalidEach(port.Child("name"), p.Name, validation.IsValidPortName(p.Name))...)
	case p.Number != 0:
		errs = append(errs, invalidEach(port.Child("number"), p.Number, validation.IsValidPortNum(int(p.Number)))...)
	default:
		errs = append(errs, field.Required(path, "port name or number is required"))
	}
	return errs
}

func validateIngressStatus(i, old ingress) (errs field.ErrorList) {
	var had []string
	for _, l := range old.Status.LoadBalancer.Ingress {
		if l.IP != "" {
			had = append(had, l.IP)
		}
	}
	for n, l := range i.Status.LoadBalancer.Ingress {
		at := field.NewPath("status", "loadBalancer", "ingress").Index(n)
		if l.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(at.Child("ip"), l.IP, true, had)...)
		}
		if l.Hostname != "" {
			errs = append(errs, invalidEach(at.Child("hostname"), l.Hostname, validation.IsDNS1123Subdomain(l.Hostname))...)
			if netutils.ParseIPSloppy(l.Hostname) != nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), l.Hostname, notDNSName))
			}
		}
	}
	return errs
}
