package network

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Route sends the addresses of Dst to Gateway, or, where that is not valid,
// straight to the pod bridge.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
}

// Plan is what the node's kernel should have for the cluster's pod network.
type Plan struct {
	// PodCIDRs are this node's own pod subnets, one per IP family.
	PodCIDRs []netip.Prefix
	// Routes to the other nodes' pod subnets, sorted by destination.
	Routes []Route
	// Unreachable names the nodes that have a pod subnet, but no InternalIP to
	// which this node has a direct link.
	Unreachable []string
}

// Gateways are the bridge's addresses: the first host address of each pod
// subnet with the subnet's length, which is what host-local takes as gateway.
func (p Plan) Gateways() []netip.Prefix {
	var out []netip.Prefix
	for _, c := range p.PodCIDRs {
		out = append(out, netip.PrefixFrom(c.Addr().Next(), c.Bits()))
	}
	return out
}

// HostFacts are what the plan must know of the host.
type HostFacts struct {
	// Direct reports whether an address is reached without a router between.
	Direct func(netip.Addr) bool
	// Local reports whether an address is one of this host's own.
	Local func(netip.Addr) bool
	// NoDefaultRoute4 and 6 say that the host has no default route. It then
	// cannot choose a source address for a service address, so the plan has a
	// route for those.
	NoDefaultRoute4, NoDefaultRoute6 bool
}

// MakePlan computes the plan of node self. The Plan has no PodCIDRs as long as
// the Node has none; it is then otherwise empty too.
func MakePlan(self *corev1.Node, nodes []*corev1.Node, serviceCIDRs []netip.Prefix, host HostFacts) Plan {
	p := Plan{PodCIDRs: podCIDRs(self)}
	if len(p.PodCIDRs) == 0 {
		return Plan{}
	}
	taken := map[netip.Prefix]bool{}
	for _, c := range p.PodCIDRs {
		taken[c] = true
	}
	// In a fixed order, so that of two nodes that claim one subnet always the
	// same one gets the route.
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range nodes {
		if n.Name == self.Name {
			continue
		}
		for _, dst := range podCIDRs(n) {
			if taken[dst] {
				continue
			}
			gw, sameHost := gateway(n, dst, host)
			switch {
			case gw.IsValid():
				taken[dst] = true
				p.Routes = append(p.Routes, Route{Dst: dst, Gateway: gw})
			case !sameHost:
				p.Unreachable = append(p.Unreachable, n.Name)
			}
		}
	}
	for _, dst := range serviceCIDRs {
		dst = dst.Masked()
		if missing := host.NoDefaultRoute6; dst.Addr().Is4() {
			if !host.NoDefaultRoute4 || !hasFamily(p.PodCIDRs, true) {
				continue
			}
		} else if !missing || !hasFamily(p.PodCIDRs, false) {
			continue
		}
		p.Routes = append(p.Routes, Route{Dst: dst})
	}
	slices.SortFunc(p.Routes, compareRoutes)
	p.Unreachable = slices.Compact(p.Unreachable)
	return p
}

// gateway returns the first directly reachable InternalIP of n in dst's family.
// sameHost says that n has an address of this very host (a simulated node, say):
// then there is nowhere to route to, and nothing to complain about.
func gateway(n *corev1.Node, dst netip.Prefix, host HostFacts) (gw netip.Addr, sameHost bool) {
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		ip, err := netip.ParseAddr(a.Address)
		if err != nil {
			continue
		}
		ip = ip.Unmap()
		if ip.Is4() != dst.Addr().Is4() {
			continue
		}
		if host.Local(ip) {
			sameHost = true
			continue
		}
		if host.Direct(ip) {
			return ip, false
		}
	}
	return netip.Addr{}, sameHost
}

// podCIDRs returns a Node's valid pod subnets.
func podCIDRs(n *corev1.Node) []netip.Prefix {
	if n == nil {
		return nil
	}
	ss := n.Spec.PodCIDRs
	if len(ss) == 0 && n.Spec.PodCIDR != "" {
		ss = []string{n.Spec.PodCIDR}
	}
	var out []netip.Prefix
	for _, s := range ss {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

func hasFamily(ps []netip.Prefix, v4 bool) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Addr().Is4() == v4 })
}

func compareRoutes(a, b Route) int {
	return cmp.Or(a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()), a.Gateway.Compare(b.Gateway))
}

// diffRoutes returns what to write (replacing what is there for the same
// destination) and which destinations to remove, to get from have to want.
func diffRoutes(have, want []Route) (set, remove []Route) {
	wanted := map[netip.Prefix]bool{}
	for _, r := range want {
		wanted[r.Dst] = true
	}
	present := map[Route]bool{}
	for _, r := range have {
		present[r] = true
		if !wanted[r.Dst] {
			remove = append(remove, r)
		}
	}
	for _, r := range want {
		if !present[r] {
			set = append(set, r)
		}
	}
	slices.SortFunc(remove, compareRoutes)
	return set, remove
}
