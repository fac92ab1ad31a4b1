package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"proa/apis/kind"
)

const (
	nodeRolePrefix = "node-role.kubernetes.io/"
	nodeRoleLabel  = "kubernetes.io/role"
)

func nodeColumns() []kind.Column[*corev1.Node] {
	info, status := corev1.NodeSystemInfo{}.SwaggerDoc(), corev1.NodeStatus{}.SwaggerDoc()
	known := func(s string) string {
		if s == "" {
			return "<unknown>"
		}
		return s
	}
	address := func(t corev1.NodeAddressType) func(*corev1.Node) any {
		return func(n *corev1.Node) any {
			for _, a := range n.Status.Addresses {
				if a.Type == t {
					return a.Address
				}
			}
			return "<none>"
		}
	}
	return []kind.Column[*corev1.Node]{
		kind.NameColumn[*corev1.Node](),
		{Name: "Status", Type: "string", Description: "The status of the node", Value: func(n *corev1.Node) any { return nodeState(n) }},
		{Name: "Roles", Type: "string", Description: "The roles of the node", Value: func(n *corev1.Node) any { return nodeRoles(n) }},
		kind.AgeColumn[*corev1.Node](),
		{Name: "Version", Type: "string", Description: info["kubeletVersion"], Value: func(n *corev1.Node) any { return n.Status.NodeInfo.KubeletVersion }},
		{Name: "Internal-IP", Type: "string", Priority: 1, Description: status["addresses"], Value: address(corev1.NodeInternalIP)},
		{Name: "External-IP", Type: "string", Priority: 1, Description: status["addresses"], Value: address(corev1.NodeExternalIP)},
		{Name: "OS-Image", Type: "string", Priority: 1, Description: info["osImage"],
			Value: func(n *corev1.Node) any { return known(n.Status.NodeInfo.OSImage) }},
		{Name: "Kernel-Version", Type: "string", Priority: 1, Description: info["kernelVersion"], Value: func(n *corev1.Node) any {
			kernel := known(n.Status.NodeInfo.KernelVersion)
			if arch := n.Status.NodeInfo.Architecture; arch != "" {
				kernel += " (" + arch + ")"
			}
			return kernel
		}},
		{Name: "Container-Runtime", Type: "string", Priority: 1, Description: info["containerRuntimeVersion"],
			Value: func(n *corev1.Node) any { return known(n.Status.NodeInfo.ContainerRuntimeVersion) }},
	}
}

func nodeState(n *corev1.Node) string {
	state := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			state = "NotReady"
			if c.Status == corev1.ConditionTrue {
				state = "Ready"
			}
		}
	}
	if n.Spec.Unschedulable {
		state += ",SchedulingDisabled"
	}
	return state
}

func nodeRoles(n *corev1.Node) string {
	var roles []string
	for key, value := range n.Labels {
		if role, ok := strings.CutPrefix(key, nodeRolePrefix); ok && role != "" {
			roles = append(roles, role)
		} else if key == nodeRoleLabel && value != "" {
			roles = append(roles, value)
		}
	}
	slices.Sort(roles)
	return orNone(strings.Join(slices.Compact(roles), ","))
}
