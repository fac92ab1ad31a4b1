package check

import (
	"context"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// trialRules has one of each kind of statement that proa's rules use.
const trialRules = `
add table inet proa-check
add chain inet proa-check nat { type nat hook postrouting priority srcnat ; }
add chain inet proa-check pre { type nat hook prerouting priority dstnat ; }
add chain inet proa-check one
add map inet proa-check services { type ipv4_addr . inet_proto . inet_service : verdict ; }
add set inet proa-check seen { type ipv4_addr ; flags dynamic,timeout ; timeout 10s ; }
add rule inet proa-check nat meta mark & 0x4000 == 0x4000 masquerade fully-random
add rule inet proa-check pre ip daddr . meta l4proto . th dport vmap @services
add rule inet proa-check pre fib daddr type local counter
add rule inet proa-check pre ct state new numgen random mod 2 vmap { 0 : goto one , 1 : goto one }
add rule inet proa-check one update @seen { ip saddr } meta l4proto tcp dnat ip to 10.0.0.1:80
`

// tryNetwork makes links and loads rules in a network namespace of its own,
// which ends with the thread that entered it. It returns what did not work.
func tryNetwork(ctx context.Context, nft string) (links, rules string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, and nothing else
		// ever runs in its namespace.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			links = "no network namespace can be made: " + err.Error()
			return
		}
		links = tryLinks()
		if nft != "" {
			rules = tryRules(ctx, nft)
		}
	}()
	<-done
	return links, rules
}

func tryLinks() string {
	handle, err := netlink.NewHandle()
	if err != nil {
		return "netlink: " + err.Error()
	}
	defer handle.Close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := handle.LinkAdd(bridge); err != nil {
		return "a bridge cannot be made: " + err.Error()
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "veth1"}
	if err := handle.LinkAdd(veth); err != nil {
		return "a veth pair cannot be made: " + err.Error()
	}
	if err := handle.LinkSetMaster(veth, bridge); err != nil {
		return "a veth cannot join a bridge: " + err.Error()
	}
	return ""
}

func tryRules(ctx context.Context, nft string) string {
	// Started from this thread, nft inherits its namespace.
	cmd := exec.CommandContext(ctx, nft, "-f", "-")
	cmd.Stdin = strings.NewReader(trialRules)
	if output, err := cmd.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
		return "the kernel refuses rules that services need: " + first + " (" + err.Error() + ")"
	}
	return ""
}
