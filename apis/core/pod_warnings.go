package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// PodTemplateWarnings tells what in a template is accepted but has no effect,
// is deprecated or surprises.
func PodTemplateWarnings(t *corev1.PodTemplateSpec, path *field.Path) []string {
	return podWarnings(path, &t.Spec, &t.ObjectMeta)
}

// podWarnings warns about a pod (path nil) or a template at path.
func podWarnings(path *field.Path, s *corev1.PodSpec, meta *metav1.ObjectMeta) (warnings []string) {
	w := &podWarner{spec: path.Child("spec"), annotations: path.Child("metadata", "annotations")}
	w.nodeLabels(s)
	for _, a := range []struct{ key, msg string }{
		{"scheduler.alpha.kubernetes.io/critical-pod", `non-functional in v1.16+; use the "priorityClassName" field instead`},
		{"security.alpha.kubernetes.io/sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
		{"security.alpha.kubernetes.io/unsafe-sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
	} {
		if _, ok := meta.Annotations[a.key]; ok {
			w.warn("%s: %s", w.annotations.Key(a.key), a.msg)
		}
	}
	w.volumes(s)
	w.overlaps(s.Volumes)
	w.duplicates(s)
	w.fraction(s.Overhead, w.spec.Child("overhead"), corev1.ResourceMemory, corev1.ResourceEphemeralStorage)
	if _, ok := meta.Annotations[corev1.SeccompPodAnnotationKey]; ok && (s.SecurityContext == nil || s.SecurityContext.SeccompProfile == nil) {
		w.warn(`%s: non-functional in v1.27+; use the "seccompProfile" field instead`, w.annotations.Key(corev1.SeccompPodAnnotationKey))
	}
	eachContainer(s, w.spec, func(c *corev1.Container, at *field.Path) {
		key := corev1.SeccompContainerAnnotationKeyPrefix + c.Name
		if _, ok := meta.Annotations[key]; ok && (c.SecurityContext == nil || c.SecurityContext.SeccompProfile == nil) {
			w.warn(`%s: non-functional in v1.27+; use the "seccompProfile" field instead`, w.annotations.Key(key))
		}
		// Pods are warned where annotations become fields.
		key = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + c.Name
		if value, ok := meta.Annotations[key]; ok && path != nil && (c.SecurityContext == nil || c.SecurityContext.AppArmorProfile == nil) {
			if p := podAppArmor(s); p == nil || !equality.Semantic.DeepEqual(p, appArmorOf(value)) {
				w.list = append(w.list, appArmorWarning(w.annotations.Key(key)))
			}
		}
		w.fraction(c.Resources.Limits, at.Child("resources", "limits"), corev1.ResourceMemory)
		w.fraction(c.Resources.Requests, at.Child("resources", "requests"), corev1.ResourceMemory)
		w.fraction(c.Resources.Limits, at.Child("resources", "limits"), corev1.ResourceEphemeralStorage)
		w.fraction(c.Resources.Requests, at.Child("resources", "requests"), corev1.ResourceEphemeralStorage)
		w.hiddenEnv(c, at)
	})
	w.ports(s)
	if n := s.TerminationGracePeriodSeconds; n != nil && *n < 0 {
		w.warn("%s: must be >= 0; negative values are invalid and will be treated as 1", w.spec.Child("terminationGracePeriodSeconds"))
	}
	w.nullSelectors(s)
	if s.DNSConfig != nil {
		for i, ns := range s.DNSConfig.Nameservers {
			w.list = append(w.list, validation.GetWarningsForIP(w.spec.Child("dnsConfig", "nameservers").Index(i), ns)...)
		}
	}
	for i, a := range s.HostAliases {
		w.list = append(w.list, validation.GetWarningsForIP(w.spec.Child("hostAliases").Index(i).Child("ip"), a.IP)...)
	}
	return w.list
}

type podWarner struct {
	spec, annotations *field.Path
	list              []string
}

func (w *podWarner) warn(format string, args ...any) {
	w.list = append(w.list, fmt.Sprintf(format, args...))
}

func deprecatedNodeLabel(key string) string {
	switch key {
	case "beta.kubernetes.io/arch":
		return `deprecated since v1.14; use "kubernetes.io/arch" instead`
	case "beta.kubernetes.io/os":
		return `deprecated since v1.14; use "kubernetes.io/os" instead`
	case "failure-domain.beta.kubernetes.io/region":
		return `deprecated since v1.17; use "topology.kubernetes.io/region" instead`
	case "failure-domain.beta.kubernetes.io/zone":
		return `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`
	case "beta.kubernetes.io/instance-type":
		return `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`
	case "app.kubernetes.io/created-by":
		return "deprecated since v1.9"
	case "scheduler.alpha.kubernetes.io/preferAvoidPods":
		return "deprecated since v1.22; use Taints and Tolerations instead"
	case "node-role.kubernetes.io/master":
		return `use "node-role.kubernetes.io/control-plane" instead`
	}
	return ""
}

func (w *podWarner) nodeLabels(s *corev1.PodSpec) {
	for _, key := range sorted(s.NodeSelector) {
		if msg := deprecatedNodeLabel(key); msg != "" {
			w.warn("%s: %s", w.spec.Child("nodeSelector").Key(key), msg)
		}
	}
	if s.Affinity != nil && s.Affinity.NodeAffinity != nil {
		n, at := s.Affinity.NodeAffinity, w.spec.Child("affinity", "nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			for i := range r.NodeSelectorTerms {
				w.nodeTerm(&r.NodeSelectorTerms[i], false, at.Child(requiredTerms, "nodeSelectorTerms").Index(i))
			}
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			w.nodeTerm(&n.PreferredDuringSchedulingIgnoredDuringExecution[i].Preference, true, at.Child(preferredTerms).Index(i).Child("preference"))
		}
	}
	for i, t := range s.TopologySpreadConstraints {
		at := w.spec.Child("topologySpreadConstraints").Index(i)
		if msg := deprecatedNodeLabel(t.TopologyKey); msg != "" {
			w.warn("%s: %s is %s", at.Child("topologyKey"), t.TopologyKey, msg)
		}
		if t.LabelSelector == nil {
			w.warn("%s: a null labelSelector results in matching no pod", at.Child("labelSelector"))
		}
	}
}

// nodeTerm warns about a term of a node selector; values that cannot be a label's
// are for the validation to find where they matter.
func (w *podWarner) nodeTerm(t *corev1.NodeSelectorTerm, values bool, at *field.Path) {
	for i, e := range t.MatchExpressions {
		at := at.Child("matchExpressions").Index(i)
		if msg := deprecatedNodeLabel(e.Key); msg != "" {
			w.warn("%s: %s is %s", at.Child("key"), e.Key, msg)
		}
		for j, v := range e.Values {
			if !values {
				break
			}
			for _, msg := range validation.IsValidLabelValue(v) {
				w.warn("%s: %s is invalid, %s", at.Child("values").Index(j), v, msg)
			}
		}
	}
}

func (w *podWarner) volumes(s *corev1.PodSpec) {
	for i, v := range s.Volumes {
		gone := func(set bool, name, msg string) {
			if set {
				w.warn("%s: %s", w.spec.Child("volumes").Index(i).Child(name), msg)
			}
		}
		gone(v.PhotonPersistentDisk != nil, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+")
		gone(v.GitRepo != nil, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+")
		gone(v.ScaleIO != nil, "scaleIO", "deprecated in v1.16, non-functional in v1.22+")
		gone(v.Flocker != nil, "flocker", "deprecated in v1.22, non-functional in v1.25+")
		gone(v.StorageOS != nil, "storageOS", "deprecated in v1.22, non-functional in v1.25+")
		gone(v.Quobyte != nil, "quobyte", "deprecated in v1.22, non-functional in v1.25+")
		gone(v.Glusterfs != nil, "glusterfs", "deprecated in v1.25, non-functional in v1.26+")
		if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
			w.list = append(w.list, ClaimSpecWarnings(&v.Ephemeral.VolumeClaimTemplate.Spec, w.spec.Child("volumes").Index(i).Child("ephemeral", "volumeClaimTemplate", "spec"))...)
		}
		gone(v.CephFS != nil, "cephfs", "deprecated in v1.28, non-functional in v1.31+")
		gone(v.RBD != nil, "rbd", "deprecated in v1.28, non-functional in v1.31+")
	}
}

func (w *podWarner) duplicates(s *corev1.PodSpec) {
	seen := map[string]bool{}
	for i, a := range s.HostAliases {
		if seen[a.IP] {
			w.warn("%s: duplicate ip %q", w.spec.Child("hostAliases").Index(i).Child("ip"), a.IP)
		}
		seen[a.IP] = true
	}
	clear(seen)
	for i, p := range s.ImagePullSecrets {
		if seen[p.Name] {
			w.warn("%s: duplicate name %q", w.spec.Child("imagePullSecrets").Index(i).Child("name"), p.Name)
		}
		seen[p.Name] = true
	}
	for i, p := range s.ImagePullSecrets {
		if p.Name == "" {
			w.warn("%s: invalid empty name %q", w.spec.Child("imagePullSecrets").Index(i).Child("name"), p.Name)
		}
	}
}

// fraction warns about parts of bytes ("100m" of memory is mostly a typo for 100M).
func (w *podWarner) fraction(l corev1.ResourceList, at *field.Path, names ...corev1.ResourceName) {
	for _, n := range names {
		if q, ok := l[n]; ok && q.MilliValue()%1000 != 0 {
			w.warn("%s: fractional byte value %q is invalid, must be an integer", at.Key(string(n)), q.String())
		}
	}
}

func (w *podWarner) hiddenEnv(c *corev1.Container, at *field.Path) {
	seen := map[string]bool{}
	for i, v := range c.Env {
		// A variable may extend an earlier one of its name; else it only hides it.
		ref := "$(" + v.Name + ")"
		if seen[v.Name] && (v.ValueFrom != nil || v.Value == ref || !strings.Contains(v.Value, ref)) {
			w.warn("%s: hides previous definition of %q, which may be dropped when using apply", at.Child("env").Index(i), v.Name)
		}
		seen[v.Name] = true
	}
}

func (w *podWarner) ports(s *corev1.PodSpec) {
	type place struct {
		at   *field.Path
		port corev1.ContainerPort
	}
	var all []place
	eachContainer(s, w.spec, func(c *corev1.Container, at *field.Path) {
		for i, p := range c.Ports {
			here := at.Child("ports").Index(i)
			if p.HostIP != "" && p.HostPort == 0 {
				w.warn("%s: hostIP set without hostPort: %+v", here, p)
			}
			for _, o := range all {
				if o.port.ContainerPort != p.ContainerPort || o.port.Protocol != p.Protocol {
					continue
				}
				switch {
				case p.HostIP == o.port.HostIP && p.HostPort == o.port.HostPort:
					w.warn("%s: duplicate port definition with %s", here, o.at)
				case p.HostPort == 0 || o.port.HostPort == 0:
					w.warn("%s: overlapping port definition with %s", here, o.at)
				case p.HostPort == o.port.HostPort && (p.HostIP == "") != (o.port.HostIP == ""):
					w.warn("%s: dangerously ambiguous port definition with %s", here, o.at)
				}
			}
			all = append(all, place{here, p})
		}
	})
	for i, p := range all {
		first := slices.IndexFunc(all, func(o place) bool { return o.port.Name == p.port.Name })
		if p.port.Name != "" && first < i {
			w.warn("%s: duplicate port name %q with %s, services and probes that select ports by name will use %s", p.at, p.port.Name, all[first].at, all[first].at)
		}
	}
}

func (w *podWarner) nullSelectors(s *corev1.PodSpec) {
	if s.Affinity == nil {
		return
	}
	terms := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, at *field.Path) {
		for i, t := range required {
			if t.LabelSelector == nil {
				w.warn("%s: a null labelSelector results in matching no pod", at.Child(requiredTerms).Index(i).Child("labelSelector"))
			}
		}
		for i, t := range preferred {
			if t.PodAffinityTerm.LabelSelector == nil {
				w.warn("%s: a null labelSelector results in matching no pod", at.Child(preferredTerms).Index(i).Child("podAffinityTerm", "labelSelector"))
			}
		}
	}
	at := w.spec.Child("affinity")
	if p := s.Affinity.PodAffinity; p != nil {
		terms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
	}
	if p := s.Affinity.PodAntiAffinity; p != nil {
		terms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
	}
}
