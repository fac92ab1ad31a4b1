package proxy

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// A UDP "connection" lives in the kernel's table for as long as packets flow,
// also when its endpoint is gone, and one begun before there was any endpoint
// keeps going nowhere. So such entries are deleted; the next packet then meets
// the new rules. TCP needs none of that: its ends notice.

// staleUDP are the ports of cur whose flows may now lead to a wrong place:
// backends are gone, or there are some for the first time, or a frontend is new.
func staleUDP(old, cur *Fragment) []UDPPort {
	if cur == nil {
		return nil // without the Service there is nowhere to lead its flows
	}
	type front struct {
		addr     netip.AddrPort
		nodePort uint16
	}
	before := map[front]map[netip.AddrPort]bool{}
	if old != nil {
		for _, u := range old.UDP {
			set := map[netip.AddrPort]bool{}
			for _, b := range u.Backends {
				set[b] = true
			}
			for _, f := range u.Frontends {
				before[front{addr: f}] = set
			}
			if u.NodePort != 0 {
				before[front{nodePort: u.NodePort}] = set
			}
		}
	}
	var out []UDPPort
	for _, u := range cur.UDP {
		if len(u.Backends) == 0 {
			continue
		}
		keys := []front{}
		for _, f := range u.Frontends {
			keys = append(keys, front{addr: f})
		}
		if u.NodePort != 0 {
			keys = append(keys, front{nodePort: u.NodePort})
		}
		stale := false
		for _, k := range keys {
			was := before[k]
			left := len(was)
			for _, b := range u.Backends {
				if was[b] {
					left--
				}
			}
			stale = stale || len(was) == 0 || left > 0
		}
		if stale {
			out = append(out, u)
		}
	}
	return out
}

// flow is what is needed of an entry of the kernel's table.
type flow struct {
	udp bool
	// dst is where the client sent, src who answers.
	dst, src netip.AddrPort
}

// staleFlow reports whether a flow goes to one of the ports' frontends, but not
// to one of its backends.
func staleFlow(ports []UDPPort, f flow) bool {
	if !f.udp {
		return false
	}
	for _, p := range ports {
		hit := p.NodePort != 0 && p.NodePort == f.dst.Port()
		for i := 0; i < len(p.Frontends) && !hit; i++ {
			hit = p.Frontends[i] == f.dst
		}
		if !hit {
			continue
		}
		for _, b := range p.Backends {
			if b == f.src {
				return false
			}
		}
		return true
	}
	return false
}

// flowFilter makes staleFlow a filter for the netlink library.
type flowFilter []UDPPort

// MatchConntrackFlow reports whether the entry is to be deleted.
func (p flowFilter) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	return staleFlow(p, flow{
		udp: c.Forward.Protocol == unix.IPPROTO_UDP,
		dst: addrPort(c.Forward.DstIP, c.Forward.DstPort),
		src: addrPort(c.Reverse.SrcIP, c.Reverse.SrcPort),
	})
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}

// deleteFlows deletes the stale flows of ports from the kernel's table and
// returns how many there were.
func deleteFlows(family corev1.IPFamily, ports []UDPPort) (uint, error) {
	f := netlink.InetFamily(unix.AF_INET)
	if family == corev1.IPv6Protocol {
		f = unix.AF_INET6
	}
	return netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, flowFilter(ports))
}
