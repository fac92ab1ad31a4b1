package allocator

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"math/rand/v2"

	"k8s.io/apimachinery/pkg/util/net"
)

// ErrPortAllocated is why a certain node port cannot be had.
var ErrPortAllocated = errors.New("provided port is already allocated")

// PortSet is a set of node ports of one range. It is no value to share between
// goroutines.
type PortSet struct {
	ports net.PortRange
	used  *big.Int // bit n is port ports.Base+n
	// taken are those that Take and Next added.
	taken scopes
}

// NewPortSet returns the set that data, as Data returned it, describes.
func NewPortSet(ports net.PortRange, data []byte) *PortSet {
	return &PortSet{ports: ports, used: new(big.Int).SetBytes(data)}
}

// Data is the set as it is stored: the bytes of one big-endian number.
func (s *PortSet) Data() []byte { return s.used.Bytes() }

// Has tells whether a port is in the set.
func (s *PortSet) Has(port int32) bool {
	return s.ports.Contains(int(port)) && s.used.Bit(s.bit(port)) == 1
}

func (s *PortSet) bit(port int32) int { return int(port) - s.ports.Base }

// Take adds a certain port, or tells why that is not possible.
func (s *PortSet) Take(port int32) error {
	if !s.ports.Contains(int(port)) {
		return &notInPortRange{s.ports}
	}
	if s.Has(port) {
		return ErrPortAllocated
	}
	s.used.SetBit(s.used, s.bit(port), 1)
	s.taken.static++
	return nil
}

type notInPortRange struct{ ports net.PortRange }

func (e *notInPortRange) Error() string {
	return fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %s", e.ports)
}

// Next adds a free port; ErrFull if there is none. The first ones of the range
// are kept for those who ask for a certain one until the others are used up
// (KEP-3668).
func (s *PortSet) Next() (int32, error) {
	size, band := max(s.ports.Size, 0), 0
	if size > 16 {
		band = min(max(16, size/32), 128)
	}
	for _, part := range [...]struct{ from, to int }{{band, size}, {0, band}} {
		n := part.to - part.from
		if n <= 0 {
			continue
		}
		start := rand.IntN(n)
		for i := range n {
			if at := part.from + (start+i)%n; s.used.Bit(at) == 0 {
				s.used.SetBit(s.used, at, 1)
				s.taken.dynamic++
				return int32(s.ports.Base + at), nil
			}
		}
	}
	return 0, ErrFull
}

// Free removes a port, if it is there.
func (s *PortSet) Free(port int32) {
	if s.Has(port) {
		s.used.SetBit(s.used, s.bit(port), 0)
	}
}

// Used is how many ports there are in the set.
func (s *PortSet) Used() (n int) {
	for _, word := range s.used.Bits() {
		n += bits.OnesCount(uint(word))
	}
	return n
}

// All are the ports in the set, in ascending order.
func (s *PortSet) All() (ports []int32) {
	for at := range s.used.BitLen() {
		if s.used.Bit(at) == 1 {
			ports = append(ports, int32(s.ports.Base+at))
		}
	}
	return ports
}
