package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/net"
)

var (
	errPoolFull      = errors.New("range is full")
	errAddressInUse  = errors.New("provided IP is already allocated")
	errNodePortInUse = errors.New("provided port is already allocated")
)

// pool hands out the numbers 0..size-1. Numbers below band are given only when
// the others are used up: they are for those who ask for a certain one (KEP-3070).
type pool struct {
	size, band uint32
	used       map[uint32]struct{}
}

func newPool(size, band uint32) *pool {
	return &pool{size: size, band: min(band, size), used: map[uint32]struct{}{}}
}

// take marks n as used, or tells that it is.
func (p *pool) take(n uint32) bool {
	if _, used := p.used[n]; used {
		return false
	}
	p.used[n] = struct{}{}
	return true
}

func (p *pool) free(n uint32) { delete(p.used, n) }

// next takes a free number, starting at a random one so that numbers just given
// back are not given out at once.
func (p *pool) next() (uint32, bool) {
	scan := func(from, to uint32) (uint32, bool) {
		n := to - from
		if n == 0 {
			return 0, false
		}
		start := rand.Uint32N(n)
		for i := range n {
			if at := from + (start+i)%n; p.take(at) {
				return at, true
			}
		}
		return 0, false
	}
	if uint32(len(p.used)) >= p.size {
		return 0, false
	}
	if n, ok := scan(p.band, p.size); ok {
		return n, true
	}
	return scan(0, p.band)
}

// addressPool hands out the addresses of a service CIDR: not the network's own
// and not, for IPv4, the broadcast address.
type addressPool struct {
	prefix netip.Prefix
	*pool
}

func newAddressPool(prefix netip.Prefix) addressPool {
	prefix = prefix.Masked()
	bits := min(prefix.Addr().BitLen()-prefix.Bits(), 24)
	if prefix.Addr().Is6() {
		bits = min(bits, 16)
	}
	size := uint32(1) << bits
	reserved := uint32(1)
	if prefix.Addr().Is4() {
		reserved = 2
	}
	size -= min(size, reserved)
	band := uint32(0)
	if size > 16 {
		band = min(max(16, size/16), 256)
	}
	return addressPool{prefix: prefix, pool: newPool(size, band)}
}

func (a addressPool) at(n uint32) netip.Addr {
	if base := a.prefix.Addr(); base.Is4() {
		b := base.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n+1)
		return netip.AddrFrom4(b)
	}
	b := a.prefix.Addr().As16()
	binary.BigEndian.PutUint32(b[12:], binary.BigEndian.Uint32(b[12:])+n+1)
	return netip.AddrFrom16(b)
}

// offset is the address's number, if it is one that the pool has.
func (a addressPool) offset(ip netip.Addr) (uint32, bool) {
	if !a.prefix.Contains(ip) {
		return 0, false
	}
	var from, to uint32
	if ip.Is4() {
		b, base := ip.As4(), a.prefix.Addr().As4()
		from, to = binary.BigEndian.Uint32(base[:]), binary.BigEndian.Uint32(b[:])
	} else {
		b, base := ip.As16(), a.prefix.Addr().As16()
		if [12]byte(b[:12]) != [12]byte(base[:12]) {
			return 0, false
		}
		from, to = binary.BigEndian.Uint32(base[12:]), binary.BigEndian.Uint32(b[12:])
	}
	n := to - from - 1
	return n, to > from && n < a.size
}

func (a addressPool) allocate(ip netip.Addr) error {
	n, ok := a.offset(ip)
	if !ok {
		return fmt.Errorf("the provided IP (%v) is not in the valid range. The range of valid IPs is %s", ip, a.prefix)
	}
	if !a.take(n) {
		return errAddressInUse
	}
	return nil
}

func (a addressPool) allocateNext() (netip.Addr, error) {
	n, ok := a.next()
	if !ok {
		return netip.Addr{}, errPoolFull
	}
	return a.at(n), nil
}

func (a addressPool) release(ip netip.Addr) {
	if n, ok := a.offset(ip); ok {
		a.free(n)
	}
}

// portPool hands out node ports.
type portPool struct {
	ports net.PortRange
	*pool
}

func newPortPool(ports net.PortRange) portPool {
	size := uint32(max(ports.Size, 0))
	band := uint32(0)
	if size > 16 {
		band = min(max(16, size/32), 128)
	}
	return portPool{ports: ports, pool: newPool(size, band)}
}

func (p portPool) allocate(port int32) error {
	if !p.ports.Contains(int(port)) {
		return fmt.Errorf("provided port is not in the valid range. The range of valid ports is %s", p.ports)
	}
	if !p.take(uint32(int(port) - p.ports.Base)) {
		return errNodePortInUse
	}
	return nil
}

func (p portPool) allocateNext() (int32, error) {
	n, ok := p.next()
	if !ok {
		return 0, errPoolFull
	}
	return int32(p.ports.Base) + int32(n), nil
}

func (p portPool) release(port int32) {
	if p.ports.Contains(int(port)) {
		p.free(uint32(int(port) - p.ports.Base))
	}
}
