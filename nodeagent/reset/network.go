package reset

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proa/nodeagent/hostid"
)

// removeTables deletes the cluster's nftables tables and host ports.
func (h *host) removeTables(ctx context.Context) error {
	nft, err := exec.LookPath("nft")
	if err != nil {
		return nil // without nft there never were any
	}
	output, err := exec.CommandContext(ctx, nft, "list", "tables").Output()
	if err != nil {
		return fmt.Errorf("nft list tables: %w", err)
	}
	failures := []error{h.removeHostPorts(ctx, nft)}
	for _, t := range ownTables(output, h.names) {
		if output, err := exec.CommandContext(ctx, nft, "delete", "table", t.family, t.name).CombinedOutput(); err != nil {
			failures = append(failures, fmt.Errorf("nft delete table %s %s: %w: %s", t.family, t.name, err, strings.TrimSpace(string(output))))
			continue
		}
		h.removed("nftables table %s %s", t.family, t.name)
	}
	return errors.Join(failures...)
}

// removeLinks deletes the cluster's bridge, what is on it, and links it named.
func (h *host) removeLinks(context.Context) error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range ownLinks(links, h.names) {
		l, err := netlink.LinkByName(name)
		if err != nil {
			continue // a veth goes with its peer
		}
		if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			failures = append(failures, fmt.Errorf("link %s: %w", name, err))
			continue
		}
		h.removed("link %s", name)
	}
	return errors.Join(failures...)
}

func listLinks() ([]link, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	links := make([]link, 0, len(list))
	for _, l := range list {
		a := l.Attrs()
		links = append(links, link{name: a.Name, index: a.Index, master: a.MasterIndex})
	}
	return links, nil
}

// removeRoutes deletes the routes to other nodes' pods.
func (h *host) removeRoutes(context.Context) error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	others := otherBridges(links, h.names)
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: hostid.RouteProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	var failures []error
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		address, ok := netip.AddrFromSlice(r.Dst.IP)
		ones, _ := r.Dst.Mask.Size()
		if !ok || !ownRoute(netip.PrefixFrom(address.Unmap(), ones), h.RouteScope, others) {
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			failures = append(failures, fmt.Errorf("route %s: %w", r.Dst, err))
			continue
		}
		h.removed("route %s", r.Dst)
	}
	if len(routes) > 0 && others && len(h.RouteScope) == 0 {
		h.Report("left routes of protocol " + fmt.Sprint(hostid.RouteProtocol) + ": they may be those of another cluster on this host; see `ip route show proto " + fmt.Sprint(hostid.RouteProtocol) + "`")
	}
	return errors.Join(failures...)
}

// cniCache is where the CNI library, which takes no other place from
// containerd, remembers its results.
const cniCache = "/var/lib/cni/results"

// ownCacheEntry reports whether a CNI result is one of the cluster's: its name
// is <network>-<sandbox id>-<interface>, its content names the bridge.
func ownCacheEntry(name string, content []byte, boxes map[string]bool, names hostid.Names) bool {
	for box := range boxes {
		if strings.Contains(name, "-"+box+"-") {
			return true
		}
	}
	return strings.HasPrefix(name, names.CNINetwork+"-") || strings.Contains(string(content), `"`+names.Bridge+`"`)
}

func removeIfEmpty(dirs ...string) {
	for _, dir := range dirs {
		_ = os.Remove(dir) // refuses a directory that holds anything
	}
}
