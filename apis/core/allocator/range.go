package allocator

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"net/netip"
)

// Range is the addresses that one CIDR offers to services: not the network's
// own, nor, for IPv4, the broadcast address. Addresses are numbered from 0, the
// one after the network's.
type Range struct {
	prefix netip.Prefix
	size   uint64
	// band is how many of the first addresses are kept for services that ask
	// for a certain one, until the others are used up (KEP-3070).
	band uint64
}

// shortestIPv6 is the shortest prefix length that an IPv6 range may have.
const shortestIPv6 = 64

// NewRange returns the range of a CIDR; IPv6 prefixes shorter than 64 bits are refused.
func NewRange(prefix netip.Prefix) (Range, error) {
	if prefix.Addr().Is6() && prefix.Bits() < shortestIPv6 {
		return Range{}, fmt.Errorf("shortest allowed prefix length for service CIDR is %d, got %d", shortestIPv6, prefix.Bits())
	}
	prefix = prefix.Masked()
	r := Range{prefix: prefix}
	reserved := uint64(1)
	if prefix.Addr().Is4() {
		reserved = 2
	}
	bits := prefix.Addr().BitLen() - prefix.Bits()
	addresses := uint64(math.MaxUint64) // one less than there are in a /64
	if bits < 64 {
		addresses = 1 << bits
		r.size = addresses - min(addresses, reserved)
	} else {
		r.size = addresses
	}
	if addresses > 16 {
		r.band = min(max(16, addresses/16), 256, r.size)
	}
	return r, nil
}

// String is the CIDR, which also labels metrics.
func (r Range) String() string { return r.prefix.String() }

// Network is the address that is never given to a service.
func (r Range) Network() netip.Addr { return r.prefix.Addr() }

// Contains tells whether ip is one that the range offers.
func (r Range) Contains(ip netip.Addr) bool {
	return r.prefix.Contains(ip) && low(ip)-low(r.prefix.Addr())-1 < r.size
}

// Size is how many addresses there are, at most 2^64-1.
func (r Range) Size() uint64 { return r.size }

// Candidates are all addresses in the order in which they are tried for a
// service that wants any: from a random one on, the lower band last.
func (r Range) Candidates() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, part := range [...]struct{ from, to uint64 }{{r.band, r.size}, {0, r.band}} {
			n := part.to - part.from
			if n == 0 {
				continue
			}
			start := rand.Uint64N(n)
			for i := range n {
				// (start+i) mod n, without overflow.
				offset := start + i
				if i >= n-start {
					offset = i - (n - start)
				}
				if !yield(r.at(part.from + offset)) {
					return
				}
			}
		}
	}
}

func (r Range) at(n uint64) netip.Addr {
	value := low(r.prefix.Addr()) + 1 + n
	if r.prefix.Addr().Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(value))
		return netip.AddrFrom4(b)
	}
	b := r.prefix.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], value)
	return netip.AddrFrom16(b)
}

// low is the part of an address in which those of one range differ.
func low(ip netip.Addr) uint64 {
	if ip.Is4() {
		b := ip.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := ip.As16()
	return binary.BigEndian.Uint64(b[8:])
}
