package simulated

import (
	"encoding/binary"
	"net/netip"
)

// maxNodes is how many addresses the nodes' range has.
const maxNodes = 1<<17 - 2

// nodeAddress is the i-th address of 198.18.0.0/15, the range for benchmarks
// (RFC 2544), which no real network uses.
func nodeAddress(i int) string { return address(0xC612_0000 + uint32(i) + 1) }

func address(n uint32) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b).String()
}

// addresses hands out pod addresses of 100.64.0.0/10 (RFC 6598).
type addresses struct {
	used map[string]bool
	next uint32
}

const podAddresses = 1 << 22

// take returns an address nobody has; addresses given back are used again last.
func (a *addresses) take() string {
	for range podAddresses {
		a.next = a.next%(podAddresses-2) + 1
		if ip := address(0x6440_0000 + a.next); !a.used[ip] {
			a.used[ip] = true
			return ip
		}
	}
	return "" // four million pods run; the status then has no address
}

func (a *addresses) note(ip string) {
	if ip != "" {
		a.used[ip] = true
	}
}

func (a *addresses) giveBack(ip string) { delete(a.used, ip) }

// Prefixes are the ranges of simulated nodes' and pods' addresses, which nobody
// can be reached at.
func Prefixes() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("100.64.0.0/10")}
}
