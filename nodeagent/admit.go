package nodeagent

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
)

// safeSysctls are namespaced and cannot hurt the node or other pods.
func safeSysctls() []string {
	return []string{
		"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
		"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
		"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
	}
}

// admit refuses a pod that this node cannot run; a pod that already has
// containers here was admitted before.
func (a *Agent) admit(pod *v1.Pod, observed *cri.Pod) *planner.Failure {
	if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		return nil
	}
	if !observed.Empty() || pod.DeletionTimestamp != nil {
		a.allocations.hold(pod.UID, holdingOf(pod))
		return nil
	}
	var f *planner.Failure
	switch {
	case pod.Spec.SecurityContext != nil && !a.sysctlsAllowed(pod):
		f = &planner.Failure{Reason: "SysctlForbidden", Message: "Pod was rejected: " + a.forbidden(pod)}
	case pod.Spec.OS != nil && pod.Spec.OS.Name != "" && pod.Spec.OS.Name != v1.Linux:
		f = &planner.Failure{Reason: "PodOSNotSupported", Message: "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS"}
	default:
		if f = a.allocations.admit(pod.UID, holdingOf(pod), a.allocatable()); f != nil {
			f.Message = "Pod was rejected: " + f.Message
		}
	}
	if f != nil {
		a.events.pod(pod, v1.EventTypeWarning, f.Reason, strings.TrimPrefix(f.Message, "Pod was rejected: "))
	}
	return f
}

func (a *Agent) sysctlsAllowed(pod *v1.Pod) bool { return a.forbidden(pod) == "" }

// forbidden says which sysctl of the pod is not allowed here, "" if none.
func (a *Agent) forbidden(pod *v1.Pod) string {
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		name := strings.ReplaceAll(s.Name, "/", ".")
		switch {
		case strings.HasPrefix(name, "net.") && pod.Spec.HostNetwork:
			return fmt.Sprintf("forbidden sysctl: %q not allowed with host net enabled", s.Name)
		case (strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") || name == "kernel.sem" || strings.HasPrefix(name, "fs.mqueue.")) && pod.Spec.HostIPC:
			return fmt.Sprintf("forbidden sysctl: %q not allowed with host ipc enabled", s.Name)
		case !matches(name, safeSysctls()) && !matches(name, a.o.AllowedUnsafeSysctls):
			return fmt.Sprintf("forbidden sysctl: %q not allowlisted", s.Name)
		}
	}
	return ""
}

func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(name, prefix) || p == name {
			return true
		}
	}
	return false
}
