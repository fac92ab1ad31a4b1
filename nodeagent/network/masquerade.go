package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

const masqueradeChain = "nat-postrouting"

// masqueradeRules writes into tx the whole content of one family's table: what
// this node's pods send out of the cluster leaves under the node's address.
func masqueradeRules(tx *knftables.Transaction, family knftables.Family, pods, cluster []netip.Prefix, bridge string) {
	tx.Add(&knftables.Table{})
	chain := &knftables.Chain{
		Name:     masqueradeChain,
		Type:     knftables.PtrTo(knftables.NATType),
		Hook:     knftables.PtrTo(knftables.PostroutingHook),
		Priority: knftables.PtrTo(knftables.SNATPriority),
	}
	tx.Add(chain)
	tx.Flush(chain)
	ip, multicast := "ip", "224.0.0.0/4"
	if family == knftables.IPv6Family {
		ip, multicast = "ip6", "ff00::/8"
	}
	inside := []string{multicast}
	for _, p := range slices.Concat(cluster, pods) {
		s := p.Masked().String()
		// An interval must not be named twice or within another.
		if isFamily(p, family) && !slices.Contains(inside, s) && !covered(p, cluster) {
			inside = append(inside, s)
		}
	}
	for _, p := range pods {
		if !isFamily(p, family) {
			continue
		}
		tx.Add(&knftables.Rule{
			Chain: masqueradeChain,
			Rule: knftables.Concat(
				ip, "saddr", p.String(), ip, "daddr != {", strings.Join(inside, ", "), "}",
				"oifname !=", `"`+bridge+`"`, "masquerade fully-random",
			),
			Comment: knftables.PtrTo("pods to outside of the cluster"),
		})
	}
}

func isFamily(p netip.Prefix, family knftables.Family) bool {
	return p.Addr().Is4() == (family == knftables.IPv4Family)
}

// covered reports whether p lies in a larger one of ps.
func covered(p netip.Prefix, ps []netip.Prefix) bool {
	return slices.ContainsFunc(ps, func(c netip.Prefix) bool { return c.Bits() < p.Bits() && c.Overlaps(p) })
}

// newNFT returns the real nftables for one family's table.
func newNFT(family knftables.Family, table string) (knftables.Interface, error) {
	nft, err := knftables.New(family, table)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w; install the nft program (package nftables) and run as root", err)
	}
	return nft, nil
}

func (n *Network) syncMasquerade(ctx context.Context, p Plan) error {
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		if !hasFamily(p.PodCIDRs, family == knftables.IPv4Family) {
			continue
		}
		nft := n.nft[family]
		if nft == nil {
			var err error
			if nft, err = n.opts.NFT(family, n.opts.Table); err != nil {
				return err
			}
			n.nft[family] = nft
		}
		tx := nft.NewTransaction()
		masqueradeRules(tx, family, p.PodCIDRs, n.opts.ClusterCIDRs, n.opts.Bridge)
		if err := nft.Run(ctx, tx); err != nil {
			return fmt.Errorf("writing the masquerade rule to nftables table %s: %w", n.opts.Table, err)
		}
	}
	return nil
}
