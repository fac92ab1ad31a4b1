package quota

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// The resources that are measured by more than their number, as Measured and
// Usage name them: <resource>[.<group>].
const (
	Pods           = "pods"
	Services       = "services"
	Claims         = "persistentvolumeclaims"
	ResourceClaims = "resourceclaims.resource.k8s.io"
)

// countPrefix begins the names of quotas of object counts: count/<resource>[.<group>].
const countPrefix = "count/"

// storageClassInfix stands between a class and what of it is limited.
const storageClassInfix = ".storageclass.storage.k8s.io/"

// legacyCounts are the names of object counts before count/ was.
var legacyCounts = map[corev1.ResourceName]string{
	corev1.ResourceConfigMaps:             "configmaps",
	corev1.ResourceQuotas:                 "resourcequotas",
	corev1.ResourceReplicationControllers: "replicationcontrollers",
	corev1.ResourceSecrets:                "secrets",
}

var podQuotas = sets.New(
	corev1.ResourcePods,
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
)

// LegacyCount is the name that the count of a resource had before count/ was, or "".
func LegacyCount(measured string) corev1.ResourceName {
	for alias, name := range legacyCounts {
		if name == measured {
			return alias
		}
	}
	return ""
}

// Measured lists the resources, as <resource>[.<group>], whose objects are
// measured for a limit; none if the name is unknown. Extended resources are
// asked for by pods, and by resource claims where a device class stands for them.
func Measured(name corev1.ResourceName, classes DeviceClasses) []string {
	s := string(name)
	var out []string
	switch {
	case strings.HasPrefix(s, countPrefix):
		out = append(out, strings.TrimPrefix(s, countPrefix))
	case legacyCounts[name] != "":
		out = append(out, legacyCounts[name])
	case podQuotas.Has(name), strings.HasPrefix(s, corev1.ResourceHugePagesPrefix), strings.HasPrefix(s, corev1.ResourceRequestsHugePagesPrefix):
		out = append(out, Pods)
	case name == corev1.ResourceServices, name == corev1.ResourceServicesNodePorts, name == corev1.ResourceServicesLoadBalancers:
		out = append(out, Services)
	case name == corev1.ResourcePersistentVolumeClaims, name == corev1.ResourceRequestsStorage,
		strings.HasSuffix(s, storageClassInfix+string(corev1.ResourcePersistentVolumeClaims)),
		strings.HasSuffix(s, storageClassInfix+string(corev1.ResourceRequestsStorage)):
		out = append(out, Claims)
	case strings.HasSuffix(s, corev1.ResourceClaimsPerClass):
		out = append(out, ResourceClaims)
	case AboutExtended(name):
		out = append(out, Pods)
		if classes.Class(strings.TrimPrefix(s, corev1.DefaultResourceRequestsPrefix)) != "" {
			out = append(out, ResourceClaims)
		}
	}
	return out
}

// Measures are those of the names that a resource is measured for.
func Measures(measured string, names []corev1.ResourceName, classes DeviceClasses) []corev1.ResourceName {
	out := []corev1.ResourceName{}
	for _, name := range names {
		if slices.Contains(Measured(name, classes), measured) {
			out = append(out, name)
		}
	}
	return out
}

// AboutExtended reports whether a limit is on requests of an extended resource,
// or of the one that a device class stands for without naming it.
func AboutExtended(name corev1.ResourceName) bool {
	asked, ok := strings.CutPrefix(string(name), corev1.DefaultResourceRequestsPrefix)
	return ok && (extendedResource(name) || strings.HasPrefix(asked, resourcev1.ResourceDeviceClassPrefix))
}

// extendedResource reports whether the name is outside kubernetes.io.
func extendedResource(name corev1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}
