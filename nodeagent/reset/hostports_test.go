package reset

import (
	"slices"
	"strings"
	"testing"
)

func TestHostPortRules(t *testing.T) {
	ours, theirs := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	output := `table ip cni_hostport { # handle 2
	comment "CNI portmap plugin"
	chain hostports { # handle 1
		tcp dport 8088 dnat to 10.99.0.3:80 comment "` + ours + `" # handle 7
		tcp dport 8089 dnat to 10.88.0.3:80 comment "` + theirs + `" # handle 8
	}

	chain prerouting { # handle 4
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump hostports_all # handle 5
	}

	chain masquerading { # handle 6
		ip saddr 10.99.0.3 ip daddr 10.99.0.3 masquerade comment "` + ours + `" # handle 9
	}
}
`
	rules, others := hostPortRules([]byte(output), map[string]bool{ours: true})
	if want := []rule{{"hostports", "7"}, {"masquerading", "9"}}; !slices.Equal(rules, want) || !others {
		t.Errorf("got %v, %v, want %v, true", rules, others, want)
	}
	if _, others := hostPortRules([]byte(output), map[string]bool{ours: true, theirs: true}); others {
		t.Error("all sandboxes are ours, yet others are found")
	}
}
