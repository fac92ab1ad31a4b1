package proxy

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/knftables"
)

// DefaultMasqueradeMark is the bit of the packet mark that asks for masquerading,
// kube-proxy's default (--iptables-masquerade-bit 14).
const DefaultMasqueradeMark = 0x4000

// Facts are what the rules of one IP family depend on besides the Services.
type Facts struct {
	Family   corev1.IPFamily
	NodeName string
	NodeIP   netip.Addr
	// Zone is the node's topology.kubernetes.io/zone.
	Zone string
	// ClusterCIDRs are the pods' addresses in this family. What comes from
	// elsewhere to a cluster IP is masqueraded.
	ClusterCIDRs []netip.Prefix
	// ServiceCIDRs are the cluster IPs' range; what goes to an address in it
	// that no Service has is dropped.
	ServiceCIDRs []netip.Prefix
	// NodePortAddresses take NodePort traffic; empty means all of the host's,
	// loopback included if LocalhostNodePorts says so.
	NodePortAddresses  []netip.Addr
	LimitNodePorts     bool
	LocalhostNodePorts bool
	MasqueradeAll      bool
	MasqueradeMark     uint32
}

// Names of chains, sets and maps. Those of Services have a "/" in them.
const (
	chainServices         = "services"
	chainServiceCheck     = "service-endpoints-check"
	chainNodePortCheck    = "nodeport-endpoints-check"
	chainClusterIPsCheck  = "cluster-ips-check"
	chainFirewallCheck    = "firewall-check"
	chainReject           = "reject-chain"
	chainMasquerading     = "masquerading"
	mapServiceIPs         = "service-ips"
	mapServiceNodePorts   = "service-nodeports"
	mapNoEndpointServices = "no-endpoint-services"
	mapNoEndpointPorts    = "no-endpoint-nodeports"
	mapFirewallIPs        = "firewall-ips"
	setClusterIPs         = "cluster-ips"
	setNodePortIPs        = "nodeport-ips"
	setHairpin            = "hairpin-connections"
)

// dialect are the words that differ between the families.
type dialect struct {
	ip, addrType, notLocalhost, localhost string
}

func (f *Facts) dialect() dialect {
	if f.Family == corev1.IPv6Protocol {
		return dialect{"ip6", "ipv6_addr", "ip6 daddr != ::1", "::1"}
	}
	return dialect{"ip", "ipv4_addr", "ip daddr != 127.0.0.0/8", "127.0.0.0/8"}
}

func (f *Facts) masquerade() string {
	return fmt.Sprintf("mark set mark or %#08x", f.MasqueradeMark)
}

// StaticFragment is what a table has whatever the Services are.
func StaticFragment(f *Facts) *Fragment {
	d := f.dialect()
	destination := fmt.Sprintf("%s daddr . meta l4proto . th dport vmap @", d.ip)
	jump := func(chain string) Rule { return Rule{Text: "jump " + chain} }
	jumpNew := func(chain string) Rule { return Rule{Text: "ct state new jump " + chain} }

	// reject is possible in input, forward and output only (before Linux 5.9),
	// so the checks for it come after the decision where a packet goes.
	pre := []Rule{jumpNew(chainFirewallCheck)}
	if f.LocalhostNodePorts && f.Family == corev1.IPv4Protocol {
		// With route_localnet the kernel would take packets for 127.0.0.0/8 from
		// the network too: what listens on loopback only must stay private
		// (CVE-2020-8558).
		pre = append([]Rule{{
			Text:    `iifname != "lo" ip daddr 127.0.0.0/8 ct state new,invalid,untracked drop`,
			Comment: "nothing from outside reaches loopback",
		}}, pre...)
	}
	frag := &Fragment{
		Chains: []Chain{
			{Name: "filter-prerouting-pre-dnat", Hook: &Hook{knftables.FilterType, knftables.PreroutingHook, knftables.DNATPriority + "-10"}, Rules: pre},
			{Name: "filter-output-pre-dnat", Hook: &Hook{knftables.FilterType, knftables.OutputHook, knftables.DNATPriority + "-10"},
				Rules: []Rule{jumpNew(chainFirewallCheck)}},
			{Name: "filter-input", Hook: &Hook{knftables.FilterType, knftables.InputHook, knftables.FilterPriority},
				Rules: []Rule{jumpNew(chainNodePortCheck), jumpNew(chainServiceCheck)}},
			{Name: "filter-forward", Hook: &Hook{knftables.FilterType, knftables.ForwardHook, knftables.FilterPriority},
				Rules: []Rule{jumpNew(chainServiceCheck), jumpNew(chainClusterIPsCheck)}},
			{Name: "filter-output", Hook: &Hook{knftables.FilterType, knftables.OutputHook, knftables.FilterPriority},
				Rules: []Rule{jumpNew(chainServiceCheck), jumpNew(chainClusterIPsCheck)}},
			{Name: "nat-prerouting", Hook: &Hook{knftables.NATType, knftables.PreroutingHook, knftables.DNATPriority}, Rules: []Rule{jump(chainServices)}},
			{Name: "nat-output", Hook: &Hook{knftables.NATType, knftables.OutputHook, knftables.DNATPriority}, Rules: []Rule{jump(chainServices)}},
			{Name: "nat-postrouting", Hook: &Hook{knftables.NATType, knftables.PostroutingHook, knftables.SNATPriority}, Rules: []Rule{jump(chainMasquerading)}},

			{Name: chainMasquerading, Rules: []Rule{
				{Text: fmt.Sprintf("mark and %#08x != 0 mark set mark xor %#08x masquerade fully-random", f.MasqueradeMark, f.MasqueradeMark)},
				// An endpoint that reaches itself through its Service must see
				// another address than its own, or it would answer itself.
				{Text: fmt.Sprintf("ct status dnat %s saddr . %s daddr . meta l4proto . th dport @%s masquerade fully-random", d.ip, d.ip, setHairpin)},
			}},
			{Name: chainFirewallCheck, Rules: []Rule{{Text: destination + mapFirewallIPs}}},
			{Name: chainReject, Rules: []Rule{
				// The kernel limits how many ICMP errors it sends, but not resets:
				// a TCP client learns at once, also the hundredth.
				{Text: "meta l4proto tcp reject with tcp reset"},
				{Text: "reject"},
			}},
			{Name: chainServiceCheck, Rules: []Rule{{Text: destination + mapNoEndpointServices}}},
			{Name: chainClusterIPsCheck, Rules: []Rule{
				{Text: fmt.Sprintf("%s daddr @%s goto %s", d.ip, setClusterIPs, chainReject), Comment: "Reject traffic to invalid ports of ClusterIPs"},
			}},
		},
		Containers: []Container{
			{Name: setClusterIPs, Type: d.addrType, Comment: "Active ClusterIPs"},
			{Name: setHairpin, Type: d.addrType + " . " + d.addrType + " . inet_proto . inet_service", Comment: "service hairpin connections"},
			{Name: mapServiceIPs, IsMap: true, Type: d.addrType + " . inet_proto . inet_service : verdict", Comment: "ClusterIP, ExternalIP and LoadBalancer IP traffic"},
			{Name: mapServiceNodePorts, IsMap: true, Type: "inet_proto . inet_service : verdict", Comment: "NodePort traffic"},
			{Name: mapNoEndpointServices, IsMap: true, Type: d.addrType + " . inet_proto . inet_service : verdict", Comment: "vmap to drop or reject packets to services with no endpoints"},
			{Name: mapNoEndpointPorts, IsMap: true, Type: "inet_proto . inet_service : verdict", Comment: "vmap to drop or reject packets to service nodeports with no endpoints"},
			{Name: mapFirewallIPs, IsMap: true, Type: d.addrType + " . inet_proto . inet_service : verdict", Comment: "destinations that are subject to LoadBalancerSourceRanges"},
		},
	}
	if cidrs := join(f.ServiceCIDRs); cidrs != "" {
		check := &frag.Chains[len(frag.Chains)-1]
		check.Rules = append(check.Rules, Rule{Text: fmt.Sprintf("%s daddr { %s } drop", d.ip, cidrs), Comment: "Drop traffic to unallocated ClusterIPs"})
	}

	// Which of the host's addresses take NodePort traffic.
	nodePort := "fib daddr type local "
	switch {
	case f.LimitNodePorts:
		nodePort = fmt.Sprintf("%s daddr @%s ", d.ip, setNodePortIPs)
		frag.Containers = append(frag.Containers, Container{Name: setNodePortIPs, Type: d.addrType, Comment: "IPs that accept NodePort traffic"})
		for _, a := range f.NodePortAddresses {
			frag.Elements = append(frag.Elements, Element{Container: setNodePortIPs, Key: a.String()})
		}
	case !f.LocalhostNodePorts || f.Family == corev1.IPv6Protocol:
		// The kernel has no route_localnet for IPv6.
		nodePort += d.notLocalhost + " "
	}
	nodePort += "meta l4proto . th dport vmap @"

	var services []Rule
	switch cidrs := join(f.ClusterCIDRs); {
	case f.MasqueradeAll:
		services = append(services, Rule{Text: fmt.Sprintf("%s daddr @%s %s", d.ip, setClusterIPs, f.masquerade()), Comment: "masquerade all clusterIP traffic"})
	case cidrs != "":
		// Who routes the service CIDR to any node from outside of the cluster
		// gets an answer on the same way.
		services = append(services, Rule{
			Text:    fmt.Sprintf("%s daddr @%s %s saddr != { %s } %s", d.ip, setClusterIPs, d.ip, cidrs, f.masquerade()),
			Comment: "masquerade clusterIP traffic from outside cluster",
		})
	}
	services = append(services, Rule{Text: destination + mapServiceIPs}, Rule{Text: nodePort + mapServiceNodePorts})
	frag.Chains = append(frag.Chains,
		Chain{Name: chainNodePortCheck, Rules: []Rule{{Text: nodePort + mapNoEndpointPorts}}},
		Chain{Name: chainServices, Rules: services})
	return frag
}

func join(ps []netip.Prefix) string {
	var ss []string
	for _, p := range ps {
		ss = append(ss, p.Masked().String())
	}
	return strings.Join(ss, ", ")
}
