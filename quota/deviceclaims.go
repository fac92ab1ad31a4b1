package quota

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeviceClasses are the device classes that stand for extended resources (KEP-5004).
type DeviceClasses struct {
	extended map[string]string // by class
	class    map[string]string // by extended resource
}

// NewDeviceClasses reads them from all classes. Of several for one resource the
// newest counts, then the first by name.
func NewDeviceClasses(all []*resourcev1.DeviceClass) DeviceClasses {
	d := DeviceClasses{map[string]string{}, map[string]string{}}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b *resourcev1.DeviceClass) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	for _, c := range all {
		// Every class has a name of its own beside.
		d.class[resourcev1.ResourceDeviceClassPrefix+c.Name] = c.Name
		name := c.Spec.ExtendedResourceName
		if name == nil || *name == "" {
			continue
		}
		d.extended[c.Name] = *name
		if d.class[*name] == "" {
			d.class[*name] = c.Name
		}
	}
	return d
}

// Extended is the extended resource that a class stands for, or "".
func (d DeviceClasses) Extended(class string) string { return d.extended[class] }

// Class is the class that stands for an extended resource, or "".
func (d DeviceClasses) Class(extended string) string { return d.class[extended] }

// DeviceUsage is what a resource claim uses: the devices of each class that it
// may be given at most, and the extended resources these classes stand for, of
// which what its pod is charged for already is not charged again.
func DeviceUsage(c *resourcev1.ResourceClaim, classes DeviceClasses, pod corev1.ResourceList) corev1.ResourceList {
	devices := map[string]int64{}
	for i := range c.Spec.Devices.Requests {
		r := &c.Spec.Devices.Requests[i]
		most := map[string]int64{}
		for _, s := range r.FirstAvailable {
			most[s.DeviceClassName] = max(most[s.DeviceClassName], atMost(s.AllocationMode, s.Count))
		}
		if e := r.Exactly; len(r.FirstAvailable) == 0 && e != nil {
			most[e.DeviceClassName] = atMost(e.AllocationMode, e.Count)
		}
		for class, n := range most {
			devices[class] += n
		}
	}
	used := corev1.ResourceList{}
	charge := func(name corev1.ResourceName, n int64) {
		q := *resource.NewQuantity(n, resource.DecimalSI)
		q.Sub(pod[name])
		if q.Sign() > 0 {
			used[name] = q
		}
	}
	for class, n := range devices {
		used[corev1.ResourceName(class+corev1.ResourceClaimsPerClass)] = *resource.NewQuantity(n, resource.DecimalSI)
		if class == "" {
			continue
		}
		charge(corev1.ResourceName(corev1.ResourceImplicitExtendedClaimsPerClass+class), n)
		if name := classes.Extended(class); name != "" {
			charge(corev1.ResourceName(corev1.DefaultResourceRequestsPrefix+name), n)
		}
	}
	return used
}

// atMost is how many devices a request may be given; modes that are not known
// count for nothing.
func atMost(mode resourcev1.DeviceAllocationMode, count int64) int64 {
	switch mode {
	case resourcev1.DeviceAllocationModeExactCount:
		return count
	case resourcev1.DeviceAllocationModeAll:
		return resourcev1.AllocationResultsMaxSize
	}
	return 0
}

// ExtendedClaimOwner is the pod for whose extended resources the scheduler made
// the claim; nil for claims that users made.
func ExtendedClaimOwner(c *resourcev1.ResourceClaim) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(c)
	if c.Annotations[resourcev1.ExtendedResourceClaimAnnotation] != "true" || owner == nil || owner.Kind != "Pod" || owner.APIVersion != "v1" {
		return nil
	}
	return owner
}

// ChargedWithPod reports whether the pod's charge covers the claim: it is the
// one the pod names or, while it names none, the first of those it owns (siblings).
func ChargedWithPod(c *resourcev1.ResourceClaim, pod *corev1.Pod, siblings []*resourcev1.ResourceClaim) bool {
	owner := ExtendedClaimOwner(c)
	if owner == nil || pod == nil || owner.UID != pod.UID {
		return false
	}
	if s := pod.Status.ExtendedResourceClaimStatus; s != nil {
		return s.ResourceClaimName == c.Name
	}
	for _, other := range siblings {
		if o := ExtendedClaimOwner(other); o == nil || o.UID != pod.UID {
			continue
		}
		if cmp.Or(other.CreationTimestamp.Compare(c.CreationTimestamp.Time), strings.Compare(other.Name, c.Name)) < 0 {
			return false
		}
	}
	return true
}
