package node

import (
	"fmt"
	"net/netip"
	"strings"

	"proa/controllers/control"
)

// SetupIPAM registers the allocation of pod ranges to nodes, where it is turned on.
func SetupIPAM(env *control.Env) error {
	if !env.AllocateNodeCIDRs {
		return nil
	}
	var cidrs []netip.Prefix
	for _, s := range strings.Split(env.ClusterCIDR, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			return fmt.Errorf("cluster CIDR %q: %w", s, err)
		}
		cidrs = append(cidrs, p)
	}
	var sizes []int
	if env.NodeCIDRMaskSize != 0 {
		sizes = append(sizes, env.NodeCIDRMaskSize)
	}
	c, err := NewIPAM(env.Client(), cidrs, sizes...)
	if err != nil {
		return err
	}
	return c.SetupWithManager(env.Manager)
}
