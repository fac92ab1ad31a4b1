package proxy

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// endpoint is one place where a service port is served.
type endpoint struct {
	addr netip.AddrPort
	// ready: takes new connections. serving and terminating: still answers, but
	// is on its way out; taken only where nobody is ready.
	ready, serving, terminating bool
	local                       bool
	forZones, forNodes          []string
}

// portName identifies a port of a Service across its EndpointSlices.
type portName struct {
	name     string
	protocol corev1.Protocol
}

// endpointsByPort collects the endpoints of one family from a Service's slices,
// each address once, sorted.
func endpointsByPort(f *Facts, slcs []*discoveryv1.EndpointSlice) map[portName][]endpoint {
	family := discoveryv1.AddressTypeIPv4
	if f.Family == corev1.IPv6Protocol {
		family = discoveryv1.AddressTypeIPv6
	}
	out := map[portName][]endpoint{}
	for _, s := range slcs {
		if s.AddressType != family {
			continue
		}
		for _, p := range s.Ports {
			if p.Port == nil || *p.Port <= 0 || *p.Port > 65535 {
				continue
			}
			name := portName{deref(p.Name, ""), deref(p.Protocol, corev1.ProtocolTCP)}
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				if len(e.Addresses) == 0 {
					continue
				}
				// Addresses beyond the first have no meaning (API documentation).
				ip, err := netip.ParseAddr(e.Addresses[0])
				if err != nil {
					continue
				}
				ep := endpoint{
					addr:        netip.AddrPortFrom(ip.Unmap(), uint16(*p.Port)),
					ready:       deref(e.Conditions.Ready, true),
					serving:     deref(e.Conditions.Serving, true),
					terminating: deref(e.Conditions.Terminating, false),
					local:       deref(e.NodeName, "") == f.NodeName && f.NodeName != "",
				}
				if e.Hints != nil {
					for _, z := range e.Hints.ForZones {
						ep.forZones = append(ep.forZones, z.Name)
					}
					for _, n := range e.Hints.ForNodes {
						ep.forNodes = append(ep.forNodes, n.Name)
					}
				}
				out[name] = append(out[name], ep)
			}
		}
	}
	for name, eps := range out {
		// Of two entries for one address (a pod may move between slices) the
		// better one counts.
		slices.SortStableFunc(eps, func(a, b endpoint) int {
			return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(rank(b), rank(a)))
		})
		out[name] = slices.CompactFunc(eps, func(a, b endpoint) bool { return a.addr == b.addr })
	}
	return out
}

func rank(e endpoint) int {
	switch {
	case e.ready:
		return 2
	case e.serving:
		return 1
	}
	return 0
}

// selection are the endpoints that a service port uses from this node.
type selection struct {
	// cluster are those for traffic that may go anywhere, local those for
	// traffic that must stay on the node; reachable is their union.
	cluster, local, reachable []endpoint
	// any: somewhere in the cluster is an endpoint that can be used.
	any bool
}

// selectEndpoints chooses, separately for the whole cluster and for this node:
// ready endpoints, else those that still serve while terminating (KEP-1669).
// Hints narrow the cluster's ones to this node or zone, if every ready endpoint
// has one and at least one is for here (KEP-2433, KEP-3015).
func selectEndpoints(f *Facts, eps []endpoint, usesCluster, usesLocal bool) selection {
	ready := func(e endpoint) bool { return e.ready }
	fading := func(e endpoint) bool { return e.serving && e.terminating }
	var s selection
	s.any = slices.ContainsFunc(eps, func(e endpoint) bool { return ready(e) || fading(e) })
	if usesCluster {
		all := filter(eps, ready)
		s.cluster = hinted(f, all)
		if len(all) == 0 {
			s.cluster = filter(eps, fading)
		}
	}
	if usesLocal {
		here := filter(eps, func(e endpoint) bool { return e.local })
		if s.local = filter(here, ready); len(s.local) == 0 {
			s.local = filter(here, fading)
		}
	}
	s.reachable = slices.Concat(s.cluster, s.local)
	slices.SortFunc(s.reachable, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
	s.reachable = slices.CompactFunc(s.reachable, func(a, b endpoint) bool { return a.addr == b.addr })
	return s
}

func hinted(f *Facts, ready []endpoint) []endpoint {
	for _, by := range []struct {
		here  string
		hints func(endpoint) []string
	}{
		{f.NodeName, func(e endpoint) []string { return e.forNodes }},
		{f.Zone, func(e endpoint) []string { return e.forZones }},
	} {
		if by.here == "" || slices.ContainsFunc(ready, func(e endpoint) bool { return len(by.hints(e)) == 0 }) {
			continue
		}
		if here := filter(ready, func(e endpoint) bool { return slices.Contains(by.hints(e), by.here) }); len(here) > 0 {
			return here
		}
	}
	return ready
}

func filter(eps []endpoint, keep func(endpoint) bool) []endpoint {
	var out []endpoint
	for _, e := range eps {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
