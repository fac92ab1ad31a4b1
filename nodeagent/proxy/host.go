package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"
)

// hostAddresses are all addresses of this host's links.
func hostAddresses() ([]netip.Addr, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && !ip.IsLinkLocalUnicast() {
			out = append(out, ip.Unmap())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// selectAddresses are those of family that lie in one of the prefixes.
func selectAddresses(all []netip.Addr, within []netip.Prefix, family corev1.IPFamily) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		if a.Is4() == (family == corev1.IPv4Protocol) && slices.ContainsFunc(within, func(p netip.Prefix) bool { return p.Contains(a) }) {
			out = append(out, a)
		}
	}
	return out
}

// enableRouteLocalnet lets answers to what 127.0.0.1 asked of a node port come
// back to it. It may lack on a host whose /proc/sys is read only; then node ports
// do not work on loopback, and nothing else is lost.
func enableRouteLocalnet(ctx context.Context, root string) {
	path := root + "/net/ipv4/conf/all/route_localnet"
	if got, err := os.ReadFile(path); err == nil && len(got) > 0 && got[0] == '1' {
		return
	}
	if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
		klog.FromContext(ctx).Info("Node ports will not answer on 127.0.0.1", "err", err, "mend", "sysctl -w net.ipv4.conf.all.route_localnet=1")
	}
}

// newNFT returns the real nftables for one family's table.
func newNFT(family knftables.Family, table string) (knftables.Interface, error) {
	nft, err := knftables.New(family, table)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w; install the nft program (package nftables) and run as root", err)
	}
	return nft, nil
}

// Cleanup removes the proxy's tables of that name. What is not there is no error.
func Cleanup(ctx context.Context, table string) error {
	var errs []error
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		nft, err := newNFT(family, table)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		tx := nft.NewTransaction()
		tx.Add(&knftables.Table{})
		tx.Delete(&knftables.Table{})
		if err := nft.Run(ctx, tx); err != nil {
			errs = append(errs, fmt.Errorf("deleting nftables table %s: %w", table, err))
		}
	}
	return errors.Join(errs...)
}
