package proxy

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/knftables"
)

// LabelServiceProxyName on a Service leaves it to another proxy.
const LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// ServiceFragment is what one Service contributes to one family's table, given
// its EndpointSlices; nil if that is nothing: it is headless, an alias, another
// proxy's, or has no cluster IP of this family.
func ServiceFragment(f *Facts, svc *corev1.Service, slcs []*discoveryv1.EndpointSlice) *Fragment {
	clusterIP := clusterIP(f, svc)
	if _, others := svc.Labels[LabelServiceProxyName]; !clusterIP.IsValid() || others {
		return nil
	}
	b := &builder{Facts: f, dialect: f.dialect(), frag: &Fragment{}, svc: svc, clusterIP: clusterIP}
	b.external = f.addresses(svc.Spec.ExternalIPs)
	for _, in := range svc.Status.LoadBalancer.Ingress {
		// A load balancer in Proxy mode sends to node ports; traffic for its
		// address shall pass through it (KEP-1860).
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && deref(in.IPMode, corev1.LoadBalancerIPModeVIP) == corev1.LoadBalancerIPModeVIP {
			b.ingress = append(b.ingress, f.addresses([]string{in.IP})...)
		}
	}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		for _, s := range svc.Spec.LoadBalancerSourceRanges {
			if p, err := netip.ParsePrefix(strings.TrimSpace(s)); err == nil && f.is(p.Addr()) {
				b.sources = append(b.sources, p.Masked())
			}
		}
	}
	b.internalLocal = deref(svc.Spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster) == corev1.ServiceInternalTrafficPolicyLocal
	b.externalLocal = svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		seconds := corev1.DefaultClientIPServiceAffinitySeconds
		if c := svc.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil {
			seconds = deref(c.ClientIP.TimeoutSeconds, seconds)
		}
		b.affinity = time.Duration(seconds) * time.Second
	}

	byPort := endpointsByPort(f, slcs)
	localIPs := map[netip.Addr]bool{}
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		protocol := p.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		eps := byPort[portName{p.Name, protocol}]
		b.port(p, strings.ToLower(string(protocol)), eps)
		for _, e := range eps {
			if e.local && e.ready {
				localIPs[e.addr.Addr()] = true
			}
		}
	}
	if b.externalLocal && svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		b.frag.HealthCheckNodePort, b.frag.LocalEndpoints = svc.Spec.HealthCheckNodePort, len(localIPs)
	}
	return b.frag
}

// builder holds what is the same for all ports of a Service.
type builder struct {
	*Facts
	dialect
	frag                         *Fragment
	svc                          *corev1.Service
	clusterIP                    netip.Addr
	external, ingress            []netip.Addr
	sources                      []netip.Prefix
	internalLocal, externalLocal bool
	affinity                     time.Duration
}

func (b *builder) chain(name string, rules ...Rule) {
	b.frag.Chains = append(b.frag.Chains, Chain{Name: name, Rules: rules})
}

func (b *builder) element(container, key, value, comment string) {
	b.frag.Elements = append(b.frag.Elements, Element{Container: container, Key: key, Value: value, Comment: comment})
}

// port adds the rules of one service port. A packet's way is
//
//	service-ips ─► service-… or local-… (by traffic policy) ─► endpoint
//	service-ips, service-nodeports ─► external-… ─► service-… or local-… ─► endpoint
//
// and, if there is no endpoint, the no-endpoint maps' verdict.
func (b *builder) port(p *corev1.ServicePort, protocol string, eps []endpoint) {
	exposed := p.NodePort != 0 || len(b.external) > 0 || len(b.ingress) > 0
	// Also traffic of policy Local uses the cluster's endpoints when it comes
	// from this node or its pods.
	usesCluster := !b.internalLocal || exposed
	usesLocal := b.internalLocal || b.externalLocal && exposed
	sel := selectEndpoints(b.Facts, eps, usesCluster, usesLocal)

	comment := comment(b.svc.Namespace + "/" + b.svc.Name)
	if p.Name != "" {
		comment = truncate(comment+":"+p.Name, knftables.CommentLengthMax)
	}
	base := strings.Join([]string{b.svc.Namespace, b.svc.Name, protocol, p.Name}, "/")
	hashed := hashName(base)
	clusterChain, localChain, externalChain, firewallChain := "service-"+hashed, "local-"+hashed, "external-"+hashed, "firewall-"+hashed

	internal, internalHas := clusterChain, sel.any
	if b.internalLocal {
		internal, internalHas = localChain, len(sel.local) > 0
	}
	externalPolicy, externalHas := clusterChain, sel.any
	if b.externalLocal {
		externalPolicy, externalHas = localChain, len(sel.local) > 0
	}
	// No endpoint anywhere: say so to the client. None here only: be silent, so
	// that a load balancer finds another node.
	missing := "drop"
	if !sel.any {
		missing = "goto " + chainReject
	} else {
		if !internalHas {
			b.frag.NoLocalInternal++
		}
		if !externalHas && exposed {
			b.frag.NoLocalExternal++
		}
	}

	key := func(ip netip.Addr) string { return fmt.Sprintf("%s . %s . %d", ip, protocol, p.Port) }
	b.element(setClusterIPs, b.clusterIP.String(), "", "")
	if internalHas {
		b.element(mapServiceIPs, key(b.clusterIP), "goto "+internal, "")
	} else {
		b.element(mapNoEndpointServices, key(b.clusterIP), missing, comment)
	}
	firewalled := len(b.ingress) > 0 && len(b.sources) > 0
	for _, ip := range slices.Concat(b.external, b.ingress) {
		if sel.any {
			b.element(mapServiceIPs, key(ip), "goto "+externalChain, "")
		}
		if !externalHas {
			b.element(mapNoEndpointServices, key(ip), missing, comment)
		}
	}
	if firewalled {
		for _, ip := range b.ingress {
			b.element(mapFirewallIPs, key(ip), "goto "+firewallChain, "")
		}
		b.chain(firewallChain, b.firewall())
	}
	if p.NodePort != 0 {
		// Node ports are not subject to loadBalancerSourceRanges.
		k := fmt.Sprintf("%s . %d", protocol, p.NodePort)
		if sel.any {
			b.element(mapServiceNodePorts, k, "goto "+externalChain, "")
		}
		if !externalHas {
			b.element(mapNoEndpointPorts, k, missing, comment)
		}
	}

	if exposed && sel.any {
		b.chain(externalChain, b.externalRules(clusterChain, externalPolicy, externalHas)...)
	}
	if len(sel.cluster) > 0 && usesCluster {
		b.chain(clusterChain, b.balance(base, protocol, sel.cluster)...)
	}
	if len(sel.local) > 0 && usesLocal {
		b.chain(localChain, b.balance(base, protocol, sel.local)...)
	}
	for _, e := range sel.reachable {
		if e.local {
			ip := e.addr.Addr().String()
			b.element(setHairpin, fmt.Sprintf("%s . %s . %s . %d", ip, ip, protocol, e.addr.Port()), "", "")
		}
		if b.affinity > 0 {
			chain, set := b.affinityNames(base, e)
			b.frag.Containers = append(b.frag.Containers, Container{Name: set, Type: b.addrType, Timeout: b.affinity})
			b.chain(chain,
				Rule{Text: fmt.Sprintf("update @%s { %s saddr }", set, b.ip)},
				Rule{Text: fmt.Sprintf("meta l4proto %s dnat to %s", protocol, e.addr)})
		}
	}
	if protocol == "udp" {
		u := UDPPort{NodePort: uint16(p.NodePort)}
		for _, ip := range slices.Concat([]netip.Addr{b.clusterIP}, b.external, b.ingress) {
			u.Frontends = append(u.Frontends, netip.AddrPortFrom(ip, uint16(p.Port)))
		}
		for _, e := range eps {
			if e.serving {
				u.Backends = append(u.Backends, e.addr)
			}
		}
		b.frag.UDP = append(b.frag.UDP, u)
	}
}

// externalRules are for what comes to a node port, external or load balancer IP.
func (b *builder) externalRules(clusterChain, policyChain string, has bool) []Rule {
	var rules []Rule
	if !b.externalLocal {
		// The endpoint may be on another node and must answer through this one.
		rules = append(rules, Rule{Text: b.masquerade(), Comment: "masquerade"})
	} else {
		// The client's address is kept. Pods and the host itself are not from
		// outside: for them it is as if they had gone through a load balancer.
		if cidrs := join(b.ClusterCIDRs); cidrs != "" {
			rules = append(rules, Rule{
				Text: fmt.Sprintf("%s saddr { %s } goto %s", b.ip, cidrs, clusterChain), Comment: "short-circuit pod traffic",
			})
		}
		rules = append(rules,
			Rule{Text: "fib saddr type local " + b.masquerade(), Comment: "masquerade local traffic"},
			Rule{Text: "fib saddr type local goto " + clusterChain, Comment: "short-circuit local traffic"})
	}
	if has {
		rules = append(rules, Rule{Text: "goto " + policyChain})
	}
	return rules
}

// balance leads to one of eps at random, or to the one a client had before.
func (b *builder) balance(base, protocol string, eps []endpoint) []Rule {
	var rules []Rule
	targets := make([]string, len(eps))
	for i, e := range eps {
		if b.affinity > 0 {
			chain, set := b.affinityNames(base, e)
			rules = append(rules, Rule{Text: fmt.Sprintf("%s saddr @%s goto %s", b.ip, set, chain)})
			targets[i] = fmt.Sprintf("%d : goto %s", i, chain)
		} else {
			targets[i] = fmt.Sprintf("%d : %s . %d", i, e.addr.Addr(), e.addr.Port())
		}
	}
	list := strings.Join(targets, " , ")
	if b.affinity > 0 {
		return append(rules, Rule{Text: fmt.Sprintf("numgen random mod %d vmap { %s }", len(eps), list)})
	}
	return append(rules, Rule{Text: fmt.Sprintf("meta l4proto %s dnat %s addr . port to numgen random mod %d map { %s }", protocol, b.ip, len(eps), list)})
}

// firewall drops what does not come from the Service's source ranges. The node
// itself, if allowed, may appear under the balancer's address.
func (b *builder) firewall() Rule {
	var from []string
	allowed := func(ip netip.Addr) bool {
		return slices.ContainsFunc(b.sources, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	for i, p := range b.sources {
		// nft refuses intervals within others.
		if !slices.ContainsFunc(b.sources, func(o netip.Prefix) bool { return o.Bits() < p.Bits() && o.Overlaps(p) }) && !slices.Contains(b.sources[:i], p) {
			from = append(from, p.String())
		}
	}
	if b.NodeIP.IsValid() && allowed(b.NodeIP) {
		for i, ip := range b.ingress {
			if !allowed(ip) && !slices.Contains(b.ingress[:i], ip) {
				from = append(from, ip.String())
			}
		}
	}
	return Rule{Text: fmt.Sprintf("%s saddr != { %s } drop", b.ip, strings.Join(from, ", "))}
}

// affinityNames are an endpoint's chain and the set of the clients that stay with
// it. The timeout is part of the name, as it cannot be changed in a set.
func (b *builder) affinityNames(base string, e endpoint) (chain, set string) {
	ip := strings.ReplaceAll(e.addr.Addr().String(), ":", ".")
	name := base + "__" + ip + "/" + strconv.Itoa(int(e.addr.Port()))
	seconds := strconv.Itoa(int(b.affinity / time.Second))
	return "endpoint-" + hashName(name+"/"+seconds), "affinity-" + hashName(name+"/"+seconds)
}

func clusterIP(f *Facts, svc *corev1.Service) netip.Addr {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return netip.Addr{}
	}
	ips := svc.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{svc.Spec.ClusterIP}
	}
	for _, a := range f.addresses(ips) {
		return a
	}
	return netip.Addr{}
}

func (f *Facts) is(a netip.Addr) bool { return a.Is4() == (f.Family == corev1.IPv4Protocol) }

// addresses parses those of ss that are of the family.
func (f *Facts) addresses(ss []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range ss {
		if a, err := netip.ParseAddr(s); err == nil && f.is(a) && a.Zone() == "" {
			out = append(out, a)
		}
	}
	return out
}

// hashName makes a chain or set name of name: a hash, so that names which differ
// little or only past nft's limit differ visibly, then as much of name as fits.
func hashName(name string) string {
	const longest = knftables.NameLengthMax - len("endpoint-") - 7
	sum := sha256.Sum256([]byte(name))
	return truncate(base32.StdEncoding.EncodeToString(sum[:])[:8]+"-"+name, longest)
}

func comment(s string) string { return truncate(s, knftables.CommentLengthMax) }

func truncate(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}
