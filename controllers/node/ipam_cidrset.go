package node

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
)

// maxSubnetBits bounds how finely a cluster CIDR may be cut: 2^16 subnets, the
// limit that kube-controller-manager sets too, and 8 KiB of bitmap.
const maxSubnetBits = 16

// errCIDRsExhausted says that every subnet of a cluster CIDR is in use.
var errCIDRsExhausted = errors.New("no free subnet is left")

// cidrSet cuts one cluster CIDR into equal subnets and remembers, one bit each,
// which are taken. It is not safe for concurrent use.
type cidrSet struct {
	cluster netip.Prefix
	mask    int // prefix length of one subnet
	bits    []uint64
	count   int // number of subnets
	used    int
	next    int // where the search for a free one begins
}

// newCIDRSet returns the empty set of the subnets of length mask in cluster.
func newCIDRSet(cluster netip.Prefix, mask int) (*cidrSet, error) {
	if !cluster.IsValid() {
		return nil, fmt.Errorf("cluster CIDR %q is not a valid prefix", cluster)
	}
	cluster = cluster.Masked()
	if mask < cluster.Bits() || mask > cluster.Addr().BitLen() {
		return nil, fmt.Errorf("node CIDR mask size %d does not fit in cluster CIDR %s: use a value from %d to %d",
			mask, cluster, cluster.Bits(), cluster.Addr().BitLen())
	}
	if mask-cluster.Bits() > maxSubnetBits {
		return nil, fmt.Errorf("node CIDR mask size %d cuts cluster CIDR %s into more than 2^%d subnets: use a value up to %d",
			mask, cluster, maxSubnetBits, cluster.Bits()+maxSubnetBits)
	}
	count := 1 << (mask - cluster.Bits())
	return &cidrSet{cluster: cluster, mask: mask, count: count, bits: make([]uint64, (count+63)/64)}, nil
}

// allocate takes the next free subnet. The search goes on where the last one
// ended, so that a subnet just released is the last to be handed out again:
// routes and connections to the former node have time to go away.
func (s *cidrSet) allocate() (netip.Prefix, error) {
	if s.used == s.count {
		return netip.Prefix{}, errCIDRsExhausted
	}
	i := s.next
	for range 2*len(s.bits) + 1 {
		word := i / 64
		// Bits below i in this word are not candidates in this pass.
		free := ^s.bits[word] &^ (1<<(i%64) - 1)
		if j := word*64 + bits.TrailingZeros64(free); free != 0 && j < s.count {
			s.bits[word] |= 1 << (j % 64)
			s.used++
			s.next = (j + 1) % s.count
			return s.subnet(j), nil
		}
		i = (word + 1) * 64
		if i >= s.count {
			i = 0
		}
	}
	return netip.Prefix{}, errCIDRsExhausted
}

// occupy marks every subnet that p overlaps as taken. Taking one twice is no
// error. It refuses a prefix that lies outside of the cluster CIDR.
func (s *cidrSet) occupy(p netip.Prefix) error {
	lo, hi, err := s.span(p)
	if err != nil {
		return err
	}
	for i := lo; i <= hi; i++ {
		if s.bits[i/64]&(1<<(i%64)) == 0 {
			s.bits[i/64] |= 1 << (i % 64)
			s.used++
		}
	}
	return nil
}

// release frees every subnet that p overlaps; freeing a free one is no error.
func (s *cidrSet) release(p netip.Prefix) error {
	lo, hi, err := s.span(p)
	if err != nil {
		return err
	}
	for i := lo; i <= hi; i++ {
		if s.bits[i/64]&(1<<(i%64)) != 0 {
			s.bits[i/64] &^= 1 << (i % 64)
			s.used--
		}
	}
	return nil
}

// span returns the first and last subnet that p overlaps.
func (s *cidrSet) span(p netip.Prefix) (lo, hi int, err error) {
	p = p.Masked()
	if !p.IsValid() || p.Addr().Is4() != s.cluster.Addr().Is4() || !s.cluster.Overlaps(p) {
		return 0, 0, fmt.Errorf("CIDR %s is not in cluster CIDR %s", p, s.cluster)
	}
	if p.Bits() <= s.cluster.Bits() {
		return 0, s.count - 1, nil
	}
	lo = s.index(p.Addr())
	if p.Bits() >= s.mask {
		return lo, lo, nil
	}
	return lo, lo + 1<<(s.mask-p.Bits()) - 1, nil
}

// index returns the number of the subnet that holds a, which is in the cluster CIDR.
func (s *cidrSet) index(a netip.Addr) int {
	b := a.AsSlice()
	n := 0
	for bit := s.cluster.Bits(); bit < s.mask; bit++ {
		n = n<<1 | int(b[bit/8]>>(7-bit%8)&1)
	}
	return n
}

// subnet is the inverse of index.
func (s *cidrSet) subnet(n int) netip.Prefix {
	b := s.cluster.Addr().AsSlice()
	for bit := s.mask - 1; bit >= s.cluster.Bits(); bit-- {
		b[bit/8] |= byte(n&1) << (7 - bit%8)
		n >>= 1
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, s.mask)
}
