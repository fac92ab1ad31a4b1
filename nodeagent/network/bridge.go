package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultMTU serves where no link tells a better one.
const defaultMTU = 1500

// ensureBridge makes the pod bridge with the gateway addresses, up, and takes
// away addresses of former pod subnets. The CNI plugin would make it with the
// first pod; it is made ahead so that what listens on the gateway address (the
// cluster's DNS) need not wait for that.
func ensureBridge(name string, mtu int, gateways []netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name, mtu
		// A bridge without an address of its own takes its ports', the lowest,
		// and so changes it as pods come and go: neighbours would lose it.
		attrs.HardwareAddr = bridgeMAC(gateways)
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("creating bridge %s: %w", name, err)
		}
		link, err = netlink.LinkByName(name)
	}
	if err != nil {
		return fmt.Errorf("looking up bridge %s: %w", name, err)
	}
	if link.Type() != "bridge" {
		return fmt.Errorf("link %s is a %s, not a bridge: remove it with `ip link del %s`", name, link.Type(), name)
	}
	if link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("setting MTU %d of bridge %s: %w", mtu, name, err)
		}
	}
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("listing addresses of bridge %s: %w", name, err)
	}
	missing := map[netip.Prefix]bool{}
	for _, gw := range gateways {
		missing[gw] = true
	}
	for _, a := range have {
		p, ok := prefixOf(a.IPNet)
		if !ok || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if missing[p] {
			delete(missing, p)
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("removing former address %s of bridge %s: %w", p, name, err)
		}
	}
	for gw := range missing {
		addr := &netlink.Addr{IPNet: ipNet(gw)}
		if gw.Addr().Is6() {
			// Nobody else can have it, and until the check is over nothing
			// could listen on it.
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("adding address %s to bridge %s: %w", gw, name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting bridge %s up: %w", name, err)
	}
	return nil
}

// bridgeMAC derives a locally administered address from the first gateway.
func bridgeMAC(gateways []netip.Prefix) net.HardwareAddr {
	if len(gateways) == 0 {
		return nil
	}
	b := gateways[0].Addr().AsSlice()
	return append(net.HardwareAddr{0x0a, 0x58}, b[len(b)-4:]...)
}

// hostMTU returns the MTU of the link that carries the default route, else of
// the first that is up and no loopback, else 1500. Links of our own do not count.
func hostMTU(own string) int {
	if routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE); err == nil {
		for _, r := range routes {
			if isDefault(r) && r.LinkIndex > 0 {
				if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
					return link.Attrs().MTU
				}
			}
		}
	}
	if links, err := netlink.LinkList(); err == nil {
		for _, l := range links {
			a := l.Attrs()
			if a.Name != own && a.MasterIndex == 0 && a.Flags&net.FlagUp != 0 && a.Flags&net.FlagLoopback == 0 && a.MTU > 0 {
				return a.MTU
			}
		}
	}
	return defaultMTU
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0 && r.Dst.IP.IsUnspecified()
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}
