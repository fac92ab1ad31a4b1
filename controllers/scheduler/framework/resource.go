package framework

import (
	"maps"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// What a container that names no request is assumed to use when nodes are
// scored (never when they are filtered), as upstream does.
const (
	// DefaultMilliCPU is the assumed CPU use in thousandths of a core.
	DefaultMilliCPU int64 = 100
	// DefaultMemory is the assumed memory use in bytes.
	DefaultMemory int64 = 200 * 1024 * 1024
)

// Resources is a vector of resource amounts.
type Resources struct {
	MilliCPU         int64 // thousandths of a core
	Memory           int64 // bytes
	EphemeralStorage int64 // bytes
	Pods             int64 // count; only set for what a node offers
	// Scalar holds extended resources, huge pages and attachable volumes in
	// their own units. The map is shared between vectors and never changed.
	Scalar map[v1.ResourceName]int64
}

// NewResources converts an API resource list.
func NewResources(list v1.ResourceList) Resources {
	var r Resources
	for name, quantity := range list {
		switch name {
		case v1.ResourceCPU:
			r.MilliCPU = quantity.MilliValue()
		case v1.ResourceMemory:
			r.Memory = quantity.Value()
		case v1.ResourceEphemeralStorage:
			r.EphemeralStorage = quantity.Value()
		case v1.ResourcePods:
			r.Pods = quantity.Value()
		default:
			if isScalar(name) {
				if r.Scalar == nil {
					r.Scalar = make(map[v1.ResourceName]int64)
				}
				r.Scalar[name] = quantity.Value()
			}
		}
	}
	return r
}

// isScalar reports whether the scheduler accounts for the resource name
// besides CPU, memory, storage and pods.
func isScalar(name v1.ResourceName) bool {
	s := string(name)
	switch {
	case strings.HasPrefix(s, v1.ResourceHugePagesPrefix), strings.HasPrefix(s, v1.ResourceAttachableVolumesPrefix):
		return true
	case strings.HasPrefix(s, v1.DefaultResourceRequestsPrefix):
		return false // quota names
	default:
		return strings.Contains(s, "/")
	}
}

// Plus returns r + sign*o, where sign is 1 or -1. Pods are not added.
func (r Resources) Plus(o Resources, sign int64) Resources {
	r.MilliCPU += sign * o.MilliCPU
	r.Memory += sign * o.Memory
	r.EphemeralStorage += sign * o.EphemeralStorage
	if len(o.Scalar) > 0 {
		sum := make(map[v1.ResourceName]int64, len(r.Scalar)+len(o.Scalar))
		maps.Copy(sum, r.Scalar)
		for name, amount := range o.Scalar {
			if sum[name] += sign * amount; sum[name] == 0 {
				delete(sum, name)
			}
		}
		r.Scalar = sum
	}
	return r
}

// Equal reports whether both vectors hold the same amounts.
func (r Resources) Equal(o Resources) bool {
	return r.MilliCPU == o.MilliCPU && r.Memory == o.Memory && r.EphemeralStorage == o.EphemeralStorage &&
		r.Pods == o.Pods && maps.Equal(r.Scalar, o.Scalar)
}

// Zero reports whether nothing is asked for.
func (r Resources) Zero() bool {
	return r.MilliCPU == 0 && r.Memory == 0 && r.EphemeralStorage == 0 && len(r.Scalar) == 0
}

// AtLeastSome reports whether any resource that want asks for is larger in r than in o.
func (r Resources) AtLeastSome(want, o Resources) bool {
	if want.MilliCPU > 0 && r.MilliCPU > o.MilliCPU || want.Memory > 0 && r.Memory > o.Memory ||
		want.EphemeralStorage > 0 && r.EphemeralStorage > o.EphemeralStorage || r.Pods > o.Pods {
		return true
	}
	for name, amount := range want.Scalar {
		if amount > 0 && r.Scalar[name] > o.Scalar[name] {
			return true
		}
	}
	return false
}

// requests returns what the pod asks for, and the same with the assumed use of
// containers that ask for nothing. Bound pods count with what their node has
// granted while an in-place resize is under way (KEP-1287).
func requests(pod *v1.Pod) (exact, assumed Resources) {
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: pod.Spec.NodeName != ""}
	exact = NewResources(resourcehelper.PodRequests(pod, opts))
	opts.NonMissingContainerRequests = v1.ResourceList{
		v1.ResourceCPU:    *resource.NewMilliQuantity(DefaultMilliCPU, resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(DefaultMemory, resource.BinarySI),
	}
	assumed = NewResources(resourcehelper.PodRequests(pod, opts))
	exact.Pods, assumed.Pods = 0, 0
	return exact, assumed
}
