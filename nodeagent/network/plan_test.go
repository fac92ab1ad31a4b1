package network

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/knftables"
)

func testNode(name string, cidrs []string, ips ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: cidrs}}
	n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: name})
	for _, ip := range ips {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	return n
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func testFacts(def bool) HostFacts {
	lan4, lan6 := prefix("192.168.7.0/24"), prefix("fd07::/64")
	return HostFacts{
		Direct: func(a netip.Addr) bool { return lan4.Contains(a) || lan6.Contains(a) },
		Local: func(a netip.Addr) bool {
			return a.String() == "192.168.7.1" || a.String() == "fd07::1" || a.IsLoopback()
		},
		NoDefaultRoute4: !def, NoDefaultRoute6: !def,
	}
}

func TestMakePlan(t *testing.T) {
	self := testNode("n1", []string{"10.42.0.0/24", "fd42::/64"}, "192.168.7.1", "fd07::1")
	cases := []struct {
		name      string
		self      *corev1.Node
		others    []*corev1.Node
		services  []netip.Prefix
		noDefault bool
		want      Plan
		gateways  []netip.Prefix
	}{
		{name: "no subnet yet", self: testNode("n1", nil, "192.168.7.1"),
			others: []*corev1.Node{testNode("n2", []string{"10.42.1.0/24"}, "192.168.7.2")}},
		{name: "dual-stack neighbours", self: self,
			others: []*corev1.Node{
				testNode("n3", []string{"10.42.2.0/24"}, "192.168.7.3", "fd07::3"),
				self,
				testNode("n2", []string{"10.42.1.0/24", "fd42:0:0:1::/64"}, "192.168.7.2", "fd07::2"),
			},
			want: Plan{
				PodCIDRs: []netip.Prefix{prefix("10.42.0.0/24"), prefix("fd42::/64")},
				Routes: []Route{
					{prefix("10.42.1.0/24"), netip.MustParseAddr("192.168.7.2")},
					{prefix("10.42.2.0/24"), netip.MustParseAddr("192.168.7.3")},
					{prefix("fd42:0:0:1::/64"), netip.MustParseAddr("fd07::2")},
				}},
			gateways: []netip.Prefix{prefix("10.42.0.1/24"), prefix("fd42::1/64")}},
		{name: "nodes without a way", self: testNode("n1", []string{"10.42.0.0/24"}, "192.168.7.1"),
			others: []*corev1.Node{
				testNode("far", []string{"10.42.1.0/24"}, "172.16.0.1"),
				testNode("nameless", []string{"10.42.2.0/24"}),
				testNode("simulated", []string{"10.42.3.0/24"}, "192.168.7.1"),
				testNode("loop", []string{"10.42.4.0/24"}, "127.0.0.1"),
				testNode("bad", []string{"10.42.5.0"}, "192.168.7.5"),
				testNode("thief", []string{"10.42.0.0/24"}, "192.168.7.6"),
				testNode("v6", []string{"10.42.6.0/24"}, "fd07::2"),
			},
			want:     Plan{PodCIDRs: []netip.Prefix{prefix("10.42.0.0/24")}, Unreachable: []string{"far", "nameless", "v6"}},
			gateways: []netip.Prefix{prefix("10.42.0.1/24")}},
		{name: "two nodes claim one subnet", self: testNode("n1", []string{"10.42.0.0/24"}),
			others: []*corev1.Node{
				testNode("n3", []string{"10.42.1.0/24"}, "192.168.7.3"),
				testNode("n2", []string{"10.42.1.0/24"}, "192.168.7.2"),
			},
			want: Plan{PodCIDRs: []netip.Prefix{prefix("10.42.0.0/24")},
				Routes: []Route{{prefix("10.42.1.0/24"), netip.MustParseAddr("192.168.7.2")}}},
			gateways: []netip.Prefix{prefix("10.42.0.1/24")}},
		{name: "services without a default route", self: testNode("n1", []string{"10.42.0.0/24"}), noDefault: true,
			services: []netip.Prefix{prefix("10.43.0.0/16"), prefix("fd43::/112")},
			want: Plan{PodCIDRs: []netip.Prefix{prefix("10.42.0.0/24")},
				Routes: []Route{{Dst: prefix("10.43.0.0/16")}}},
			gateways: []netip.Prefix{prefix("10.42.0.1/24")}},
		{name: "services with a default route", self: testNode("n1", []string{"10.42.0.0/24"}),
			services: []netip.Prefix{prefix("10.43.0.0/16")},
			want:     Plan{PodCIDRs: []netip.Prefix{prefix("10.42.0.0/24")}},
			gateways: []netip.Prefix{prefix("10.42.0.1/24")}},
	}
	opt := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	addr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got := MakePlan(tc.self, tc.others, tc.services, testFacts(!tc.noDefault))
			if d := cmp.Diff(tc.want, got, opt, addr); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.gateways, got.Gateways(), opt); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDiffRoutes(t *testing.T) {
	gw := netip.MustParseAddr
	a := Route{prefix("10.42.1.0/24"), gw("192.168.7.2")}
	b := Route{prefix("10.42.2.0/24"), gw("192.168.7.3")}
	c := Route{Dst: prefix("10.43.0.0/16")}
	a2 := Route{a.Dst, gw("192.168.7.9")}
	for _, tc := range []struct {
		name                    string
		have, want, set, remove []Route
	}{
		{name: "nothing"},
		{name: "first", want: []Route{a, b, c}, set: []Route{a, b, c}},
		{name: "steady", have: []Route{b, a, c}, want: []Route{a, b, c}},
		{name: "moved node", have: []Route{a, b}, want: []Route{a2, b}, set: []Route{a2}},
		{name: "gone node", have: []Route{b, a, c}, want: []Route{b}, remove: []Route{a, c}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, remove := diffRoutes(tc.have, tc.want)
			opts := cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
			if d := cmp.Diff(tc.set, set, opts); d != "" {
				t.Error("set", d)
			}
			if d := cmp.Diff(tc.remove, remove, opts); d != "" {
				t.Error("remove", d)
			}
		})
	}
}

func TestConflist(t *testing.T) {
	p := Plan{PodCIDRs: []netip.Prefix{prefix("10.42.3.0/24"), prefix("fd42:0:0:3::/64")}}
	got, err := conflist(p, "pr01234567", "/data/cni", 1450)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "conflist.json", string(got))

	dir := filepath.Join(t.TempDir(), "net.d")
	for range 2 {
		if err := writeConflist(dir, got); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != ConfFile {
		t.Fatalf("entries %v, err %v", entries, err)
	}
	if on, err := os.ReadFile(filepath.Join(dir, ConfFile)); err != nil || string(on) != string(got) {
		t.Fatalf("file differs: %v", err)
	}
}

func TestMasqueradeRules(t *testing.T) {
	pods := []netip.Prefix{prefix("10.42.3.0/24"), prefix("fd42:0:0:3::/64")}
	cluster := []netip.Prefix{prefix("10.42.0.0/16")}
	var dump strings.Builder
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		fake := knftables.NewFake(family, "proa-01234567-net")
		for range 2 { // writing it again must not double it
			tx := fake.NewTransaction()
			masqueradeRules(tx, family, pods, cluster, "pr01234567")
			if err := fake.Run(context.Background(), tx); err != nil {
				t.Fatal(err)
			}
		}
		dump.WriteString(fake.Dump())
	}
	golden(t, "masquerade.nft", dump.String())
}

func TestEnsureSysctls(t *testing.T) {
	root := t.TempDir()
	put := func(key, value string, mode os.FileMode) string {
		path := filepath.Join(root, strings.ReplaceAll(key, ".", "/"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	forward := put("net.ipv4.ip_forward", "0", 0o644)
	put("net.ipv4.fine", "1", 0o444)
	lacks := EnsureSysctls(root, []Sysctl{
		{Key: "net.ipv4.ip_forward", Value: "1"},
		{Key: "net.ipv4.fine", Value: "1"},
		{Key: "net.none.such", Value: "1", Why: "pods sulk without it", Module: "proa_no_such_module"},
	})
	if b, err := os.ReadFile(forward); err != nil || strings.TrimSpace(string(b)) != "1" {
		t.Errorf("ip_forward is %q, %v", b, err)
	}
	if len(lacks) != 1 {
		t.Fatalf("lacks %v", lacks)
	}
	want := "net.none.such does not exist, but should be 1: pods sulk without it; mend it with: modprobe proa_no_such_module && sysctl -w net.none.such=1"
	if got := lacks[0].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// golden compares got with testdata/name; PROA_UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("PROA_UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}
