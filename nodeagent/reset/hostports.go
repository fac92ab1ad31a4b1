package reset

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// hostPortTable is the table that the CNI plugin portmap shares between all of
// a host's runtimes. Its rules bear their sandbox's id as a comment.
const hostPortTable = "cni_hostport"

// rule is one rule of hostPortTable.
type rule struct{ chain, handle string }

var (
	chainLine = regexp.MustCompile(`^\s*chain (\S+) \{`)
	ruleLine  = regexp.MustCompile(`comment "([0-9a-f]{64})" # handle (\d+)$`)
)

// hostPortRules returns, from the output of `nft -a list table`, the rules of
// the given sandboxes, and whether there are any of other sandboxes.
func hostPortRules(output []byte, boxes map[string]bool) (own []rule, others bool) {
	chain := ""
	s := bufio.NewScanner(bytes.NewReader(output))
	for s.Scan() {
		if m := chainLine.FindStringSubmatch(s.Text()); m != nil {
			chain = m[1]
		} else if m := ruleLine.FindStringSubmatch(s.Text()); m != nil {
			if boxes[m[1]] {
				own = append(own, rule{chain, m[2]})
			} else {
				others = true
			}
		}
	}
	return own, others
}

// removeHostPorts deletes what portmap left for the cluster's pods, and its
// table once nobody's rule is in it: portmap makes it again when needed.
func (h *host) removeHostPorts(ctx context.Context, nft string) error {
	var failures []error
	for _, family := range []string{"ip", "ip6"} {
		output, err := exec.CommandContext(ctx, nft, "-a", "list", "table", family, hostPortTable).Output()
		if err != nil {
			continue // no such table
		}
		own, others := hostPortRules(output, h.boxes)
		var script strings.Builder
		switch {
		case !others && (len(own) > 0 || len(h.boxes) > 0):
			fmt.Fprintf(&script, "delete table %s %s\n", family, hostPortTable)
		default:
			for _, r := range own {
				fmt.Fprintf(&script, "delete rule %s %s %s handle %s\n", family, hostPortTable, r.chain, r.handle)
			}
		}
		if script.Len() == 0 {
			continue
		}
		cmd := exec.CommandContext(ctx, nft, "-f", "-")
		cmd.Stdin = strings.NewReader(script.String())
		if output, err := cmd.CombinedOutput(); err != nil {
			failures = append(failures, fmt.Errorf("host ports: %w: %s", err, bytes.TrimSpace(output)))
			continue
		}
		h.removed("host ports (%s)", family)
	}
	return errors.Join(failures...)
}
