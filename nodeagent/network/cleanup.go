package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"sigs.k8s.io/knftables"
)

// Cleanup removes what a Network with these options made: the CNI configuration,
// routes, table and bridge. What is not there is no error. Kernel settings stay
// as they are: others may rely on them by now.
func Cleanup(ctx context.Context, o Options) error {
	var errs []error
	if o.CNIConfDir != "" {
		if err := os.Remove(filepath.Join(o.CNIConfDir, ConfFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if scope := append(append([]netip.Prefix{}, o.ClusterCIDRs...), o.ServiceCIDRs...); len(scope) > 0 {
		errs = append(errs, syncRoutes(o.Bridge, nil, scope))
	}
	if o.NFT == nil {
		o.NFT = newNFT
	}
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		nft, err := o.NFT(family, o.Table)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		tx := nft.NewTransaction()
		tx.Add(&knftables.Table{})
		tx.Delete(&knftables.Table{})
		if err := nft.Run(ctx, tx); err != nil {
			errs = append(errs, fmt.Errorf("deleting nftables table %s: %w", o.Table, err))
		}
	}
	errs = append(errs, cleanHostPorts(ctx, o.NFT))
	if link, err := netlink.LinkByName(o.Bridge); err == nil {
		if err := netlink.LinkDel(link); err != nil {
			errs = append(errs, fmt.Errorf("deleting bridge %s: %w", o.Bridge, err))
		}
	}
	return errors.Join(errs...)
}

// The CNI plugin portmap keeps the host ports of all networks of a host in one
// table, which it never deletes. These chains have a rule for each port in use.
const hostPortTable = "cni_hostport"

var hostPortChains = [...]string{"hostports", "hostip_hostports"}

// cleanHostPorts deletes portmap's table if no host port is in use any more.
func cleanHostPorts(ctx context.Context, open func(knftables.Family, string) (knftables.Interface, error)) error {
	var errs []error
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		nft, err := open(family, hostPortTable)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if _, err := nft.ListAll(ctx); err != nil {
			continue // there is no such table
		}
		used := false
		for _, chain := range hostPortChains {
			rules, err := nft.ListRules(ctx, chain)
			used = used || len(rules) > 0 || err != nil && !knftables.IsNotFound(err)
		}
		if used {
			continue
		}
		tx := nft.NewTransaction()
		tx.Delete(&knftables.Table{})
		if err := nft.Run(ctx, tx); err != nil && !knftables.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("deleting nftables table %s: %w", hostPortTable, err))
		}
	}
	return errors.Join(errs...)
}
