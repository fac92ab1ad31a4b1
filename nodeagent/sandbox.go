package nodeagent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
	"proa/nodeagent/status"
)

// logDir is where a pod's logs are: <root>/<namespace>_<name>_<uid>.
func (a *Agent) logDir(pod *v1.Pod) string {
	return filepath.Join(a.o.PodLogsDir, strings.Join([]string{pod.Namespace, pod.Name, string(pod.UID)}, "_"))
}

// podDir is where a pod's files are.
func (a *Agent) podDir(pod *v1.Pod) string {
	return filepath.Join(a.o.RootDir, "pods", string(pod.UID))
}

// createSandbox makes cgroup, log directory and sandbox.
func (a *Agent) createSandbox(ctx context.Context, w *worker, pod *v1.Pod, act planner.Action) planner.Result {
	fail := func(err error) planner.Result {
		a.events.pod(pod, v1.EventTypeWarning, "FailedCreatePodSandBox", fmt.Sprintf("Failed to create pod sandbox: %v", err))
		return planner.Result{Err: err}
	}
	if a.cgroups != nil {
		if err := a.cgroups.Create(ctx, pod, status.QOS(pod)); err != nil {
			return fail(err)
		}
	}
	if err := os.MkdirAll(a.logDir(pod), 0o755); err != nil {
		return fail(err)
	}
	config, err := a.sandboxConfig(pod, uint32(act.Attempt))
	if err != nil {
		return fail(err)
	}
	if _, missing := podDNS(pod, resolvConf{}, a.o.ClusterDNS, a.o.ClusterDomain); missing {
		a.events.pod(pod, v1.EventTypeWarning, "MissingClusterDNS",
			fmt.Sprintf("pod: %q. kubelet does not have ClusterDNS IP configured and cannot create Pod using %q policy. Falling back to %q policy.", podFormat(pod), pod.Spec.DNSPolicy, v1.DNSDefault))
	}
	handler := ""
	if pod.Spec.RuntimeClassName != nil {
		// The handler of a class that the API admitted; runtime classes are not
		// looked up here, their name is the handler's by convention.
		handler = *pod.Spec.RuntimeClassName
	}
	id, err := a.runtime.RunPodSandbox(ctx, config, handler)
	if err != nil {
		return fail(err)
	}
	st, err := a.runtime.PodSandboxStatus(ctx, id)
	if err != nil {
		return fail(err)
	}
	klog.FromContext(ctx).V(2).Info("Sandbox created", "sandbox", id)
	return planner.Result{Sandbox: cri.SandboxOf(st)}
}

// sandboxConfig is a pure function of the pod and the agent's options.
func (a *Agent) sandboxConfig(pod *v1.Pod, attempt uint32) (*runtimeapi.PodSandboxConfig, error) {
	dns, _ := podDNS(pod, a.resolv(), a.o.ClusterDNS, a.o.ClusterDomain)
	out := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt},
		Labels:       cri.SandboxLabels(pod),
		Annotations:  pod.Annotations,
		DnsConfig:    dns,
		LogDirectory: a.logDir(pod),
		Linux:        &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: namespaces(pod, "")}},
	}
	if !pod.Spec.HostNetwork {
		name, err := sandboxHostname(pod, a.o.ClusterDomain)
		if err != nil {
			return nil, err
		}
		out.Hostname = name
	}
	if a.cgroups != nil {
		out.Linux.CgroupParent = a.cgroups.Path(pod.UID, status.QOS(pod))
	}
	containers := pod.Spec.Containers
	for i := range pod.Spec.InitContainers {
		if planner.IsSidecar(&pod.Spec.InitContainers[i]) {
			containers = append(containers[:len(containers):len(containers)], pod.Spec.InitContainers[i])
		}
	}
	for i := range containers {
		c := &containers[i]
		for _, p := range c.Ports {
			if p.HostPort > 0 && !pod.Spec.HostNetwork {
				out.PortMappings = append(out.PortMappings, &runtimeapi.PortMapping{
					Protocol: protocol(p.Protocol), ContainerPort: p.ContainerPort, HostPort: p.HostPort, HostIp: p.HostIP,
				})
			}
		}
		if c.SecurityContext != nil && deref(c.SecurityContext.Privileged) {
			out.Linux.SecurityContext.Privileged = true
		}
	}
	sc := out.Linux.SecurityContext
	sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	if p := pod.Spec.SecurityContext; p != nil {
		if p.RunAsUser != nil {
			sc.RunAsUser = &runtimeapi.Int64Value{Value: *p.RunAsUser}
		}
		if p.RunAsGroup != nil && p.RunAsUser != nil {
			sc.RunAsGroup = &runtimeapi.Int64Value{Value: *p.RunAsGroup}
		}
		sc.SelinuxOptions = selinux(p.SELinuxOptions)
		var err error
		if sc.SupplementalGroups, sc.SupplementalGroupsPolicy, err = groups(pod); err != nil {
			return nil, err
		}
		for _, s := range p.Sysctls {
			if out.Linux.Sysctls == nil {
				out.Linux.Sysctls = map[string]string{}
			}
			out.Linux.Sysctls[strings.ReplaceAll(s.Name, "/", ".")] = s.Value
		}
	}
	return out, nil
}

func protocol(p v1.Protocol) runtimeapi.Protocol {
	switch p {
	case v1.ProtocolUDP:
		return runtimeapi.Protocol_UDP
	case v1.ProtocolSCTP:
		return runtimeapi.Protocol_SCTP
	}
	return runtimeapi.Protocol_TCP
}
