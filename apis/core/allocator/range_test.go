package allocator

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/util/net"
)

func TestRange(t *testing.T) {
	for _, c := range []struct {
		cidr      string
		size      uint64
		band      uint64
		first     string
		last      string
		excluded  []string
		offered   []string
		isRefused bool
	}{
		{cidr: "10.96.0.0/16", size: 65534, band: 256, first: "10.96.0.1", last: "10.96.255.254",
			excluded: []string{"10.96.0.0", "10.96.255.255", "10.97.0.1", "fd00::1"}, offered: []string{"10.96.0.255", "10.96.1.0"}},
		{cidr: "192.168.0.0/24", size: 254, band: 16, first: "192.168.0.1", last: "192.168.0.254"},
		{cidr: "192.168.0.0/27", size: 30, band: 16, first: "192.168.0.1", last: "192.168.0.30"},
		{cidr: "192.168.0.0/28", size: 14, band: 0, first: "192.168.0.1", last: "192.168.0.14"},
		{cidr: "192.168.0.4/30", size: 2, first: "192.168.0.5", last: "192.168.0.6"},
		{cidr: "192.168.0.0/31", size: 0, excluded: []string{"192.168.0.0", "192.168.0.1"}},
		{cidr: "192.168.0.1/32", size: 0, excluded: []string{"192.168.0.1"}},
		{cidr: "fd00::/112", size: 65535, band: 256, first: "fd00::1", last: "fd00::ffff", excluded: []string{"fd00::", "fd00::1:0"}},
		{cidr: "fd00::/64", size: 1<<64 - 1, band: 256, first: "fd00::1", last: "fd00::ffff:ffff:ffff:ffff", excluded: []string{"fd00::", "fd00:0:0:1::1"}},
		{cidr: "fd00::/128", size: 0, excluded: []string{"fd00::"}},
		{cidr: "fd00::/63", isRefused: true},
	} {
		r, err := NewRange(netip.MustParsePrefix(c.cidr))
		if c.isRefused != (err != nil) {
			t.Errorf("%s: %v", c.cidr, err)
		}
		if err != nil {
			continue
		}
		if r.Size() != c.size || r.band != c.band {
			t.Errorf("%s: %d addresses, band %d; want %d and %d", c.cidr, r.Size(), r.band, c.size, c.band)
		}
		if c.size > 0 {
			c.offered = append(c.offered, c.first, c.last)
			if first, last := r.at(0).String(), r.at(r.size-1).String(); first != c.first || last != c.last {
				t.Errorf("%s: %s to %s, want %s to %s", c.cidr, first, last, c.first, c.last)
			}
		}
		for _, ip := range c.offered {
			if !r.Contains(netip.MustParseAddr(ip)) {
				t.Errorf("%s does not offer %s", c.cidr, ip)
			}
		}
		for _, ip := range c.excluded {
			if r.Contains(netip.MustParseAddr(ip)) {
				t.Errorf("%s offers %s", c.cidr, ip)
			}
		}
	}
}

func TestCandidates(t *testing.T) {
	r, err := NewRange(netip.MustParsePrefix("10.0.0.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Collect(r.Candidates())
	seen := map[netip.Addr]bool{}
	for i, ip := range all {
		if !r.Contains(ip) || seen[ip] {
			t.Fatalf("candidate %d is %s", i, ip)
		}
		seen[ip] = true
		if inBand := low(ip)-low(r.Network())-1 < r.band; inBand != (i >= len(all)-int(r.band)) {
			t.Fatalf("candidate %d of %d is %s: the lower band comes last", i, len(all), ip)
		}
	}
	if len(all) != 254 {
		t.Errorf("%d candidates", len(all))
	}
	huge, _ := NewRange(netip.MustParsePrefix("fd00::/64"))
	for ip := range huge.Candidates() {
		if !huge.Contains(ip) {
			t.Errorf("candidate %s", ip)
		}
		break
	}
}

func TestPortSet(t *testing.T) {
	s := NewPortSet(net.PortRange{Base: 30000, Size: 100}, nil)
	for range 84 { // the band of 16 is left
		port, err := s.Next()
		if err != nil || port < 30016 || port > 30099 {
			t.Fatalf("port %d, %v", port, err)
		}
	}
	if port, err := s.Next(); err != nil || port < 30000 || port > 30015 {
		t.Errorf("from the lower band: %d, %v", port, err)
	}
	if err := s.Take(30050); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("taken port: %v", err)
	}
	if err := s.Take(29999); err == nil || err.Error() != "provided port is not in the valid range. The range of valid ports is 30000-30099" {
		t.Errorf("port below: %v", err)
	}
	again := NewPortSet(net.PortRange{Base: 30000, Size: 100}, s.Data())
	if !slices.Equal(again.All(), s.All()) || again.Used() != 85 {
		t.Errorf("stored and read again: %d of %d", again.Used(), s.Used())
	}
	again.Free(30050)
	again.Free(30050)
	again.Free(1)
	if again.Used() != 84 || again.Has(30050) {
		t.Error("a freed port is still there")
	}
	for range 16 {
		_, _ = again.Next()
	}
	if port, err := again.Next(); !errors.Is(err, ErrFull) {
		t.Errorf("port 101 of 100: %d, %v", port, err)
	}
}

// Upstream's bitmap of 30000-32767 with ports 30000 and 32767.
func TestPortSetReadsUpstreams(t *testing.T) {
	data := make([]byte, 346)
	data[0], data[345] = 0x80, 0x01
	s := NewPortSet(net.PortRange{Base: 30000, Size: 2768}, data)
	if !slices.Equal(s.All(), []int32{30000, 32767}) {
		t.Errorf("ports %v", s.All())
	}
}
