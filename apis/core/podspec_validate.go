package core

import (
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Limits of a pod's DNS configuration.
const (
	maxNameservers = 3
	maxSearchPaths = 32
	maxSearchChars = 2048
)

// podChecker validates one pod spec; the parts are spread over files by concept.
type podChecker struct {
	spec *corev1.PodSpec
	// meta is the pod's metadata; nil for templates, whose pods' names are not known.
	meta *metav1.ObjectMeta
	// pod tells a pod from a template, in which some things may be left open.
	pod bool
	// volumes are the well-formed ones, by name.
	volumes map[string]corev1.VolumeSource
	claims  map[string]bool
	lenient lenience
	errs    field.ErrorList
}

func (c *podChecker) add(errs ...*field.Error) { c.errs = append(c.errs, errs...) }

// validatePodSpec checks a pod's spec (pod=true) or a template's.
func validatePodSpec(s *corev1.PodSpec, meta *metav1.ObjectMeta, l lenience, path *field.Path, pod bool) field.ErrorList {
	c := &podChecker{spec: s, meta: meta, pod: pod, lenient: l}
	if s.TerminationGracePeriodSeconds == nil {
		c.add(field.Required(path.Child("terminationGracePeriodSeconds"), ""))
	}
	c.checkVolumes(path.Child("volumes"))
	c.checkResourceClaims(path.Child("resourceClaims"))
	c.checkContainers(path)
	if s.Resources != nil {
		c.add(validatePodResources(s, c.claims, l.hugePages, path.Child("resources"))...)
	}
	c.checkHostNetwork(path)
	c.add(oneOf(s.RestartPolicy, path.Child("restartPolicy"), corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	c.add(oneOf(s.DNSPolicy, path.Child("dnsPolicy"), corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)...)
	c.add(metav1validation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
	c.add(validatePodSecurityContext(s, l, path.Child("securityContext"))...)
	c.add(validateAffinity(s.Affinity, l, path.Child("affinity"))...)
	c.add(validateDNSConfig(s, path.Child("dnsConfig"))...)
	for i, g := range s.ReadinessGates {
		c.add(ValidateQualifiedName(string(g.ConditionType), path.Child("readinessGates").Index(i).Child("conditionType"))...)
	}
	seen := map[string]bool{}
	for i, g := range s.SchedulingGates {
		at := path.Child("schedulingGates").Index(i)
		c.add(ValidateQualifiedName(g.Name, at)...)
		if seen[g.Name] {
			c.add(field.Duplicate(at, g.Name))
		}
		seen[g.Name] = true
	}
	c.add(validateSpread(s.TopologySpreadConstraints, l, path.Child("topologySpreadConstraints"))...)
	c.add(validateHostProcess(s, path)...)
	c.checkHostUsers(path)
	c.checkNames(path)
	if n := s.ActiveDeadlineSeconds; n != nil && (*n < 1 || *n > math.MaxInt32) {
		c.add(field.Invalid(path.Child("activeDeadlineSeconds"), *n, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	c.add(validateTolerations(s.Tolerations, l.comparisons, path.Child("tolerations"))...)
	for i, a := range s.HostAliases {
		at := path.Child("hostAliases").Index(i)
		c.add(validation.IsValidIPForLegacyField(at.Child("ip"), a.IP, true, nil)...)
		for j, name := range a.Hostnames {
			c.add(ValidateDNSSubdomain(name, at.Child("hostnames").Index(j))...)
		}
	}
	if s.PreemptionPolicy != nil {
		c.add(ValidatePreemptionPolicy(*s.PreemptionPolicy, path.Child("preemptionPolicy"))...)
	}
	if s.Overhead != nil {
		c.add(validateRequirements(&corev1.ResourceRequirements{Limits: s.Overhead}, nil, l.hugePages, path.Child("overhead"), validateContainerResourceName)...)
	}
	c.checkOS(path)
	if s.SchedulingGroup != nil {
		c.add(validateSchedulingGroup(s.SchedulingGroup, path.Child("schedulingGroup"))...)
	}
	c.checkFileKeyRefs(path)
	return c.errs
}

// checkNames checks the names of other objects, and those the pod goes by.
func (c *podChecker) checkNames(path *field.Path) {
	s := c.spec
	name := func(value, child string, msgs func(string, bool) []string) {
		if value != "" {
			c.add(invalidEach(path.Child(child), value, msgs(value, false))...)
		}
	}
	if h := s.HostnameOverride; h != nil {
		at := path.Child("hostnameOverride")
		if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN {
			c.add(field.Forbidden(at, "may not be specified when setHostnameAsFQDN is true"))
		}
		if s.HostNetwork {
			c.add(field.Forbidden(at, "may not be specified when hostNetwork is true"))
		}
		if len(*h) > 64 {
			c.add(field.TooLong(at, "", 64))
		}
		c.add(ValidateDNSSubdomain(*h, at)...)
	}
	name(s.ServiceAccountName, "serviceAccountName", apivalidation.ValidateServiceAccountName)
	name(s.NodeName, "nodeName", apivalidation.NameIsDNSSubdomain)
	name(s.Hostname, "hostname", func(v string, _ bool) []string { return validation.IsDNS1123Label(v) })
	name(s.Subdomain, "subdomain", func(v string, _ bool) []string { return validation.IsDNS1123Label(v) })
	name(s.PriorityClassName, "priorityClassName", apivalidation.NameIsDNSSubdomain)
	if s.RuntimeClassName != nil {
		c.add(invalidEach(path.Child("runtimeClassName"), *s.RuntimeClassName, apivalidation.NameIsDNSSubdomain(*s.RuntimeClassName, false))...)
	}
}

// checkHostNetwork: in the host's network a port is the same inside and outside.
func (c *podChecker) checkHostNetwork(path *field.Path) {
	if !c.spec.HostNetwork {
		return
	}
	for i := range c.spec.Containers {
		for j, p := range c.spec.Containers[i].Ports {
			// A template's host ports are defaulted when its pods are made.
			if p.HostPort != p.ContainerPort && (c.pod || p.HostPort != 0) {
				c.add(field.Invalid(path.Child("containers").Index(i).Child("ports").Index(j).Child("hostPort"), p.HostPort,
					"must match `containerPort` when `hostNetwork` is true"))
			}
		}
	}
}

// checkHostUsers: a user namespace of the pod's own goes with no other namespace
// of the host's (KEP-127).
func (c *podChecker) checkHostUsers(path *field.Path) {
	if c.spec.HostUsers == nil || *c.spec.HostUsers {
		return
	}
	const msg = "when `hostUsers` is false"
	if c.spec.HostNetwork && !c.lenient.userNetwork {
		c.add(field.Forbidden(path.Child("hostNetwork"), msg))
	}
	if c.spec.HostPID {
		c.add(field.Forbidden(path.Child("HostPID"), msg))
	}
	if c.spec.HostIPC {
		c.add(field.Forbidden(path.Child("HostIPC"), msg))
	}
	eachContainer(c.spec, path, func(ctr *corev1.Container, at *field.Path) {
		if len(ctr.VolumeDevices) > 0 && !c.lenient.userDevices {
			c.add(field.Forbidden(at.Child("volumeDevices"), msg))
		}
	})
}

func (c *podChecker) checkResourceClaims(path *field.Path) {
	c.claims = map[string]bool{}
	for _, claim := range c.spec.ResourceClaims {
		if claim.Name != "" {
			c.claims[claim.Name] = true
		}
	}
	mirror := false
	if c.meta != nil {
		_, mirror = c.meta.Annotations[corev1.MirrorPodAnnotationKey]
	}
	seen := map[string]bool{}
	for i, claim := range c.spec.ResourceClaims {
		if mirror {
			c.add(field.Forbidden(field.NewPath(""), "static pods do not support resource claims"))
			continue
		}
		at := path.Index(i)
		switch {
		case claim.Name == "":
			c.add(field.Required(at.Child("name"), ""))
		case seen[claim.Name]:
			c.add(field.Duplicate(at.Child("name"), claim.Name))
		default:
			c.add(ValidateDNSLabel(claim.Name, at.Child("name"))...)
			seen[claim.Name] = true
		}
		switch named, made := claim.ResourceClaimName != nil, claim.ResourceClaimTemplateName != nil; {
		case named && made:
			c.add(field.Invalid(at, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
		case !named && !made:
			c.add(field.Invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
		}
		if n := claim.ResourceClaimName; n != nil {
			c.add(invalidEach(at.Child("resourceClaimName"), *n, apivalidation.NameIsDNSSubdomain(*n, false))...)
		}
		if n := claim.ResourceClaimTemplateName; n != nil {
			c.add(invalidEach(at.Child("resourceClaimTemplateName"), *n, apivalidation.NameIsDNSSubdomain(*n, false))...)
		}
	}
}

func validateSchedulingGroup(g *corev1.PodSchedulingGroup, path *field.Path) field.ErrorList {
	at := path.Child("podGroupName")
	if g.PodGroupName == nil {
		return field.ErrorList{field.Invalid(at, g.PodGroupName, "must specify one of: `podGroupName`")}
	}
	return invalidEach(at, *g.PodGroupName, apivalidation.NameIsDNSSubdomain(*g.PodGroupName, false))
}

// checkOS: what one operating system does not have is refused if the pod names it.
func (c *podChecker) checkOS(path *field.Path) {
	if c.spec.OS == nil {
		return
	}
	at := path.Child("os")
	switch name := c.spec.OS.Name; name {
	case "":
		c.add(field.Required(at.Child("name"), ""))
	case corev1.Linux:
		const msg = "windows options cannot be set for a linux pod"
		if sc := c.spec.SecurityContext; sc != nil && sc.WindowsOptions != nil {
			c.add(field.Forbidden(path.Child("securityContext", "windowsOptions"), msg))
		}
		eachContainer(c.spec, path, func(ctr *corev1.Container, at *field.Path) {
			if ctr.SecurityContext != nil && ctr.SecurityContext.WindowsOptions != nil {
				c.add(field.Forbidden(at.Child("securityContext", "windowsOptions"), msg))
			}
		})
	case corev1.Windows:
		c.add(validateWindowsPod(c.spec, path)...)
	default:
		c.add(field.NotSupported(at, name, []corev1.OSName{corev1.Linux, corev1.Windows}))
	}
}

func validateDNSConfig(s *corev1.PodSpec, path *field.Path) (errs field.ErrorList) {
	d := s.DNSConfig
	if s.DNSPolicy == corev1.DNSNone {
		if d == nil {
			return field.ErrorList{field.Required(path, fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone))}
		}
		if len(d.Nameservers) == 0 {
			return field.ErrorList{field.Required(path.Child("nameservers"), fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone))}
		}
	}
	if d == nil {
		return nil
	}
	if len(d.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(path.Child("nameservers"), d.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers)))
	}
	for i, ns := range d.Nameservers {
		errs = append(errs, validation.IsValidIPForLegacyField(path.Child("nameservers").Index(i), ns, true, nil)...)
	}
	searches := path.Child("searches")
	if len(d.Searches) > maxSearchPaths {
		errs = append(errs, field.Invalid(searches, d.Searches, fmt.Sprintf("must not have more than %v search paths", maxSearchPaths)))
	}
	if len(strings.Join(d.Searches, " ")) > maxSearchChars {
		errs = append(errs, field.Invalid(searches, d.Searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchChars)))
	}
	for i, search := range d.Searches {
		if search != "." {
			search = strings.TrimSuffix(search, ".")
			errs = append(errs, invalidEach(searches.Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(search))...)
		}
	}
	for i, o := range d.Options {
		if o.Name == "" {
			errs = append(errs, field.Required(path.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

// ValidatePreemptionPolicy wants one of the two policies.
func ValidatePreemptionPolicy(p corev1.PreemptionPolicy, path *field.Path) field.ErrorList {
	return oneOf(p, path, corev1.PreemptLowerPriority, corev1.PreemptNever)
}

// eachContainer visits all containers of a spec with their paths.
func eachContainer(s *corev1.PodSpec, spec *field.Path, visit func(*corev1.Container, *field.Path)) {
	for i := range s.InitContainers {
		visit(&s.InitContainers[i], spec.Child("initContainers").Index(i))
	}
	for i := range s.Containers {
		visit(&s.Containers[i], spec.Child("containers").Index(i))
	}
	for i := range s.EphemeralContainers {
		c := corev1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		visit(&c, spec.Child("ephemeralContainers").Index(i))
	}
}
