package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

// upstreamStub is a DNS server on loopback that answers www.example.com.
func upstreamStub(t *testing.T) string {
	t.Helper()
	l, err := bind(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- l.serve(ctx, dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) {
			m := new(dns.Msg).SetReply(req)
			switch q := req.Question[0]; {
			case strings.EqualFold(q.Name, "www.example.com.") && q.Qtype == dns.TypeA:
				rr, _ := dns.NewRR(q.Name + " 300 IN A 192.0.2.80")
				m.Answer = append(m.Answer, rr)
			case q.Name == "big.example.com.":
				for i := range 200 {
					rr, _ := dns.NewRR(fmt.Sprintf("%s 300 IN A 192.0.2.%d", q.Name, i))
					m.Answer = append(m.Answer, rr)
				}
			default:
				m.Rcode = dns.RcodeNameError
			}
			proto := "udp"
			if _, ok := w.RemoteAddr().(*net.TCPAddr); ok {
				proto = "tcp"
			}
			finish(m, req, proto)
			_ = w.WriteMsg(m)
		}))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.stream.Addr().String()
}

// start runs a server for the world of testdata and returns it with its address.
func start(t *testing.T, client *fake.Clientset, o Options) (*Server, string) {
	t.Helper()
	o.Registerer = prometheus.NewRegistry()
	o.Client = client
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatal("ended early: ", err)
	}
	return s, s.Addresses()[0].String()
}

func ask(t *testing.T, network, addr string, change func(*dns.Msg), name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	if change != nil {
		change(m)
	}
	c := &dns.Client{Net: network, Timeout: 10 * time.Second}
	r, _, err := c.Exchange(m, addr)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[qtype], err)
	}
	return r
}

func TestServer(t *testing.T) {
	client := fake.NewClientset(loadWorld(t).objects...)
	var many discoveryv1.EndpointSlice
	many.Name, many.Namespace, many.AddressType = "crowd-a", "default", discoveryv1.AddressTypeIPv4
	many.Labels = map[string]string{discoveryv1.LabelServiceName: "crowd"}
	for i := range 300 {
		many.Endpoints = append(many.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.42.%d.%d", 10+i/200, 1+i%200)}})
	}
	ctx := context.Background()
	if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, &many, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Services("default").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "crowd", Namespace: "default"}, Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, addr := start(t, client, Options{Listen: []string{"127.0.0.1:0"}, Upstreams: []string{upstreamStub(t)}})

	edns := func(size uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, false) } }
	for _, tc := range []struct {
		name    string
		network string
		change  func(*dns.Msg)
		qname   string
		qtype   uint16
		rcode   int
		answers int // -1: some
		auth    bool
		trunc   bool
	}{
		{"cluster IP", "udp", nil, "web.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, 1, true, false},
		{"cluster IP over TCP", "tcp", nil, "web.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, 1, true, false},
		{"no such service", "udp", nil, "nosuch.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, 0, true, false},
		{"large answer", "udp", nil, "crowd.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, -1, true, true},
		{"large answer, EDNS0", "udp", edns(4096), "crowd.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, -1, true, true},
		{"large answer, TCP", "tcp", nil, "crowd.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, 300, true, false},
		{"forwarded", "udp", nil, "WWW.example.com.", dns.TypeA, dns.RcodeSuccess, 1, false, false},
		{"forwarded, large", "tcp", nil, "big.example.com.", dns.TypeA, dns.RcodeSuccess, 200, false, false},
		{"forwarded, none", "udp", nil, "gone.example.com.", dns.TypeA, dns.RcodeNameError, 0, false, false},
		{"alias to outside", "udp", nil, "away.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, 2, true, false},
		{"alias to outside, no such type", "udp", nil, "away.default.svc.cluster.local.", dns.TypeAAAA, dns.RcodeNameError, 1, true, false},
		{"zone transfer", "tcp", nil, "cluster.local.", dns.TypeAXFR, dns.RcodeRefused, 0, false, false},
		{"another class", "udp", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, "version.bind.", dns.TypeTXT, dns.RcodeRefused, 0, false, false},
		{"another opcode", "udp", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, "cluster.local.", dns.TypeSOA, dns.RcodeNotImplemented, 0, false, false},
		{"EDNS of the future", "udp", func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, "web.default.svc.cluster.local.", dns.TypeA, dns.RcodeBadVers, 0, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := ask(t, tc.network, addr, tc.change, tc.qname, tc.qtype)
			if r.Rcode != tc.rcode || r.Authoritative != tc.auth || r.Truncated != tc.trunc ||
				(len(r.Answer) != tc.answers && (tc.answers >= 0 || len(r.Answer) == 0)) {
				t.Fatalf("got\n%s", r)
			}
			if tc.rcode == dns.RcodeNameError && tc.auth && tc.answers == 0 && len(r.Ns) != 1 {
				t.Fatalf("no SOA in\n%s", r)
			}
			// A server must not send EDNS0 to those who did not, and must to those who did.
			q := new(dns.Msg)
			q.SetQuestion(tc.qname, tc.qtype)
			if tc.change != nil {
				tc.change(q)
			}
			if (q.IsEdns0() != nil) != (r.IsEdns0() != nil) {
				t.Fatalf("EDNS0 in one of question and answer only:\n%s", r)
			}
		})
	}

	// What changes in the cluster is answered, without a delay of ours.
	if err := client.CoreV1().Services("default").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return ask(t, "udp", addr, nil, "web.default.svc.cluster.local.", dns.TypeA).Rcode == dns.RcodeNameError
	})
}

// eventually waits for a state that informers bring about.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatal("did not come about in 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestPublish(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u1"}}
	client := fake.NewClientset(node)
	ctx := context.Background()
	ip := netip.MustParseAddr("10.43.0.10")
	clk := clock.RealClock{}
	w := &world{services: map[string]*corev1.Service{}}
	p := &publisher{
		client: client, lister: w, clock: clk, nodeName: "n1", serviceIPs: []netip.Addr{ip},
		listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("10.42.0.1:53"), netip.MustParseAddrPort("[fd42::1]:53")},
	}
	sync := func() (writes int) {
		t.Helper()
		client.ClearActions()
		if err := p.sync(ctx); err != nil {
			t.Fatal(err)
		}
		for _, a := range client.Actions() {
			if a.GetVerb() != "get" {
				writes++
			}
		}
		svc, err := client.CoreV1().Services(ServiceNamespace).Get(ctx, ServiceName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.services[ServiceNamespace+"/"+ServiceName] = svc
		list, err := client.DiscoveryV1().EndpointSlices(ServiceNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.slices = nil
		for i := range list.Items {
			w.slices = append(w.slices, &list.Items[i])
		}
		return writes
	}
	if n := sync(); n != 3 {
		t.Fatalf("first: %d writes, want the Service and two slices", n)
	}
	svc := w.services[ServiceNamespace+"/"+ServiceName]
	if svc.Spec.ClusterIP != "10.43.0.10" || len(svc.Spec.Selector) != 0 || len(svc.Spec.Ports) != 2 || svc.Labels["k8s-app"] != "kube-dns" {
		t.Errorf("service %+v", svc.Spec)
	}
	for _, s := range w.slices {
		want := map[string]string{"kube-dns-n1": "10.42.0.1", "kube-dns-n1-v6": "fd42::1"}[s.Name]
		if e := s.Endpoints[0]; e.Addresses[0] != want || *e.NodeName != "n1" || e.Hints.ForNodes[0].Name != "n1" || s.OwnerReferences[0].UID != "u1" {
			t.Errorf("slice %s: %+v, owners %v", s.Name, e, s.OwnerReferences)
		}
	}
	if n := sync(); n != 0 {
		t.Errorf("steady: %d writes", n)
	}
	// Somebody's change is taken back, what is not ours is kept.
	changed := svc.DeepCopy()
	changed.Spec.Ports, changed.Annotations = changed.Spec.Ports[:1], map[string]string{"note": "mine"}
	w.services[ServiceNamespace+"/"+ServiceName] = changed
	w.slices = w.slices[1:]
	if n := sync(); n != 3 { // one Update, one Create that finds it there, one Update
		t.Errorf("after a change: %d writes", n)
	}
	if svc := w.services[ServiceNamespace+"/"+ServiceName]; len(svc.Spec.Ports) != 2 || svc.Annotations["note"] != "mine" {
		t.Errorf("after a change: %+v", svc)
	}
	// A Service with a selector is somebody else's server.
	foreign := svc.DeepCopy()
	foreign.Spec.Selector, foreign.Spec.Ports = map[string]string{"k8s-app": "kube-dns"}, nil
	w.services[ServiceNamespace+"/"+ServiceName] = foreign
	if n := sync(); n != 0 {
		t.Errorf("with a selector: %d writes", n)
	}
}

func TestForwarder(t *testing.T) {
	clk := testclock.NewFakePassiveClock(time.Now())
	var mu sync.Mutex
	var asked []string
	behave := map[string]func(m *dns.Msg, network string) (*dns.Msg, error){}
	ex := func(_ context.Context, m *dns.Msg, network, addr string) (*dns.Msg, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, network+" "+addr)
		return behave[addr](m, network)
	}
	answer := func(ttl int) func(*dns.Msg, string) (*dns.Msg, error) {
		return func(m *dns.Msg, _ string) (*dns.Msg, error) {
			r := new(dns.Msg).SetReply(m)
			rr, err := dns.NewRR(fmt.Sprintf("%s %d IN A 192.0.2.1", m.Question[0].Name, ttl))
			r.Answer = []dns.RR{rr}
			return r, err
		}
	}
	dead := func(*dns.Msg, string) (*dns.Msg, error) { return nil, errors.New("timeout") }
	code := func(rcode int) func(*dns.Msg, string) (*dns.Msg, error) {
		return func(m *dns.Msg, _ string) (*dns.Msg, error) { return new(dns.Msg).SetRcode(m, rcode), nil }
	}
	servers := []string{"a", "b"}
	f := newForwarder(func() []string { return servers }, ex, clk, "me", func(bool) {})
	try := func(name string, wantAsked ...string) (*dns.Msg, error) {
		t.Helper()
		asked = nil
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		r, err := f.forward(context.Background(), m)
		if strings.Join(asked, ",") != strings.Join(wantAsked, ",") {
			t.Errorf("%s: asked %v, want %v", name, asked, wantAsked)
		}
		return r, err
	}

	// The first that answers is the first asked from then on.
	behave["a"], behave["b"] = dead, answer(20)
	if r, err := try("x.", "udp a", "udp b"); err != nil || r.Answer[0].Header().Ttl != 20 {
		t.Errorf("failover: %v %v", r, err)
	}
	if _, err := try("y.", "udp b"); err != nil {
		t.Error(err)
	}
	// Cached, in any case, and aged.
	clk.SetTime(clk.Now().Add(15 * time.Second))
	if r, err := try("X."); err != nil || r.Answer[0].Header().Ttl != 5 {
		t.Errorf("cached: %v %v", r, err)
	}
	clk.SetTime(clk.Now().Add(6 * time.Second))
	if _, err := try("x.", "udp b"); err != nil {
		t.Error(err)
	}
	// Failures are answered, but neither kept nor final.
	behave["a"], behave["b"] = dead, code(dns.RcodeServerFailure)
	for range 2 {
		if r, err := try("z.", "udp b", "udp a"); err != nil || r.Rcode != dns.RcodeServerFailure {
			t.Errorf("failing: %v %v", r, err)
		}
	}
	behave["b"] = dead
	if _, err := try("z.", "udp b", "udp a"); err == nil {
		t.Error("all dead, but no error")
	}
	// Truncated: again over TCP. No EDNS0: again without.
	behave["b"] = func(m *dns.Msg, network string) (*dns.Msg, error) {
		r, err := answer(9)(m, network)
		r.Truncated = network == "udp"
		return r, err
	}
	if r, err := try("t.", "udp b", "tcp b"); err != nil || r.Truncated {
		t.Errorf("truncated: %v %v", r, err)
	}
	behave["b"] = func(m *dns.Msg, network string) (*dns.Msg, error) {
		if m.IsEdns0() != nil {
			return code(dns.RcodeFormatError)(m, network)
		}
		return answer(9)(m, network)
	}
	if r, err := try("old.", "udp b", "udp b"); err != nil || r.Rcode != dns.RcodeSuccess {
		t.Errorf("old server: %v %v", r, err)
	}
	// Negative answers are kept for as long as their SOA says.
	behave["b"] = func(m *dns.Msg, _ string) (*dns.Msg, error) {
		r := new(dns.Msg).SetRcode(m, dns.RcodeNameError)
		rr, err := dns.NewRR(". 3600 IN SOA a. b. 1 2 3 4 7")
		r.Ns = []dns.RR{rr}
		return r, err
	}
	if _, err := try("none.", "udp b"); err != nil {
		t.Error(err)
	}
	clk.SetTime(clk.Now().Add(6 * time.Second))
	if _, err := try("none."); err != nil {
		t.Error(err)
	}
	clk.SetTime(clk.Now().Add(2 * time.Second))
	if _, err := try("none.", "udp b"); err != nil {
		t.Error(err)
	}
	// A loop ends where it comes back.
	behave["b"] = func(m *dns.Msg, network string) (*dns.Msg, error) {
		if _, err := f.forward(context.Background(), m); !errors.Is(err, errLoop) {
			t.Errorf("loop: %v", err)
		}
		return code(dns.RcodeServerFailure)(m, network)
	}
	servers = []string{"b"}
	if r, err := try("loop.", "udp b"); err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("loop: %v %v", r, err)
	}
	servers = nil
	if _, err := try("nobody."); !errors.Is(err, errNoUpstream) {
		t.Errorf("without servers: %v", err)
	}
}

func TestResolvConf(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	clk := testclock.NewFakePassiveClock(time.Now())
	conf := write("resolv.conf", "nameserver 192.0.2.53\nnameserver 10.42.0.1\nsearch lan\n")
	rc := &resolvConf{path: conf, fallback: filepath.Join(dir, "real.conf"), own: func() []string { return []string{"10.42.0.1:53"} }, clock: clk}
	expect := func(want string) {
		t.Helper()
		if got := strings.Join(rc.get(), " "); got != want {
			t.Errorf("servers %q, want %q", got, want)
		}
	}
	expect("192.0.2.53:53") // ours is left out
	write("resolv.conf", "nameserver 127.0.0.53\n")
	expect("192.0.2.53:53") // not read again yet
	clk.SetTime(clk.Now().Add(11 * time.Second))
	expect("127.0.0.53:53") // a stub, and nothing better
	write("real.conf", "nameserver 2001:db8::53\n")
	clk.SetTime(clk.Now().Add(11 * time.Second))
	expect("[2001:db8::53]:53")
	if err := os.Remove(conf); err != nil {
		t.Fatal(err)
	}
	write("real.conf", "")
	clk.SetTime(clk.Now().Add(11 * time.Second))
	expect("")
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no address to listen on":          {},
		"is not ip:port":                   {Listen: []string{"localhost:53"}},
		"is not a domain name":             {Listen: []string{"127.0.0.1:0"}, Domain: "."},
		"ManageService without ServiceIPs": {Listen: []string{"127.0.0.1:0"}, ManageService: true},
	} {
		o.Client = fake.NewClientset()
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: want an error with %q", err, name)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("New without Config succeeded")
	}
}

// The server waits for its address and for the network's, and ends cleanly when
// stopped while it waits.
func TestBindRetrying(t *testing.T) {
	first, err := bind(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := first.stream.Addr().String()
	clk := testclock.NewFakeClock(time.Now())
	type result struct {
		l   *listener
		err error
	}
	got := make(chan result, 1)
	go func() {
		l, err := bindRetrying(context.Background(), clk, addr)
		got <- result{l, err}
	}()
	eventually(t, clk.HasWaiters) // it is taken; it waits
	first.packet.Close()
	first.stream.Close()
	clk.Step(time.Minute)
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := bindRetrying(ctx, clk, addr); err == nil || !strings.Contains(err.Error(), "listening on") {
		t.Errorf("stopped while waiting: %v", err)
	}
	if err := r.l.serve(ctx, dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) {})); err != nil {
		t.Errorf("stopped before serving: %v", err)
	}
}
