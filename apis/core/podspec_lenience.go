package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// lenience tells which rules, younger than the object that is updated, it was
// breaking before: an update does not have to mend what it did not break.
type lenience struct {
	deletionCost    bool // any pod-deletion-cost
	selectors       bool // invalid values in selectors of affinity terms
	nodeValues      bool // invalid values in required node affinity
	spreadSelectors bool // invalid selectors in topology spread constraints
	spreadKeys      bool // matchLabelKeys that are in the selector too
	tokenPaths      bool // paths of tokens out of the volume
	hostSysctls     bool // sysctls of the host's namespaces
	hugePages       bool // parts of huge pages
	restartInit     bool // init containers that resize by restart
	userDevices     bool // block devices in user namespaces
	userNetwork     bool // the host's network in user namespaces
	selinuxPolicy   bool // a seLinuxChangePolicy other than Recursive
	comparisons     bool // tolerations by comparison
}

// lenienceFor looks at the old object; nil for none, as on create.
func lenienceFor(old *corev1.PodSpec, meta *metav1.ObjectMeta) (l lenience) {
	if meta != nil {
		cost, ok := meta.Annotations[corev1.PodDeletionCost]
		l.deletionCost = ok && !isDeletionCost(cost)
	}
	if old == nil {
		return l
	}
	l.selectors = hasInvalidSelector(old.Affinity)
	if a := old.Affinity; a != nil && a.NodeAffinity != nil {
		l.nodeValues = hasInvalidNodeValues(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	for _, c := range old.TopologySpreadConstraints {
		l.spreadSelectors = l.spreadSelectors || len(metav1validation.ValidateLabelSelector(c.LabelSelector, metav1validation.LabelSelectorValidationOptions{}, nil)) > 0
		l.spreadKeys = l.spreadKeys || len(validateLabelKeys(c.MatchLabelKeys, nil, c.LabelSelector, nil)) > 0
	}
	for _, v := range old.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			l.tokenPaths = l.tokenPaths || s.ServiceAccountToken != nil && len(validateFilePath(s.ServiceAccountToken.Path, nil)) > 0
		}
	}
	userNamespace := old.HostUsers != nil && !*old.HostUsers
	l.userNetwork = userNamespace && old.HostNetwork
	eachContainer(old, nil, func(c *corev1.Container, _ *field.Path) {
		l.userDevices = l.userDevices || userNamespace && len(c.VolumeDevices) > 0
		l.hugePages = l.hugePages || hasPartOfPage(c.Resources.Limits) || hasPartOfPage(c.Resources.Requests)
	})
	l.hugePages = l.hugePages || hasPartOfPage(old.Overhead)
	for i := range old.InitContainers {
		c := &old.InitContainers[i]
		l.restartInit = l.restartInit || !isSidecar(c) && slices.ContainsFunc(c.ResizePolicy, func(p corev1.ContainerResizePolicy) bool { return p.RestartPolicy == corev1.RestartContainer })
	}
	if sc := old.SecurityContext; sc != nil {
		l.selinuxPolicy = sc.SELinuxChangePolicy != nil
		l.hostSysctls = slices.ContainsFunc(sc.Sysctls, func(c corev1.Sysctl) bool { return validateHostSysctl(old, c.Name, nil) != nil })
	}
	l.comparisons = slices.ContainsFunc(old.Tolerations, func(t corev1.Toleration) bool {
		return t.Operator == corev1.TolerationOpLt || t.Operator == corev1.TolerationOpGt
	})
	return l
}

func hasPartOfPage(l corev1.ResourceList) bool {
	for name, q := range l {
		if isHugePages(name) && !wholePages(name, q) {
			return true
		}
	}
	return false
}

func hasInvalidNodeValues(s *corev1.NodeSelector) bool {
	if s == nil {
		return false
	}
	for _, t := range s.NodeSelectorTerms {
		for _, e := range t.MatchExpressions {
			if slices.ContainsFunc(e.Values, func(v string) bool { return len(validation.IsValidLabelValue(v)) > 0 }) {
				return true
			}
		}
	}
	return false
}

func hasInvalidSelector(a *corev1.Affinity) bool {
	invalid := func(t *corev1.PodAffinityTerm) bool { return len(validateTermSelectors(t, false, nil)) > 0 }
	terms := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) bool {
		return slices.ContainsFunc(required, func(t corev1.PodAffinityTerm) bool { return invalid(&t) }) ||
			slices.ContainsFunc(preferred, func(t corev1.WeightedPodAffinityTerm) bool { return invalid(&t.PodAffinityTerm) })
	}
	if a == nil {
		return false
	}
	return a.PodAffinity != nil && terms(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution) ||
		a.PodAntiAffinity != nil && terms(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
}
