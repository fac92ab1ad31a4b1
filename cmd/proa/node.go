package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"proa/nodeagent"
	"proa/nodeagent/dns"
	"proa/nodeagent/hostid"
	"proa/nodeagent/network"
	"proa/nodeagent/proxy"
	"proa/nodeagent/runtime"
)

// node is this machine as a node of a cluster: what `proa server` and `proa
// agent` have in common.
type node struct {
	dataDir, name string
	ip            net.IP
	port          int
	podLogsDir    string
	runtimeBinDir string
	domain        string
	clusterCIDRs  []netip.Prefix
	serviceCIDRs  []netip.Prefix
	id            hostid.ID
	clock         clock.WithTickerAndDelayedExecution
	// config leads to the API as the node; proxyConfig as the service proxy.
	config, proxyConfig func() *rest.Config
	// dnsConfig may keep the cluster DNS Service.
	dnsConfig func() *rest.Config
	// serving finds the agent's serving certificate at each connection.
	serving func(context.Context) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error)
	// clientCA is whose client certificates the agent's server accepts (PEM).
	clientCA func() []byte

	runtime *runtime.Runtime
	network *network.Network
}

func (n *node) startRuntime(context.Context) (Component, error) {
	var err error
	n.runtime, err = runtime.New(runtime.Options{DataDir: n.dataDir, ID: n.id, BinDir: n.runtimeBinDir, Clock: n.clock})
	return n.runtime, err
}

func (n *node) startNetwork(context.Context) (Component, error) {
	var err error
	n.network, err = network.New(network.Options{
		Config: n.config(), NodeName: n.name, Bridge: n.id.Names().Bridge, Table: n.id.Names().Table + "-network",
		CNIConfDir: n.runtime.CNIConfDir(), CNIDataDir: filepath.Join(n.dataDir, "cni", "ipam"),
		ClusterCIDRs: n.clusterCIDRs, ServiceCIDRs: n.serviceCIDRs, Clock: n.clock,
	})
	return n.network, err
}

func (n *node) startAgent(ctx context.Context) (Component, error) {
	cert, err := n.serving(ctx)
	if err != nil {
		return nil, err
	}
	return nodeagent.New(nodeagent.Options{
		Config: n.config(), NodeName: n.name, NodeIP: n.ip,
		RuntimeEndpoint: n.runtime.Endpoint(), RootDir: n.dataDir, PodLogsDir: n.podLogsDir,
		CgroupRoot: n.runtime.CgroupParent(), ClusterDNS: n.dnsIPs(), ClusterDomain: n.domain,
		Port: n.port, GetCertificate: cert, ClientCA: n.clientCA(), Clock: n.clock,
	})
}

func (n *node) startProxy(context.Context) (Component, error) {
	return proxy.New(proxy.Options{
		Config: n.proxyConfig(), NodeName: n.name, NodeIPs: n.addrs(), Table: n.id.Names().Table,
		ClusterCIDRs: n.clusterCIDRs, ServiceCIDRs: n.serviceCIDRs, Clock: n.clock,
	})
}

func (n *node) startDNS(context.Context) (Component, error) {
	var services []netip.Addr
	for _, p := range n.serviceCIDRs {
		ip, err := dns.ServiceIP(p)
		if err != nil {
			return nil, err
		}
		services = append(services, ip)
	}
	return dns.New(dns.Options{
		Config: n.dnsConfig(), Domain: n.domain, NodeName: n.name, ServiceIPs: services, ManageService: true,
		ListenOn: func(ctx context.Context) ([]netip.AddrPort, error) {
			gateways, err := n.network.Gateways(ctx)
			var out []netip.AddrPort
			for _, g := range gateways {
				out = append(out, netip.AddrPortFrom(g, 53))
			}
			return out, err
		},
		OwnCIDRs: append(append([]netip.Prefix{}, n.clusterCIDRs...), n.serviceCIDRs...), Clock: n.clock,
	})
}

func (n *node) addrs() []netip.Addr {
	a, _ := netip.AddrFromSlice(n.ip)
	return []netip.Addr{a.Unmap()}
}

// dnsIPs are the addresses that pods ask.
func (n *node) dnsIPs() []net.IP {
	var out []net.IP
	for _, p := range n.serviceCIDRs {
		if ip, err := dns.ServiceIP(p); err == nil {
			out = append(out, ip.AsSlice())
		}
	}
	return out
}
