package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"proa/nodeagent/proxy"
)

// aloneTable is the nftables table of a proxy that runs alone. It is not
// upstream's kube-proxy, which may have rules of its own to be cleaned up.
const aloneTable = "proa-kube-proxy"

// nodeWait is how long the proxy waits for the Node that tells its address.
const nodeWait = 30 * time.Second

// proxyFlags are kube-proxy's flags that have a meaning here.
type proxyFlags struct {
	set                                        *pflag.FlagSet
	api                                        apiFlags
	file, hostname, clusterCIDR, healthz       string
	nodePorts                                  []string
	masqueradeAll, localhostNodePorts, cleanup bool
}

// proxyFile is what is read of a KubeProxyConfiguration.
type proxyFile struct {
	ClientConnection struct {
		Kubeconfig string `json:"kubeconfig"`
	} `json:"clientConnection"`
	HostnameOverride   string   `json:"hostnameOverride"`
	ClusterCIDR        string   `json:"clusterCIDR"`
	HealthzBindAddress string   `json:"healthzBindAddress"`
	NodePortAddresses  []string `json:"nodePortAddresses"`
	IPTables           struct {
		MasqueradeAll      bool  `json:"masqueradeAll"`
		LocalhostNodePorts *bool `json:"localhostNodePorts"`
	} `json:"iptables"`
	NFTables struct {
		MasqueradeAll bool `json:"masqueradeAll"`
	} `json:"nftables"`
}

func newProxyAlone(f *pflag.FlagSet, _ *prometheus.Registry) func(context.Context) (Component, error) {
	p := &proxyFlags{set: f}
	p.api.flags(f)
	f.StringVar(&p.file, "config", "", "KubeProxyConfiguration; its fields that match a flag here count, unless the flag is given")
	f.StringVar(&p.hostname, "hostname-override", "", "name of this machine's node; default: the host name")
	f.StringVar(&p.clusterCIDR, "cluster-cidr", "", "addresses of pods")
	f.StringVar(&p.healthz, "healthz-bind-address", "0.0.0.0:10256", "address of /healthz and /livez; empty for none")
	f.StringSliceVar(&p.nodePorts, "nodeport-addresses", nil, "ranges of the host's addresses that serve node ports; none means all")
	f.BoolVar(&p.masqueradeAll, "masquerade-all", false, "masquerade all that goes to cluster IPs")
	f.BoolVar(&p.cleanup, "cleanup", false, "remove the rules of a proxy that ran alone here, and end")
	f.BoolVar(&p.localhostNodePorts, "iptables-localhost-nodeports", true, "serve node ports on 127.0.0.1")
	return p.start
}

func (p *proxyFlags) start(ctx context.Context) (Component, error) {
	if p.cleanup {
		if err := proxy.Cleanup(ctx, aloneTable); err != nil {
			return nil, fmt.Errorf("--cleanup: %w", err)
		}
		return nil, errDone
	}
	if p.file != "" {
		if err := p.merge(); err != nil {
			return nil, err
		}
	}
	o := proxy.Options{
		Table: aloneTable, HealthzAddress: p.healthz, MasqueradeAll: p.masqueradeAll,
		DisableLocalhostNodePorts: !p.localhostNodePorts, Clock: clock.RealClock{},
	}
	var err error
	if o.NodeName, err = nodeNameOr(p.hostname); err != nil {
		return nil, err
	}
	if p.clusterCIDR != "" {
		if o.ClusterCIDRs, err = prefixes(p.clusterCIDR); err != nil {
			return nil, usageError{fmt.Errorf("--cluster-cidr: %w", err)}
		}
	}
	primary := len(p.nodePorts) == 1 && p.nodePorts[0] == "primary"
	if len(p.nodePorts) > 0 && !primary {
		if o.NodePortAddresses, err = prefixes(strings.Join(p.nodePorts, ",")); err != nil {
			return nil, usageError{fmt.Errorf("--nodeport-addresses: %w", err)}
		}
	}
	if o.Config, err = p.api.config(); err != nil {
		return nil, err
	}
	if o.NodeIPs, err = nodeAddresses(ctx, o.Config, o.NodeName); err != nil {
		return nil, err
	}
	if primary {
		o.NodePortAddresses = hostPrefixes(o.NodeIPs)
	}
	return proxy.New(o)
}

// merge takes from the file what no flag says.
func (p *proxyFlags) merge() error {
	b, err := os.ReadFile(p.file)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var c proxyFile
	if err := yaml.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("--config %s: %w", p.file, err)
	}
	for flag, pair := range map[string]struct {
		to   *string
		from string
	}{
		"kubeconfig": {&p.api.kubeconfig, c.ClientConnection.Kubeconfig}, "hostname-override": {&p.hostname, c.HostnameOverride},
		"cluster-cidr": {&p.clusterCIDR, c.ClusterCIDR}, "healthz-bind-address": {&p.healthz, c.HealthzBindAddress},
	} {
		if pair.from != "" && !p.set.Changed(flag) {
			*pair.to = pair.from
		}
	}
	if len(c.NodePortAddresses) > 0 && !p.set.Changed("nodeport-addresses") {
		p.nodePorts = c.NodePortAddresses
	}
	if !p.set.Changed("masquerade-all") {
		p.masqueradeAll = c.IPTables.MasqueradeAll || c.NFTables.MasqueradeAll
	}
	if c.IPTables.LocalhostNodePorts != nil && !p.set.Changed("iptables-localhost-nodeports") {
		p.localhostNodePorts = *c.IPTables.LocalhostNodePorts
	}
	return nil
}

// nodeAddresses asks the API for the node's own addresses. Without a Node after
// a while it is this host's address.
func nodeAddresses(ctx context.Context, config *rest.Config, name string) ([]netip.Addr, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	var last error
	err = wait.PollUntilContextTimeout(ctx, time.Second, nodeWait, true, func(ctx context.Context) (bool, error) {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if last = err; err != nil {
			return false, nil
		}
		out = internalIPs(n)
		return len(out) > 0, nil
	})
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	if len(out) > 0 {
		return out, nil
	}
	own := hostAddress("0.0.0.0")
	klog.FromContext(ctx).Info("The node's address is not known from the API; using the host's", "node", name, "address", own, "reason", last)
	return addresses(own), nil
}

// internalIPs are a node's addresses in the cluster.
func internalIPs(n *corev1.Node) []netip.Addr {
	var out []netip.Addr
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, ok := netip.AddrFromSlice(net.ParseIP(a.Address)); ok {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// hostPrefixes are ranges of one address each.
func hostPrefixes(ips []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, ip := range ips {
		out = append(out, netip.PrefixFrom(ip, ip.BitLen()))
	}
	return out
}
