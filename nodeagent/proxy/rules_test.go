package proxy

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/knftables"
)

func testFacts(family corev1.IPFamily) *Facts {
	f := &Facts{Family: family, NodeName: "n1", LocalhostNodePorts: true, MasqueradeMark: DefaultMasqueradeMark}
	if family == corev1.IPv4Protocol {
		f.NodeIP = netip.MustParseAddr("192.168.7.1")
		f.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}
		f.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16")}
	} else {
		f.NodeIP = netip.MustParseAddr("fd07::1")
		f.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("fd42::/56")}
		f.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("fd43::/112")}
	}
	return f
}

func nftFamily(f corev1.IPFamily) knftables.Family {
	if f == corev1.IPv6Protocol {
		return knftables.IPv6Family
	}
	return knftables.IPv4Family
}

// decodeAll reads the documents of a YAML file.
func decodeAll(t *testing.T, path string) (services []*corev1.Service, slcs []*discoveryv1.EndpointSlice, settings map[string]string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, doc := range strings.Split(string(data), "\n---\n") {
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("%s: document %d: %v", path, i, err)
		}
		switch o := obj.(type) {
		case *corev1.Service:
			services = append(services, o)
		case *discoveryv1.EndpointSlice:
			slcs = append(slcs, o)
		case *corev1.ConfigMap:
			settings = o.Data
		default:
			t.Fatalf("%s: document %d is a %T", path, i, obj)
		}
	}
	return services, slcs, settings
}

func build(f *Facts, services []*corev1.Service, slcs []*discoveryv1.EndpointSlice) (*RuleSet, *Changes) {
	rules, changes := NewRuleSet(), newChanges()
	rules.Put(staticOwner, StaticFragment(f), changes)
	for _, svc := range services {
		var own []*discoveryv1.EndpointSlice
		for _, s := range slcs {
			if serviceKey(s) == svc.Namespace+"/"+svc.Name {
				own = append(own, s)
			}
		}
		rules.Put(svc.Namespace+"/"+svc.Name, ServiceFragment(f, svc, own), changes)
	}
	return rules, changes
}

func dump(t *testing.T, f *Facts, rules *RuleSet, changes *Changes) string {
	t.Helper()
	fake := knftables.NewFake(nftFamily(f.Family), "proa")
	w := newWriter(fake)
	if err := w.sync(context.Background(), rules, changes, time.Time{}); err != nil {
		t.Fatal(err)
	}
	return fake.Dump()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("PROA_UPDATE") != "" {
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

func TestStaticRules(t *testing.T) {
	limited := testFacts(corev1.IPv4Protocol)
	limited.LimitNodePorts, limited.NodePortAddresses = true, []netip.Addr{netip.MustParseAddr("192.168.7.1"), netip.MustParseAddr("127.0.0.1")}
	limited.MasqueradeAll, limited.LocalhostNodePorts, limited.ServiceCIDRs = true, false, nil
	for name, f := range map[string]*Facts{
		"static-ipv4": testFacts(corev1.IPv4Protocol), "static-ipv6": testFacts(corev1.IPv6Protocol), "static-limited": limited,
	} {
		t.Run(name, func(t *testing.T) {
			rules, changes := build(f, nil, nil)
			golden(t, filepath.Join("testdata", name+".nft"), dump(t, f, rules, changes))
		})
	}
}

// TestServiceRules turns every testdata/*.yaml into rules, for each family, and
// compares what the Services add with the .nft file of that name (PROA_UPDATE=1
// writes it). A ConfigMap in the file sets facts.
func TestServiceRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			services, slcs, settings := decodeAll(t, path)
			var out strings.Builder
			for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
				f := testFacts(family)
				for k, v := range settings {
					switch k {
					case "zone":
						f.Zone = v
					case "nodeName":
						f.NodeName = v
					default:
						t.Fatalf("unknown fact %q", k)
					}
				}
				rules, changes := build(f, nil, nil)
				static := map[string]bool{}
				for _, l := range strings.Split(dump(t, f, rules, changes), "\n") {
					static[l] = true
				}
				rules, changes = build(f, services, slcs)
				for _, l := range strings.Split(dump(t, f, rules, changes), "\n") {
					if !static[l] {
						out.WriteString(l + "\n")
					}
				}
				for _, svc := range services {
					if frag := rules.fragments[svc.Namespace+"/"+svc.Name]; frag != nil && frag.HealthCheckNodePort != 0 {
						out.WriteString("# " + string(family) + " health check on port " + strconv.Itoa(int(frag.HealthCheckNodePort)) +
							": " + strconv.Itoa(frag.LocalEndpoints) + " local endpoints\n")
					}
				}
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".nft", out.String())
		})
	}
}

// The number of rules that a packet passes must not depend on the number of
// Services: base chains and their targets stay as they are.
func TestRulesScale(t *testing.T) {
	f := testFacts(corev1.IPv4Protocol)
	services, slcs, _ := decodeAll(t, "testdata/clusterip.yaml")
	one, _ := build(f, services[:1], slcs)
	var many []*corev1.Service
	for i := range 500 {
		s := services[0].DeepCopy()
		s.Name = "s" + strconv.Itoa(i)
		s.Spec.ClusterIP = netip.AddrFrom4([4]byte{10, 43, byte(i / 250), byte(i%250 + 1)}).String()
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		many = append(many, s)
	}
	all, changes := build(f, many, slcs)
	for name, c := range one.chains {
		if !strings.Contains(name, "/") && !c.equal(all.chains[name]) {
			t.Errorf("chain %s differs with 500 services", name)
		}
	}
	fake := knftables.NewFake(knftables.IPv4Family, "proa")
	w := newWriter(fake)
	if err := w.sync(context.Background(), all, changes, time.Time{}); err != nil {
		t.Fatal(err)
	}
	// And one Service's change must cost a transaction of that Service only.
	changed := many[7].DeepCopy()
	changed.Spec.Ports[0].Port++
	changes = newChanges()
	all.Put("default/s7", ServiceFragment(f, changed, nil), changes)
	if err := w.sync(context.Background(), all, changes, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n := fake.LastTransaction.NumOperations(); n > 6 {
		t.Errorf("%d operations for one service:\n%s", n, fake.LastTransaction)
	}
}
