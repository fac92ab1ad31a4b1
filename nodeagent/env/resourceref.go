package env

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// ResourceValue returns the value of a resourceFieldRef: a request or limit
// of a container in units of the divisor, rounded up. The container is the
// one that ref names, or own where it names none. A container without a limit
// for cpu, memory or ephemeral storage has all that the node can allocate.
func ResourceValue(ref *v1.ResourceFieldSelector, pod *v1.Pod, own *v1.Container, allocatable v1.ResourceList) (string, error) {
	c := own
	if ref.ContainerName != "" && (own == nil || ref.ContainerName != own.Name) {
		if c = findContainer(pod, ref.ContainerName); c == nil {
			return "", fmt.Errorf("container %s not found", ref.ContainerName)
		}
	}
	if c == nil {
		return "", fmt.Errorf("resourceFieldRef %s: containerName is missing", ref.Resource)
	}
	list, name, ok := strings.Cut(ref.Resource, ".")
	res := v1.ResourceName(name)
	hugepages := strings.HasPrefix(name, v1.ResourceHugePagesPrefix)
	known := hugepages || res == v1.ResourceCPU || res == v1.ResourceMemory || res == v1.ResourceEphemeralStorage
	if !ok || !known || (list != "limits" && list != "requests") {
		return "", fmt.Errorf("unsupported container resource : %v", ref.Resource)
	}

	var value resource.Quantity
	if list == "requests" {
		value = c.Resources.Requests[res]
	} else {
		var set bool
		value, set = c.Resources.Limits[res]
		if (!set || value.IsZero()) && !hugepages {
			value = allocatable[res]
		}
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if res == v1.ResourceCPU {
		return divideUp(value.MilliValue(), divisor.MilliValue()), nil
	}
	return divideUp(value.Value(), divisor.Value()), nil
}

// divideUp divides and rounds up. Divisors below the unit cannot occur for an
// admitted pod; they count as one, so that no input can divide by zero.
func divideUp(value, divisor int64) string {
	if divisor <= 0 {
		divisor = 1
	}
	q := value / divisor
	if value%divisor > 0 {
		q++
	}
	return strconv.FormatInt(q, 10)
}

func findContainer(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	return nil
}
