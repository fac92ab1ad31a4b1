package framework

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// HostPort is a port that a pod takes on its node.
type HostPort struct {
	// IP is the address, "0.0.0.0" for all of them.
	IP       string
	Protocol v1.Protocol
	Port     int32
}

// Conflicts reports whether both cannot be taken on one node: same protocol and
// port, and the same address or one of them for all addresses.
func (p HostPort) Conflicts(o HostPort) bool {
	return p.Port == o.Port && p.Protocol == o.Protocol &&
		(p.IP == o.IP || p.IP == anyIP || o.IP == anyIP)
}

const anyIP = "0.0.0.0"

// hostPorts lists the host ports of the pod's containers and of its sidecars.
func hostPorts(pod *v1.Pod) []HostPort {
	var ports []HostPort
	add := func(c *v1.Container) {
		for _, p := range c.Ports {
			if p.HostPort <= 0 {
				continue
			}
			port := HostPort{IP: p.HostIP, Protocol: p.Protocol, Port: p.HostPort}
			if port.IP == "" || port.IP == "::" {
				port.IP = anyIP
			}
			if port.Protocol == "" {
				port.Protocol = v1.ProtocolTCP
			}
			if !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return ports
}
