package allocator

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/net"
)

// looksBeforeLeak is how many times a port must be found without a service before
// it is freed: a service may be about to be written.
const looksBeforeLeak = 3

// RebuildPorts returns the record of node ports as the services say it should be,
// and what was wrong with the stored one. leaks counts, from one call to the next,
// how often ports were found without a service; they stay taken meanwhile.
func RebuildPorts(services []*corev1.Service, stored *PortSet, ports net.PortRange, leaks map[int32]int) (*PortSet, []Defect) {
	rebuilt, left := NewPortSet(ports, nil), NewPortSet(stored.ports, stored.Data())
	var defects []Defect
	for _, svc := range services {
		add := func(kind, reason, format string, args ...any) {
			defects = append(defects, Defect{About: svc, Reason: reason, Action: "PortAllocation", Message: fmt.Sprintf(format, args...), Type: kind})
		}
		for _, port := range portsOf(svc) {
			switch err := rebuilt.Take(port); {
			case err == nil:
				if left.Has(port) {
					left.Free(port)
				} else {
					add("repair", "PortNotAllocated", "Port %d is not allocated; repairing", port)
				}
				delete(leaks, port)
			case errors.Is(err, ErrPortAllocated):
				add("duplicate", "PortAlreadyAllocated", "Port %d was assigned to multiple services; please recreate service", port)
			default:
				add("outOfRange", "PortOutOfRange", "Port %d is not within the port range %s; please recreate service", port, ports)
			}
		}
	}
	for _, port := range left.All() {
		seen, known := leaks[port]
		if !known {
			seen = looksBeforeLeak - 1
		}
		if known && seen <= 0 {
			delete(leaks, port)
			defects = append(defects, Defect{Message: fmt.Sprintf("the node port %d appears to have leaked: cleaning up", port), Type: "leak"})
			continue
		}
		leaks[port] = seen - 1
		_ = rebuilt.Take(port) // one out of today's range is dropped
	}
	return rebuilt, defects
}

// portsOf lists a service's node ports: one number under several protocols
// counts once, under the same protocol as often as it is there.
func portsOf(svc *corev1.Service) (ports []int32) {
	seen := map[int32]map[corev1.Protocol]bool{}
	add := func(port int32, protocol corev1.Protocol) {
		if port == 0 {
			return
		}
		if seen[port] == nil || seen[port][protocol] {
			ports = append(ports, port)
		}
		if seen[port] == nil {
			seen[port] = map[corev1.Protocol]bool{}
		}
		seen[port][protocol] = true
	}
	for _, p := range svc.Spec.Ports {
		add(p.NodePort, p.Protocol)
	}
	add(svc.Spec.HealthCheckNodePort, corev1.ProtocolTCP)
	return ports
}
