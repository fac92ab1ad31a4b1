package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol marks our routes in the kernel's table (`ip route show proto 112`).
const RouteProtocol = 112

// listRoutes returns our routes of the main table that lie within scope (all,
// if scope is empty): another cluster on this host may have some too.
func listRoutes(scope []netip.Prefix) ([]Route, error) {
	list, err := netlink.RouteListFiltered(netlink.FAMILY_ALL,
		&netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: RouteProtocol},
		netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	var out []Route
	for _, r := range list {
		dst, ok := prefixOf(r.Dst)
		if !ok || !within(dst, scope) {
			continue
		}
		gw, _ := netip.AddrFromSlice(r.Gw)
		out = append(out, Route{Dst: dst, Gateway: gw.Unmap()})
	}
	return out, nil
}

func within(p netip.Prefix, scope []netip.Prefix) bool {
	for _, s := range scope {
		if s.Bits() <= p.Bits() && s.Overlaps(p) {
			return true
		}
	}
	return len(scope) == 0
}

// syncRoutes makes the kernel's routes those wanted. It goes on past a route
// that fails and returns all failures.
func syncRoutes(bridge string, want []Route, scope []netip.Prefix) error {
	have, err := listRoutes(scope)
	if err != nil {
		return err
	}
	set, remove := diffRoutes(have, want)
	var errs []error
	for _, r := range remove {
		kr := kernelRoute(r)
		if err := netlink.RouteDel(kr); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("removing route %s via %s: %w", r.Dst, r.Gateway, err))
		}
	}
	for _, r := range set {
		kr := kernelRoute(r)
		if !r.Gateway.IsValid() {
			link, err := netlink.LinkByName(bridge)
			if err != nil {
				errs = append(errs, fmt.Errorf("adding route %s dev %s: %w", r.Dst, bridge, err))
				continue
			}
			kr.LinkIndex, kr.Scope = link.Attrs().Index, netlink.SCOPE_LINK
		}
		if err := netlink.RouteReplace(kr); err != nil {
			errs = append(errs, fmt.Errorf("adding route %s via %s: %w", r.Dst, r.Gateway, err))
		}
	}
	return errors.Join(errs...)
}

func kernelRoute(r Route) *netlink.Route {
	kr := &netlink.Route{Dst: ipNet(r.Dst), Protocol: RouteProtocol, Table: unix.RT_TABLE_MAIN}
	if r.Gateway.IsValid() {
		kr.Gw = r.Gateway.AsSlice()
	}
	return kr
}

// hostFacts reads what a plan needs to know of this host. bridge is our own
// bridge, whose addresses and links do not count.
func hostFacts(bridge string) (HostFacts, error) {
	own := -1
	if l, err := netlink.LinkByName(bridge); err == nil {
		own = l.Attrs().Index
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return HostFacts{}, fmt.Errorf("listing addresses: %w", err)
	}
	local := map[netip.Addr]bool{}
	var onLink []netip.Prefix
	for _, a := range addrs {
		p, ok := prefixOf(a.IPNet)
		if !ok {
			continue
		}
		local[p.Addr()] = true
		if a.LinkIndex != own && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			onLink = append(onLink, p.Masked())
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return HostFacts{}, fmt.Errorf("listing routes: %w", err)
	}
	facts := HostFacts{NoDefaultRoute4: true, NoDefaultRoute6: true}
	for _, r := range routes {
		if isDefault(r) {
			if r.Family == netlink.FAMILY_V6 {
				facts.NoDefaultRoute6 = false
			} else {
				facts.NoDefaultRoute4 = false
			}
			continue
		}
		// A route to a link without a gateway, as hosts with a /32 have one to
		// their neighbours.
		if p, ok := prefixOf(r.Dst); ok && len(r.Gw) == 0 && r.LinkIndex != own && len(r.MultiPath) == 0 && r.Type == unix.RTN_UNICAST {
			onLink = append(onLink, p)
		}
	}
	facts.Local = func(a netip.Addr) bool { return local[a] || a.IsLoopback() }
	facts.Direct = func(a netip.Addr) bool {
		for _, p := range onLink {
			if p.Contains(a) && !p.Addr().IsLinkLocalUnicast() {
				return true
			}
		}
		return false
	}
	return facts, nil
}
