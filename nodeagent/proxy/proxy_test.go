package proxy

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/knftables"
)

// locked is a flaky for use beside the proxy's goroutine.
type locked struct {
	mu sync.Mutex
	flaky
}

func (l *locked) Run(ctx context.Context, tx *knftables.Transaction) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flaky.Run(ctx, tx)
}

func (l *locked) dump() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Dump()
}

func (l *locked) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// eventually waits for what informers and the loop bring about; step, if not nil,
// is called between looks.
func eventually(t *testing.T, what string, step func(), cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not come about in 20 s", what)
		}
		if step != nil {
			step()
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestProxyFollowsTheCluster(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	services, slcs, _ := decodeAll(t, "testdata/hints-zone.yaml")
	client := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	for _, s := range services {
		if err := client.Tracker().Add(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range slcs {
		if err := client.Tracker().Add(s); err != nil {
			t.Fatal(err)
		}
	}
	clk := testclock.NewFakeClock(time.Unix(1700000000, 0))
	nft := &locked{flaky: flaky{Fake: knftables.NewFake(knftables.IPv4Family, "proa")}}
	var flows struct {
		sync.Mutex
		ports []UDPPort
	}
	reg := prometheus.NewRegistry()
	p, err := New(Options{
		Client: client, NodeName: "n1", NodeIPs: []netip.Addr{netip.MustParseAddr("192.168.7.1")}, Table: "proa", Clock: clk, Registerer: reg,
		ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}, ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16")},
		SysctlRoot: t.TempDir(),
		NFT:        func(knftables.Family, string) (knftables.Interface, error) { return nft, nil },
		DeleteFlows: func(_ corev1.IPFamily, ports []UDPPort) (uint, error) {
			flows.Lock()
			defer flows.Unlock()
			flows.ports = append(flows.ports, ports...)
			return 1, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	<-p.Ready()
	// Only time that passes lets the coalescing, retries and repairs happen.
	tick := func() { clk.Step(10 * time.Millisecond) }
	has := func(text string) func() bool {
		return func() bool { return strings.Contains(nft.dump(), text) }
	}
	lacks := func(text string) func() bool {
		return func() bool { return !strings.Contains(nft.dump(), text) }
	}
	// Without a zone all three endpoints serve; in a zone those hinted for it.
	if !has("random mod 3 map { 0 : 10.42.0.5 . 8080 , 1 : 10.42.1.5 . 8080 , 2 : 10.42.2.5 . 8080 }")() {
		t.Fatalf("at start:\n%s", nft.dump())
	}
	if _, err := client.CoreV1().Nodes().Update(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{corev1.LabelTopologyZone: "east"}}}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "zone", tick, has("random mod 2 map { 0 : 10.42.1.5 . 8080 , 1 : 10.42.2.5 . 8080 }"))

	slice := slcs[0].DeepCopy()
	slice.Endpoints = slice.Endpoints[:2]
	if _, err := client.DiscoveryV1().EndpointSlices("default").Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "endpoint gone", tick, has("random mod 1 map { 0 : 10.42.1.5 . 8080 }"))
	if err := client.DiscoveryV1().EndpointSlices("default").Delete(ctx, slice.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "slice gone", tick, has(`no-endpoint-services { 10.43.0.7 . tcp . 80 comment "default/web:http" : goto reject-chain }`))
	if err := client.CoreV1().Services("default").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "service gone", tick, lacks("10.43.0.7"))
	// Its chain goes a second later, woken by the clock alone.
	eventually(t, "chain gone", tick, lacks("default/web/tcp"))

	// UDP: a flow that began before there was an endpoint is ended when one comes.
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "u", Namespace: "default"}, Spec: corev1.ServiceSpec{
		ClusterIP: "10.43.0.50", ClusterIPs: []string{"10.43.0.50"}, Ports: []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP}}}}
	if _, err := client.CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "udp service", tick, has("10.43.0.50 . udp . 53"))
	if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "u-1", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "u"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To[int32](5353), Protocol: ptr.To(corev1.ProtocolUDP)}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.42.0.5"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "udp flows", tick, func() bool {
		flows.Lock()
		defer flows.Unlock()
		return len(flows.ports) == 1 && flows.ports[0].Backends[0].String() == "10.42.0.5:5353"
	})

	// Failures are retried, told by health, and mended.
	nft.setFail(context.DeadlineExceeded)
	if err := client.CoreV1().Services("default").Delete(ctx, "partly", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	unhealthy := func() bool {
		w := httptest.NewRecorder()
		p.healthz(w, nil)
		return w.Code == http.StatusServiceUnavailable
	}
	eventually(t, "unhealthy", func() { clk.Step(time.Second) }, unhealthy)
	if !has("10.43.0.8")() {
		t.Error("a failed transaction had effect")
	}
	nft.setFail(nil)
	eventually(t, "mended", func() { clk.Step(time.Second) }, lacks("10.43.0.8"))
	eventually(t, "healthy", nil, func() bool { return !unhealthy() })

	// What somebody else changes is repaired after a while.
	tx := nft.NewTransaction()
	tx.Delete(&knftables.Table{})
	if err := nft.Fake.Run(ctx, tx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "repair", func() { clk.Step(30 * time.Second) }, has("10.43.0.50 . udp . 53"))

	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !has("10.43.0.50 . udp . 53")() {
		t.Error("stopping took the rules away")
	}
	if n, err := testutil.GatherAndCount(reg, "kubeproxy_sync_proxy_rules_duration_seconds", "kubeproxy_sync_proxy_rules_nftables_sync_failures_total"); err != nil || n != 2 {
		t.Errorf("metrics: %d %v", n, err)
	}
}

func TestStaleUDP(t *testing.T) {
	ap := netip.MustParseAddrPort
	udp := func(nodePort uint16, front string, backs ...string) *Fragment {
		u := UDPPort{NodePort: nodePort, Frontends: []netip.AddrPort{ap(front)}}
		for _, b := range backs {
			u.Backends = append(u.Backends, ap(b))
		}
		return &Fragment{UDP: []UDPPort{u}}
	}
	const vip = "10.43.0.7:53"
	for _, tc := range []struct {
		name     string
		old, cur *Fragment
		stale    bool
	}{
		{"first endpoint", udp(0, vip), udp(0, vip, "10.42.0.5:53"), true},
		{"new service with endpoints", nil, udp(0, vip, "10.42.0.5:53"), true},
		{"more endpoints", udp(0, vip, "10.42.0.5:53"), udp(0, vip, "10.42.0.5:53", "10.42.0.6:53"), false},
		{"same", udp(0, vip, "10.42.0.5:53"), udp(0, vip, "10.42.0.5:53"), false},
		{"fewer", udp(0, vip, "10.42.0.5:53", "10.42.0.6:53"), udp(0, vip, "10.42.0.5:53"), true},
		{"replaced", udp(0, vip, "10.42.0.5:53"), udp(0, vip, "10.42.0.6:53"), true},
		{"none left", udp(0, vip, "10.42.0.5:53"), udp(0, vip), false},
		{"service gone", udp(0, vip, "10.42.0.5:53"), nil, false},
		{"another address", udp(0, vip, "10.42.0.5:53"), udp(0, "10.43.0.8:53", "10.42.0.5:53"), true},
		{"node port added", udp(0, vip, "10.42.0.5:53"), udp(30053, vip, "10.42.0.5:53"), true},
		{"nothing before", nil, nil, false},
	} {
		if got := len(staleUDP(tc.old, tc.cur)) > 0; got != tc.stale {
			t.Errorf("%s: stale %t, want %t", tc.name, got, tc.stale)
		}
	}
	ports := udp(30053, vip, "10.42.0.5:53").UDP
	for _, tc := range []struct {
		name  string
		f     flow
		stale bool
	}{
		{"to the endpoint", flow{true, ap(vip), ap("10.42.0.5:53")}, false},
		{"to a former one", flow{true, ap(vip), ap("10.42.0.9:53")}, true},
		{"to the address itself", flow{true, ap(vip), ap(vip)}, true},
		{"to the node port, former one", flow{true, ap("192.168.7.1:30053"), ap("10.42.0.9:53")}, true},
		{"to the node port", flow{true, ap("192.168.7.1:30053"), ap("10.42.0.5:53")}, false},
		{"elsewhere", flow{true, ap("192.0.2.1:53"), ap("192.0.2.1:53")}, false},
		{"TCP", flow{false, ap(vip), ap("10.42.0.9:53")}, false},
	} {
		if got := staleFlow(ports, tc.f); got != tc.stale {
			t.Errorf("%s: stale %t, want %t", tc.name, got, tc.stale)
		}
	}
}

func TestServiceHealth(t *testing.T) {
	healthy := true
	h := newServiceHealth(func() bool { return healthy })
	listeners := map[int32]net.Listener{}
	refuse := false
	h.listen = func(port int32) (net.Listener, error) {
		if refuse {
			return nil, net.ErrClosed
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		listeners[port] = l
		return l, err
	}
	defer h.close()
	ctx := context.Background()
	get := func(port int32) (int, string, map[string]any) {
		t.Helper()
		resp, err := http.Get("http://" + listeners[port].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("X-Load-Balancing-Endpoint-Weight"), body
	}
	h.sync(ctx, map[int32]healthService{32000: {"default", "web", 2}})
	code, weight, body := get(32000)
	want := map[string]any{"service": map[string]any{"namespace": "default", "name": "web"}, "localEndpoints": 2.0, "serviceProxyHealthy": true}
	if d := cmp.Diff(want, body); d != "" || code != 200 || weight != "2" {
		t.Errorf("code %d, weight %s, %s", code, weight, d)
	}
	h.sync(ctx, map[int32]healthService{32000: {"default", "web", 0}})
	if code, _, _ := get(32000); code != 503 {
		t.Errorf("no endpoints: %d", code)
	}
	h.sync(ctx, map[int32]healthService{32000: {"default", "web", 1}})
	healthy = false
	if code, _, _ := get(32000); code != 503 {
		t.Errorf("unhealthy proxy: %d", code)
	}
	// Another Service on the port, and a port that was taken for a while.
	first := listeners[32000].Addr().String()
	h.sync(ctx, map[int32]healthService{32000: {"default", "other", 1}})
	if listeners[32000].Addr().String() == first {
		t.Error("the former Service's server goes on")
	}
	refuse = true
	h.sync(ctx, map[int32]healthService{32001: {"default", "late", 1}})
	refuse = false
	h.sync(ctx, map[int32]healthService{32001: {"default", "late", 1}})
	if code, _, body := get(32001); code != 503 || body["localEndpoints"] != 1.0 {
		t.Errorf("late: %d %v", code, body)
	}
	if _, err := net.Dial("tcp", listeners[32000].Addr().String()); err == nil {
		t.Error("a port no longer wanted is open")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no table": {NodeName: "n1", Client: fake.NewClientset()}, "no node": {Table: "t", Client: fake.NewClientset()}, "no API": {NodeName: "n1", Table: "t"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	got := selectAddresses([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.7.1"), netip.MustParseAddr("fd07::1")},
		[]netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("::/0")}, corev1.IPv4Protocol)
	if len(got) != 1 || got[0].String() != "192.168.7.1" {
		t.Errorf("addresses %v", got)
	}
}
