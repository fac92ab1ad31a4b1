package nodeagent

import (
	"net"
	"os"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of resolv.conf that a pod's configuration is cut to.
const (
	maxNameservers  = 3
	maxSearches     = 32
	maxSearchLength = 2048
)

// resolvConf is what a resolv.conf says.
type resolvConf struct {
	servers, searches, options []string
}

// parseResolvConf reads a resolv.conf; what it does not know it skips.
func parseResolvConf(text string) resolvConf {
	var r resolvConf
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.servers = append(r.servers, f[1])
		case "search":
			r.searches = nil
			for _, s := range f[1:] {
				if s != "." {
					s = strings.TrimSuffix(s, ".")
				}
				r.searches = append(r.searches, s)
			}
		case "options":
			r.options = f[1:]
		}
	}
	return r
}

// resolv is the node's resolver configuration as it is now.
func (a *Agent) resolv() resolvConf {
	data, err := os.ReadFile(a.o.ResolverConfig)
	if err != nil {
		return resolvConf{}
	}
	return parseResolvConf(string(data))
}

// podDNS returns a pod's resolver configuration. node is the node's own,
// cluster the cluster's servers. The second result tells that the pod asked
// for cluster DNS where there is none.
func podDNS(pod *v1.Pod, node resolvConf, cluster []net.IP, domain string) (*runtimeapi.DNSConfig, bool) {
	out := resolvConf{}
	missing := false
	policy := pod.Spec.DNSPolicy
	if policy == "" {
		policy = v1.DNSClusterFirst
	}
	if policy == v1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = v1.DNSDefault
	}
	if policy == v1.DNSClusterFirstWithHostNet {
		policy = v1.DNSClusterFirst
	}
	if policy == v1.DNSClusterFirst && len(cluster) == 0 {
		policy, missing = v1.DNSDefault, true
	}
	switch policy {
	case v1.DNSNone:
	case v1.DNSClusterFirst:
		for _, ip := range cluster {
			out.servers = append(out.servers, ip.String())
		}
		if domain != "" {
			out.searches = append(out.searches, pod.Namespace+".svc."+domain, "svc."+domain, domain)
		}
		out.searches = unique(append(out.searches, node.searches...))
		out.options = []string{"ndots:5"}
	default:
		out = resolvConf{servers: slices.Clone(node.servers), searches: slices.Clone(node.searches), options: slices.Clone(node.options)}
		if len(out.servers) == 0 {
			// As the C library does when resolv.conf names none.
			out.servers = []string{"127.0.0.1"}
		}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		out.servers = unique(append(out.servers, c.Nameservers...))
		out.searches = unique(append(out.searches, c.Searches...))
		out.options = mergeOptions(out.options, c.Options)
	}
	if len(out.servers) > maxNameservers {
		out.servers = out.servers[:maxNameservers]
	}
	if len(out.searches) > maxSearches {
		out.searches = out.searches[:maxSearches]
	}
	for len(strings.Join(out.searches, " ")) > maxSearchLength {
		out.searches = out.searches[:len(out.searches)-1]
	}
	return &runtimeapi.DNSConfig{Servers: out.servers, Searches: out.searches, Options: out.options}, missing
}

// mergeOptions lets the pod's options replace those of the same name.
func mergeOptions(base []string, more []v1.PodDNSConfigOption) []string {
	var out []string
	name := func(o string) string { n, _, _ := strings.Cut(o, ":"); return n }
	replaced := map[string]bool{}
	for _, o := range more {
		replaced[o.Name] = true
	}
	for _, o := range base {
		if !replaced[name(o)] {
			out = append(out, o)
		}
	}
	for _, o := range more {
		if o.Value != nil && *o.Value != "" {
			out = append(out, o.Name+":"+*o.Value)
		} else {
			out = append(out, o.Name)
		}
	}
	return out
}

func unique(in []string) []string {
	var out []string
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
