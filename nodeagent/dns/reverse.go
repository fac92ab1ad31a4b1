package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// reverse answers for a name below in-addr.arpa. or ip6.arpa.: a cluster IP has
// its Service's name, an endpoint with a hostname that name below its Service.
// Other addresses are the cluster's only if they lie in OwnCIDRs.
func (r *Resolver) reverse(qname, name string, qtype uint16) Result {
	ip, ok := parseReverse(name)
	if !ok {
		return Result{}
	}
	var names []string
	for _, svc := range r.Lister.ServicesByIP(ip) {
		names = append(names, svc.Name+"."+svc.Namespace+".svc."+r.Domain)
	}
	if len(names) == 0 {
		for _, s := range r.Lister.SlicesByIP(ip) {
			svc := serviceOf(s)
			if svc == "" {
				continue
			}
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				if host := deref(e.Hostname, ""); host != "" && slices.ContainsFunc(e.Addresses, func(a string) bool { return sameAddr(a, ip) }) {
					names = append(names, host+"."+svc+"."+s.Namespace+".svc."+r.Domain)
				}
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var answer []dns.RR
	for _, n := range names {
		if qtype == dns.TypePTR {
			answer = append(answer, &dns.PTR{Hdr: r.header(qname, dns.TypePTR), Ptr: n})
		}
	}
	if len(answer) > 0 {
		return found(answer...)
	}
	if len(names) == 0 && !slices.ContainsFunc(r.OwnCIDRs, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return Result{}
	}
	zone := "in-addr.arpa."
	if ip.Is6() {
		zone = "ip6.arpa."
	}
	res := Result{Mine: true, Authority: []dns.RR{r.soa(zone)}}
	if len(names) == 0 {
		res.Rcode = dns.RcodeNameError
	}
	return res
}

// parseReverse returns the address that a whole reverse name stands for.
func parseReverse(name string) (netip.Addr, bool) {
	if s, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		parts := strings.Split(s, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		slices.Reverse(parts)
		ip, err := netip.ParseAddr(strings.Join(parts, "."))
		return ip, err == nil && ip.Is4()
	}
	s, ok := strings.CutSuffix(name, ".ip6.arpa.")
	parts := strings.Split(s, ".")
	if !ok || len(parts) != 32 {
		return netip.Addr{}, false
	}
	slices.Reverse(parts)
	var b strings.Builder
	for i, p := range parts {
		if len(p) != 1 {
			return netip.Addr{}, false
		}
		if i > 0 && i%4 == 0 {
			b.WriteByte(':')
		}
		b.WriteString(p)
	}
	ip, err := netip.ParseAddr(b.String())
	return ip, err == nil
}

func sameAddr(s string, ip netip.Addr) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Unmap() == ip
}
