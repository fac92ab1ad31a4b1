package dns

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// world is a Lister over plain objects.
type world struct {
	namespaces map[string]bool
	services   map[string]*corev1.Service
	slices     []*discoveryv1.EndpointSlice
	objects    []runtime.Object
}

func (w *world) HasNamespace(n string) bool              { return w.namespaces[n] }
func (w *world) Service(ns, name string) *corev1.Service { return w.services[ns+"/"+name] }

func (w *world) Slices(ns, svc string) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, s := range w.slices {
		if s.Namespace == ns && serviceOf(s) == svc {
			out = append(out, s)
		}
	}
	return out
}

func (w *world) ServicesByIP(ip netip.Addr) []*corev1.Service {
	var out []*corev1.Service
	for _, s := range w.services {
		for _, c := range clusterIPs(s) {
			if c == ip {
				out = append(out, s)
			}
		}
	}
	return out
}

func (w *world) SlicesByIP(ip netip.Addr) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, s := range w.slices {
		for _, e := range s.Endpoints {
			if sameAddr(e.Addresses[0], ip) {
				out = append(out, s)
				break
			}
		}
	}
	return out
}

func loadWorld(t *testing.T) *world {
	t.Helper()
	data, err := os.ReadFile("testdata/world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{namespaces: map[string]bool{}, services: map[string]*corev1.Service{}}
	for i, doc := range strings.Split(string(data), "\n---\n") {
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		w.objects = append(w.objects, obj)
		switch o := obj.(type) {
		case *corev1.Namespace:
			w.namespaces[o.Name] = true
		case *corev1.Service:
			w.services[o.Namespace+"/"+o.Name] = o
		case *discoveryv1.EndpointSlice:
			w.slices = append(w.slices, o)
		default:
			t.Fatalf("document %d is a %T", i, obj)
		}
	}
	return w
}

func testResolver(l Lister) *Resolver {
	return &Resolver{
		Domain: "cluster.local.", TTL: 5, Lister: l,
		ServiceIPs: []netip.Addr{netip.MustParseAddr("10.43.0.10")},
		OwnCIDRs:   []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("10.43.0.0/16")},
	}
}

// TestResolver asks every question of testdata/questions.txt in the world of
// testdata/world.yaml and compares with testdata/answers.txt (PROA_UPDATE=1
// writes it).
func TestResolver(t *testing.T) {
	r := testResolver(loadWorld(t))
	questions, err := os.ReadFile("testdata/questions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(string(questions)), "\n") {
		if strings.HasPrefix(line, "#") {
			fmt.Fprintf(&b, "\n%s\n", line)
			continue
		}
		name, kind, ok := strings.Cut(line, " ")
		qtype, known := dns.StringToType[kind]
		if !ok || !known {
			t.Fatalf("question %q", line)
		}
		res := r.Resolve(name, qtype)
		fmt.Fprintf(&b, "\n? %s %s\n", name, kind)
		if !res.Mine {
			b.WriteString("  not ours\n")
			continue
		}
		fmt.Fprintf(&b, "  %s\n", dns.RcodeToString[res.Rcode])
		for _, section := range []struct {
			mark string
			rrs  []dns.RR
		}{{"=", res.Answer}, {"^", res.Authority}, {"+", res.Extra}} {
			for _, rr := range section.rrs {
				fmt.Fprintf(&b, "  %s %s\n", section.mark, strings.ReplaceAll(rr.String(), "\t", " "))
			}
		}
		if res.Target != "" {
			fmt.Fprintf(&b, "  > %s\n", res.Target)
		}
	}
	golden(t, "testdata/answers.txt", b.String())
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

func TestServiceIP(t *testing.T) {
	for cidr, want := range map[string]string{
		"10.43.0.0/16": "10.43.0.10", "10.43.0.5/16": "10.43.0.10", "fd43::/112": "fd43::a", "10.0.0.0/29": "", "10.0.0.0/28": "10.0.0.10",
	} {
		got, err := ServiceIP(netip.MustParsePrefix(cidr))
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("ServiceIP(%s) = %v, %v; want %s", cidr, got, err, want)
		}
	}
}

// FuzzResolve: no name, however odd, may panic or be answered without a record
// of authority.
func FuzzResolve(f *testing.F) {
	questions, err := os.ReadFile("testdata/questions.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range strings.Split(string(questions), "\n") {
		name, _, _ := strings.Cut(line, " ")
		f.Add(name, dns.TypeA)
	}
	f.Fuzz(func(t *testing.T, name string, qtype uint16) {
		r := testResolver(loadWorld(t))
		res := r.Resolve(name, qtype)
		if res.Mine && len(res.Answer) == 0 && len(res.Authority) == 0 {
			t.Fatalf("%q %d: an answer without records", name, qtype)
		}
	})
}
