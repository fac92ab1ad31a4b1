package nodeagent

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
)

const (
	etcHosts           = "/etc/hosts"
	hostsHeader        = "# Kubernetes-managed hosts file.\n"
	hostsHeaderHostNet = "# Kubernetes-managed hosts file (host network).\n"
)

// hostsFile returns the content of a pod's /etc/hosts. nodeHosts is the node's
// own, used by pods in the node's network.
func hostsFile(pod *v1.Pod, ips []string, name, domain string, nodeHosts []byte) []byte {
	var b bytes.Buffer
	if pod.Spec.HostNetwork {
		b.WriteString(hostsHeaderHostNet)
		b.Write(nodeHosts)
	} else {
		b.WriteString(hostsHeader)
		b.WriteString("127.0.0.1\tlocalhost\n" +
			"::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::0\tip6-localnet\n" +
			"fe00::0\tip6-mcastprefix\n" +
			"fe00::1\tip6-allnodes\n" +
			"fe00::2\tip6-allrouters\n")
		for _, ip := range ips {
			if domain != "" {
				fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, name, domain, name)
			} else {
				fmt.Fprintf(&b, "%s\t%s\n", ip, name)
			}
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range pod.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
		}
	}
	return b.Bytes()
}

// writeHosts writes a pod's hosts file to path.
func (a *Agent) writeHosts(pod *v1.Pod, ips []string, path string) error {
	name, domain, err := hostname(pod, a.o.ClusterDomain)
	if err != nil {
		return err
	}
	var node []byte
	if pod.Spec.HostNetwork {
		if node, err = os.ReadFile(etcHosts); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.WriteFile(path, hostsFile(pod, ips, name, domain, node), 0o644)
}
