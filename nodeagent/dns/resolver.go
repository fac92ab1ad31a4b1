package dns

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// SpecVersion is the version of the Kubernetes DNS specification served, the
// answer to a TXT question for dns-version.<domain>.
const SpecVersion = "1.1.0"

// Lister is what the resolver knows of the cluster. What it returns is read only.
type Lister interface {
	// HasNamespace reports whether the namespace exists.
	HasNamespace(name string) bool
	// Service returns nil if there is none.
	Service(namespace, name string) *corev1.Service
	// Slices are the EndpointSlices of a Service.
	Slices(namespace, service string) []*discoveryv1.EndpointSlice
	// ServicesByIP are the Services that have ip as a cluster IP.
	ServicesByIP(ip netip.Addr) []*corev1.Service
	// SlicesByIP are the EndpointSlices that have an endpoint with address ip.
	SlicesByIP(ip netip.Addr) []*discoveryv1.EndpointSlice
}

// Resolver answers questions about the cluster's names.
type Resolver struct {
	// Domain is the cluster domain, fully qualified and in lower case ("cluster.local.").
	Domain string
	// TTL of every record, in seconds, negative answers included.
	TTL uint32
	// ServiceIPs are the addresses of the DNS service itself, for ns.dns.<domain>.
	ServiceIPs []netip.Addr
	// OwnCIDRs are the pod and service addresses. Reverse questions about them
	// are never passed on to other servers.
	OwnCIDRs []netip.Prefix
	Lister   Lister
}

// Result is the answer to one question.
type Result struct {
	// Mine is false if the name is not the cluster's: somebody else must answer.
	Mine  bool
	Rcode int
	// Answer and Extra are the sections; Authority of a negative answer is SOA.
	Answer, Authority, Extra []dns.RR
	// Target is the name a CNAME in Answer leads to, if that is not the cluster's.
	Target string
}

// maxChain bounds how many aliases in a row are followed.
const maxChain = 8

// Resolve answers the question for qname (fully qualified, in any case; records
// repeat it as asked) and qtype.
func (r *Resolver) Resolve(qname string, qtype uint16) Result {
	name := strings.ToLower(qname)
	switch {
	case name == r.Domain || strings.HasSuffix(name, "."+r.Domain):
		return r.resolve(qname, strings.TrimSuffix(strings.TrimSuffix(name, r.Domain), "."), qtype, maxChain)
	case dns.IsSubDomain("in-addr.arpa.", name) || dns.IsSubDomain("ip6.arpa.", name):
		return r.reverse(qname, name, qtype)
	}
	return Result{}
}

// resolve answers for rest, the part of the name before the domain, in lower case.
func (r *Resolver) resolve(qname, rest string, qtype uint16, chain int) Result {
	var labels []string
	if rest != "" {
		labels = strings.Split(rest, ".")
	}
	n := len(labels)
	if n == 0 {
		switch qtype {
		case dns.TypeSOA:
			return found(r.soa(r.Domain))
		case dns.TypeNS:
			res := found(&dns.NS{Hdr: r.header(qname, dns.TypeNS), Ns: "ns.dns." + r.Domain})
			res.Extra = r.addresses("ns.dns."+r.Domain, dns.TypeANY, r.ServiceIPs)
			return res
		}
		return r.negative(dns.RcodeSuccess)
	}
	switch labels[n-1] {
	case "svc":
		return r.service(qname, labels[:n-1], qtype, chain)
	case "pod":
		return r.pod(qname, labels[:n-1], qtype)
	case "dns-version":
		if n == 1 {
			if qtype == dns.TypeTXT {
				return found(&dns.TXT{Hdr: r.header(qname, dns.TypeTXT), Txt: []string{SpecVersion}})
			}
			return r.negative(dns.RcodeSuccess)
		}
	case "dns":
		if n == 1 {
			return r.negative(dns.RcodeSuccess)
		}
		if n == 2 && labels[0] == "ns" {
			return r.positive(r.addresses(qname, qtype, r.ServiceIPs), nil)
		}
	}
	return r.negative(dns.RcodeNameError)
}

// service answers for labels + ".svc.<domain>".
func (r *Resolver) service(qname string, labels []string, qtype uint16, chain int) Result {
	n := len(labels)
	if n == 0 {
		return r.negative(dns.RcodeSuccess)
	}
	namespace := labels[n-1]
	if !r.Lister.HasNamespace(namespace) {
		return r.negative(dns.RcodeNameError)
	}
	if n == 1 {
		return r.negative(dns.RcodeSuccess)
	}
	svc := r.Lister.Service(namespace, labels[n-2])
	if svc == nil {
		return r.negative(dns.RcodeNameError)
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		if n != 2 || svc.Spec.ExternalName == "" {
			return r.negative(dns.RcodeNameError)
		}
		return r.alias(qname, svc.Spec.ExternalName, qtype, chain)
	}
	switch {
	case n == 2:
		if qtype == dns.TypeSRV {
			return r.srv(qname, svc, "", "")
		}
		if ips := clusterIPs(svc); len(ips) > 0 {
			return r.positive(r.addresses(qname, qtype, ips), nil)
		}
		var ips []netip.Addr
		for _, e := range r.endpoints(svc) {
			ips = append(ips, e.ip)
		}
		return r.positive(r.addresses(qname, qtype, ips), nil)

	case n == 3 && !strings.HasPrefix(labels[0], "_"):
		var ips []netip.Addr
		for _, e := range r.endpoints(svc) {
			if e.label() == labels[0] {
				ips = append(ips, e.ip)
			}
		}
		if len(ips) == 0 {
			return r.negative(dns.RcodeNameError)
		}
		return r.positive(r.addresses(qname, qtype, ips), nil)

	case n == 3 || n == 4 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_"):
		port, proto := "", labels[n-3][1:]
		if n == 4 {
			port = labels[0][1:]
		}
		res := r.srv(qname, svc, port, proto)
		if len(res.Answer) == 0 {
			return r.negative(dns.RcodeNameError)
		}
		// The name of a protocol alone only is a place in the tree.
		if n == 3 || qtype != dns.TypeSRV {
			return r.negative(dns.RcodeSuccess)
		}
		return res
	}
	return r.negative(dns.RcodeNameError)
}

// pod answers for labels + ".pod.<domain>": an address written with dashes, in
// any namespace that exists (CoreDNS's "pods insecure", kubeadm's setting).
func (r *Resolver) pod(qname string, labels []string, qtype uint16) Result {
	n := len(labels)
	if n == 0 {
		return r.negative(dns.RcodeSuccess)
	}
	if n > 2 || !r.Lister.HasNamespace(labels[n-1]) {
		return r.negative(dns.RcodeNameError)
	}
	if n == 1 {
		return r.negative(dns.RcodeSuccess)
	}
	ip, err := netip.ParseAddr(strings.ReplaceAll(labels[0], "-", "."))
	if err != nil {
		ip, err = netip.ParseAddr(strings.ReplaceAll(labels[0], "-", ":"))
	}
	if err != nil || ip.Zone() != "" {
		return r.negative(dns.RcodeNameError)
	}
	return r.positive(r.addresses(qname, qtype, []netip.Addr{ip.Unmap()}), nil)
}

// alias answers with a CNAME to target and, if that is the cluster's, with what
// it leads to.
func (r *Resolver) alias(qname, target string, qtype uint16, chain int) Result {
	target = dns.Fqdn(target)
	if _, ok := dns.IsDomainName(target); !ok {
		return r.negative(dns.RcodeServerFailure)
	}
	res := found(&dns.CNAME{Hdr: r.header(qname, dns.TypeCNAME), Target: target})
	if qtype == dns.TypeCNAME {
		return res
	}
	name := strings.ToLower(target)
	if name != r.Domain && !strings.HasSuffix(name, "."+r.Domain) {
		res.Target = target
		return res
	}
	if chain == 0 {
		return r.negative(dns.RcodeServerFailure)
	}
	next := r.resolve(target, strings.TrimSuffix(strings.TrimSuffix(name, r.Domain), "."), qtype, chain-1)
	if next.Rcode == dns.RcodeServerFailure {
		return next
	}
	next.Answer = append(res.Answer, next.Answer...)
	return next
}

// srv answers with the ports of a Service named port (any, if empty) of protocol
// proto (any, if empty).
func (r *Resolver) srv(qname string, svc *corev1.Service, port, proto string) Result {
	base := svc.Name + "." + svc.Namespace + ".svc." + r.Domain
	type target struct {
		host string
		port uint16
	}
	var targets []target
	addrs := map[string][]netip.Addr{}
	if ips := clusterIPs(svc); len(ips) > 0 {
		for _, p := range svc.Spec.Ports {
			if matches(p.Name, p.Protocol, port, proto) {
				targets = append(targets, target{base, uint16(p.Port)})
				addrs[base] = ips
			}
		}
	} else {
		for _, e := range r.endpoints(svc) {
			for _, p := range e.ports {
				if p.Port == nil || !matches(deref(p.Name, ""), deref(p.Protocol, corev1.ProtocolTCP), port, proto) {
					continue
				}
				t := target{e.label() + "." + base, uint16(*p.Port)}
				if !slices.Contains(targets, t) {
					targets = append(targets, t)
				}
				if !slices.Contains(addrs[t.host], e.ip) {
					addrs[t.host] = append(addrs[t.host], e.ip)
				}
			}
		}
	}
	slices.SortFunc(targets, func(a, b target) int { return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port)) })
	var answer, extra []dns.RR
	for i, t := range targets {
		answer = append(answer, &dns.SRV{Hdr: r.header(qname, dns.TypeSRV), Weight: uint16(max(1, 100/len(targets))), Port: t.port, Target: t.host})
		if i == 0 || targets[i-1].host != t.host {
			extra = append(extra, r.addresses(t.host, dns.TypeANY, addrs[t.host])...)
		}
	}
	return r.positive(answer, extra)
}

func matches(name string, protocol corev1.Protocol, wantName, wantProto string) bool {
	return (wantName == "" || wantName == name) && (wantProto == "" || wantProto == strings.ToLower(string(protocol)))
}

// endpoint is one address of a Service.
type endpoint struct {
	ip       netip.Addr
	hostname string
	ports    []discoveryv1.EndpointPort
}

// label is the endpoint's name below its Service: its hostname, else its address
// with dashes.
func (e endpoint) label() string {
	if e.hostname != "" {
		return strings.ToLower(e.hostname)
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(e.ip.String())
}

// endpoints are the ready endpoints of a Service, sorted by address. Those of a
// Service with publishNotReadyAddresses all are: their EndpointSlices say so.
func (r *Resolver) endpoints(svc *corev1.Service) []endpoint {
	var out []endpoint
	for _, s := range r.Lister.Slices(svc.Namespace, svc.Name) {
		if s.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			if !deref(e.Conditions.Ready, true) && !svc.Spec.PublishNotReadyAddresses {
				continue
			}
			for _, a := range e.Addresses {
				if ip, err := netip.ParseAddr(a); err == nil {
					out = append(out, endpoint{ip: ip.Unmap(), hostname: deref(e.Hostname, ""), ports: s.Ports})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b endpoint) int { return a.ip.Compare(b.ip) })
	return out
}

// clusterIPs are a Service's addresses; a headless one has none.
func clusterIPs(svc *corev1.Service) []netip.Addr {
	ss := svc.Spec.ClusterIPs
	if len(ss) == 0 {
		ss = []string{svc.Spec.ClusterIP}
	}
	var out []netip.Addr
	for _, s := range ss {
		if ip, err := netip.ParseAddr(s); err == nil {
			out = append(out, ip)
		}
	}
	return out
}

// addresses are the A and AAAA records of type qtype (both for ANY), each once.
func (r *Resolver) addresses(name string, qtype uint16, ips []netip.Addr) []dns.RR {
	var out []dns.RR
	seen := map[netip.Addr]bool{}
	for _, ip := range ips {
		if seen[ip] {
			continue
		}
		seen[ip] = true
		switch {
		case ip.Is4() && (qtype == dns.TypeA || qtype == dns.TypeANY):
			out = append(out, &dns.A{Hdr: r.header(name, dns.TypeA), A: ip.AsSlice()})
		case ip.Is6() && (qtype == dns.TypeAAAA || qtype == dns.TypeANY):
			out = append(out, &dns.AAAA{Hdr: r.header(name, dns.TypeAAAA), AAAA: ip.AsSlice()})
		}
	}
	return out
}

func (r *Resolver) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: r.TTL}
}

// soa of a zone. Its serial never changes: there are no zone transfers.
func (r *Resolver) soa(zone string) *dns.SOA {
	return &dns.SOA{
		Hdr: r.header(zone, dns.TypeSOA), Ns: "ns.dns." + r.Domain, Mbox: "hostmaster." + r.Domain,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: r.TTL,
	}
}

// positive is an answer with records or, without any, one that says that the
// name exists but has none of this type.
func (r *Resolver) positive(answer, extra []dns.RR) Result {
	if len(answer) == 0 {
		return r.negative(dns.RcodeSuccess)
	}
	return Result{Mine: true, Answer: answer, Extra: extra}
}

func (r *Resolver) negative(rcode int) Result {
	return Result{Mine: true, Rcode: rcode, Authority: []dns.RR{r.soa(r.Domain)}}
}

func found(rrs ...dns.RR) Result { return Result{Mine: true, Answer: rrs} }

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
