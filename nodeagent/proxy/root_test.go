//go:build roottest

// These tests make network namespaces and write real nftables rules in them, so
// they need root, the programs ip, nsenter and nft, and nothing of the host's own
// network: go test -tags roottest ./nodeagent/proxy/
package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"sigs.k8s.io/knftables"

	clusterdns "proa/nodeagent/dns"
	"proa/nodeagent/network"
)

const roleEnv = "PROA_TEST_ROLE"

// TestMain is also the program that runs within the namespaces.
func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	var err error
	args := os.Args[1:]
	switch role {
	case "node":
		err = runNode(args[0], args[1], args[2])
	case "pod":
		err = runPod(args[0])
	case "ask":
		err = runAsk(args[0], args[1], args[2])
	case "dns":
		err = runDNS(args[0], args[1], args[2])
	case "adopt":
		err = runAdopt(args[0])
	case "cleanup":
		err = runCleanup(args[0], args[1])
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

var (
	clusterCIDR = []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42::/48")}
	serviceCIDR = []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16"), netip.MustParsePrefix("fd43::/112")}
	dnsIP       = netip.MustParseAddr("10.43.0.10")
)

// runNode is a node's network, proxy and DNS, over the objects in file. Each line
// on standard input makes it read the file again.
func runNode(name, dir, file string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := fake.NewClientset()
	if err := load(client.Tracker(), file); err != nil {
		return err
	}
	shared := informers.NewSharedInformerFactory(client, 0)
	nw, err := network.New(network.Options{
		Informers: shared, NodeName: name, Bridge: "pr-" + name, Table: "proa-test-net", ClusterCIDRs: clusterCIDR, ServiceCIDRs: serviceCIDR,
		CNIConfDir: filepath.Join(dir, "conf"), CNIDataDir: filepath.Join(dir, "data"),
	})
	if err != nil {
		return err
	}
	node, err := client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("nodes"), "", name)
	if err != nil {
		return err
	}
	var ips []netip.Addr
	for _, a := range node.(*corev1.Node).Status.Addresses {
		ips = append(ips, netip.MustParseAddr(a.Address))
	}
	px, err := New(Options{
		Client: client, Informers: shared, NodeName: name, NodeIPs: ips, Table: "proa-test", ClusterCIDRs: clusterCIDR, ServiceCIDRs: serviceCIDR,
		RepairInterval: time.Second,
	})
	if err != nil {
		return err
	}
	dn, err := clusterdns.New(clusterdns.Options{
		Client: client, Informers: shared, NodeName: name, ServiceIPs: []netip.Addr{dnsIP}, ManageService: true,
		ListenOn: func(ctx context.Context) ([]netip.AddrPort, error) {
			var out []netip.AddrPort
			gws, err := nw.Gateways(ctx)
			for _, gw := range gws {
				out = append(out, netip.AddrPortFrom(gw, 53))
			}
			return out, err
		},
	})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	for _, c := range []interface {
		Run(context.Context) error
		Ready() <-chan struct{}
	}{nw, px, dn} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs <- c.Run(ctx)
		}()
		select {
		case <-c.Ready():
		case err := <-errs:
			return fmt.Errorf("ended early: %w", err)
		}
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := load(client.Tracker(), file); err != nil {
			return err
		}
		fmt.Println("loaded")
	}
	cancel()
	wg.Wait()
	return errors.Join(<-errs, <-errs, <-errs)
}

// load makes the tracker's objects those of file; objects are never taken away.
func load(tracker clienttesting.ObjectTracker, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for i, doc := range strings.Split(string(data), "\n---\n") {
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
		if err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
		err = tracker.Add(obj)
		if apierrors.IsAlreadyExists(err) {
			gvr, _ := meta.UnsafeGuessKindToResource(obj.GetObjectKind().GroupVersionKind())
			accessor, aerr := meta.Accessor(obj)
			if aerr != nil {
				return aerr
			}
			err = tracker.Update(gvr, obj, accessor.GetNamespace())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runPod answers on TCP and UDP port 8080 with its name and the client's address.
func runPod(name string) error {
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	u, err := net.ListenPacket("udp", ":8080")
	if err != nil {
		return err
	}
	host := func(a net.Addr) string {
		ap, _ := netip.ParseAddrPort(a.String())
		return ap.Addr().Unmap().String()
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s %s", name, host(c.RemoteAddr()))
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 1500)
		for {
			_, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo([]byte(name+" "+host(from)), from)
		}
	}()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// runAsk prints what addr answers, or the error's kind.
func runAsk(network, addr, localPort string) error {
	d := net.Dialer{Timeout: 1500 * time.Millisecond}
	if localPort != "" {
		a, err := net.ResolveUDPAddr("udp", ":"+localPort)
		if err != nil {
			return err
		}
		d.LocalAddr = a
	}
	c, err := d.Dial(network, addr)
	var out []byte
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(1500 * time.Millisecond))
		_, _ = c.Write([]byte("?"))
		b := make([]byte, 1500)
		n := 0
		n, err = c.Read(b)
		out = b[:n]
	}
	var timeout net.Error
	switch {
	case err == nil:
		fmt.Println(string(out))
	case strings.Contains(err.Error(), "refused"):
		fmt.Println("refused")
	case errors.As(err, &timeout) && timeout.Timeout():
		fmt.Println("timeout")
	default:
		return err
	}
	return nil
}

func runDNS(network, server, name string) error {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	r, _, err := (&dns.Client{Net: network, Timeout: 3 * time.Second}).Exchange(m, server)
	if err != nil {
		return err
	}
	fmt.Print(dns.RcodeToString[r.Rcode])
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			fmt.Print(" ", a.A)
		}
	}
	fmt.Println()
	return nil
}

func runCleanup(name, dir string) error {
	ctx := context.Background()
	return errors.Join(Cleanup(ctx, "proa-test"), network.Cleanup(ctx, network.Options{
		Bridge: "pr-" + name, Table: "proa-test-net", CNIConfDir: filepath.Join(dir, "conf"), ClusterCIDRs: clusterCIDR, ServiceCIDRs: serviceCIDR,
	}))
}

// recorder notes the transactions that pass.
type recorder struct {
	knftables.Interface
	last *knftables.Transaction
}

func (r *recorder) Run(ctx context.Context, tx *knftables.Transaction) error {
	r.last = tx
	return r.Interface.Run(ctx, tx)
}

// runAdopt writes the rules of each case in dir with the real nft, then again as
// a restarted proxy would, which must find everything as it is, then takes all
// Services away and deletes what is unused.
func runAdopt(dir string) error {
	ctx := context.Background()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		for _, path := range files {
			fail := func(err error) error { return fmt.Errorf("%s, %s: %w", filepath.Base(path), family, err) }
			var t testing.T
			services, slcs, settings := decodeAll(&t, path)
			f := testFacts(family)
			f.Zone = settings["zone"]
			real, err := newNFT(nftFamily(family), "proa-test")
			if err != nil {
				return fail(err)
			}
			nft := &recorder{Interface: real}
			rules, changes := build(f, services, slcs)
			if err := newWriter(nft).sync(ctx, rules, changes, time.Now()); err != nil {
				return fail(fmt.Errorf("%w\n%s", err, nft.last))
			}
			second := newWriter(nft)
			if err := second.sync(ctx, rules, changes, time.Now()); err != nil {
				return fail(fmt.Errorf("again: %w\n%s", err, nft.last))
			}
			for _, line := range strings.Split(nft.last.String(), "\n") {
				if strings.Contains(line, " element ") || strings.HasPrefix(line, "delete set") {
					return fail(fmt.Errorf("again: %s", line))
				}
			}
			changes = newChanges()
			for _, svc := range services {
				rules.Put(svc.Namespace+"/"+svc.Name, nil, changes)
			}
			if err := second.sync(ctx, rules, changes, time.Now()); err != nil {
				return fail(fmt.Errorf("without services: %w\n%s", err, nft.last))
			}
			if _, err := second.sweep(ctx, time.Now().Add(staleAge)); err != nil {
				return fail(fmt.Errorf("%w\n%s", err, nft.last))
			}
			left, err := real.ListAll(ctx)
			if err != nil {
				return fail(err)
			}
			for _, name := range append(left["chain"], left["set"]...) {
				if strings.Contains(name, "/") {
					return fail(fmt.Errorf("left: %s", name))
				}
			}
		}
	}
	return nil
}

// lab is two nodes and an outsider on one Ethernet, with pods.
type lab struct {
	t      *testing.T // of the running subtest
	root   *testing.T
	prefix string
	dir    string
	file   string
	stdin  map[string]io.WriteCloser
	out    map[string]*bufio.Reader
}

func (l *lab) sh(format string, args ...any) string {
	l.t.Helper()
	cmd := fmt.Sprintf(format, args...)
	out, err := exec.Command("sh", "-ec", cmd).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func (l *lab) ns(name string) string { return l.prefix + name }

// in runs a command in a namespace.
func (l *lab) in(name, format string, args ...any) string {
	l.t.Helper()
	return l.sh("nsenter --net=/run/netns/%s %s", l.ns(name), fmt.Sprintf(format, args...))
}

func (l *lab) command(ns, role string, args ...string) *exec.Cmd {
	l.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	c := exec.Command("nsenter", append([]string{"--net=/run/netns/" + l.ns(ns), exe}, args...)...)
	c.Env = append(os.Environ(), roleEnv+"="+role)
	return c
}

// start runs a role until the test ends and waits for its first line.
func (l *lab) start(ns, role string, args ...string) (stop func()) {
	l.t.Helper()
	c := l.command(ns, role, args...)
	var log bytes.Buffer
	c.Stderr = &log
	in, err := c.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			in.Close()
			done := make(chan error, 1)
			go func() { done <- c.Wait() }()
			select {
			case err := <-done:
				if err != nil {
					l.t.Errorf("%s %s: %v\n%s", role, ns, err, log.String())
				}
			case <-time.After(10 * time.Second):
				_ = c.Process.Kill()
				<-done
				l.t.Errorf("%s %s did not stop\n%s", role, ns, log.String())
			}
			if l.t.Failed() {
				l.t.Logf("%s %s said:\n%s", role, ns, log.String())
			}
		})
	}
	l.root.Cleanup(stop)
	l.stdin[ns], l.out[ns] = in, bufio.NewReader(out)
	l.expectLine(ns, "ready")
	return stop
}

func (l *lab) expectLine(ns, want string) {
	l.t.Helper()
	line, err := l.out[ns].ReadString('\n')
	if strings.TrimSpace(line) != want {
		l.t.Fatalf("%s said %q (%v), want %q", ns, line, err, want)
	}
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the tests with tag roottest must run as root")
	}
	l := &lab{t: t, root: t, prefix: fmt.Sprintf("prt%d-", os.Getpid()), dir: t.TempDir(), stdin: map[string]io.WriteCloser{}, out: map[string]*bufio.Reader{}}
	l.file = filepath.Join(l.dir, "objects.yaml")
	for _, ns := range []string{"lan", "a", "b", "out", "a1", "a2", "b1"} {
		l.sh("ip netns add %s", l.ns(ns))
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.ns(ns)).Run() })
		l.in(ns, "ip link set lo up")
	}
	l.in("lan", "ip link add br0 type bridge")
	l.in("lan", "ip link set br0 up")
	for i, ns := range []string{"a", "b", "out"} {
		l.in("lan", "ip link add to-%s type veth peer name eth0 netns %s", ns, l.ns(ns))
		l.in("lan", "ip link set to-%s master br0 up", ns)
		l.in(ns, "ip addr add 192.168.77.%d/24 dev eth0", i+1)
		l.in(ns, "ip addr add fd77::%d/64 dev eth0 nodad", i+1)
		l.in(ns, "ip link set eth0 up")
	}
	return l
}

// pod connects a namespace to a node's bridge as the CNI plugin would, and runs
// the pod's server in it.
func (l *lab) pod(name, node, v4, v6 string) {
	l.t.Helper()
	l.in(node, "ip link add v-%s type veth peer name eth0 netns %s", name, l.ns(name))
	l.in(node, "ip link set v-%s master pr-%s up", name, node)
	l.in(node, "ip link set v-%s type bridge_slave hairpin on", name)
	l.in(name, "ip addr add %s/24 dev eth0", v4)
	l.in(name, "ip addr add %s/64 dev eth0 nodad", v6)
	l.in(name, "ip link set eth0 up")
	gw4, gw6 := netip.MustParsePrefix(v4+"/24").Masked().Addr().Next(), netip.MustParsePrefix(v6+"/64").Masked().Addr().Next()
	l.in(name, "ip route add default via %s", gw4)
	l.in(name, "ip -6 route add default via %s", gw6)
	l.start(name, "pod", name)
}

func (l *lab) run(c *exec.Cmd) string {
	out, err := c.CombinedOutput()
	if err != nil && len(out) == 0 {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

// ask returns "pod client-address", "refused" or "timeout".
func (l *lab) ask(from, network, addr string) string {
	l.t.Helper()
	return l.run(l.command(from, "ask", network, addr, ""))
}

// set writes the objects and makes the nodes take them.
func (l *lab) set(docs ...string) {
	l.t.Helper()
	if err := os.WriteFile(l.file, []byte(strings.Join(docs, "\n---\n")), 0o600); err != nil {
		l.t.Fatal(err)
	}
	for _, n := range []string{"a", "b"} {
		if in := l.stdin[n]; in != nil {
			fmt.Fprintln(in, "again")
			l.expectLine(n, "loaded")
		}
	}
}

// eventually asks until the answer is as wanted: the nodes' informers need a moment.
func (l *lab) eventually(want string, ask func() string) {
	l.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := ask()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			for _, n := range []string{"a", "b"} {
				l.t.Logf("node %s:\n%s\n%s", n, l.in(n, "nft list ruleset"), l.in(n, "ip route"))
			}
			l.t.Fatalf("got %q, want %q", got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sub runs a subtest to which the lab's failures belong.
func (l *lab) sub(name string, f func(t *testing.T)) {
	outer := l.t
	outer.Run(name, func(t *testing.T) {
		l.t = t
		defer func() { l.t = outer }()
		f(t)
	})
}

func node(name, n string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Node
metadata: {name: %s, uid: u-%s}
spec: {podCIDR: 10.42.%s.0/24, podCIDRs: [10.42.%s.0/24, "fd42:0:0:%s::/64"]}
status: {addresses: [{type: InternalIP, address: 192.168.77.%d}, {type: InternalIP, address: "fd77::%d"}]}`,
		name, name, n, n, n, n[0]-'0'+1, n[0]-'0'+1)
}

func service(name, ip, spec string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: default}\nspec: {clusterIP: %q, clusterIPs: [%q], %s}", name, ip, ip, spec)
}

func endpoints(service, protocol string, eps ...string) string {
	typ, list := "IPv4", []string{}
	for _, e := range eps {
		ip, node, _ := strings.Cut(e, "@")
		if strings.Contains(ip, ":") {
			typ = "IPv6"
		}
		list = append(list, fmt.Sprintf("{addresses: [%q], nodeName: %s}", ip, node))
	}
	return fmt.Sprintf(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s-1, namespace: default, labels: {kubernetes.io/service-name: %s}}
addressType: %s
ports: [{name: "", port: 8080, protocol: %s}]
endpoints: [%s]`, service, service, typ, protocol, strings.Join(list, ", "))
}

func TestTwoNodes(t *testing.T) {
	l := newLab(t)
	tcp := "ports: [{port: 80, protocol: TCP}]"
	nodePort := func(n int, more string) string {
		return fmt.Sprintf("type: NodePort, ports: [{port: 80, protocol: TCP, nodePort: %d}]%s", n, more)
	}
	base := []string{
		node("a", "0"), node("b", "1"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: default}",
		service("both", "10.43.0.20", tcp), endpoints("both", "TCP", "10.42.0.6@a", "10.42.1.5@b"),
		service("self", "10.43.0.21", tcp), endpoints("self", "TCP", "10.42.0.5@a"),
		service("far", "10.43.0.22", nodePort(30080, "")), endpoints("far", "TCP", "10.42.1.5@b"),
		service("strict", "10.43.0.23", nodePort(30081, ", externalTrafficPolicy: Local")), endpoints("strict", "TCP", "10.42.1.5@b"),
		service("none", "10.43.0.24", nodePort(30082, "")),
		service("sticky", "10.43.0.25", tcp+", sessionAffinity: ClientIP"), endpoints("sticky", "TCP", "10.42.0.6@a", "10.42.1.5@b"),
		service("inside", "10.43.0.26", tcp+", internalTrafficPolicy: Local"), endpoints("inside", "TCP", "10.42.1.5@b"),
		service("lb", "10.43.0.27", "type: LoadBalancer, loadBalancerSourceRanges: [192.168.77.3/32], "+tcp) + "\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}",
		endpoints("lb", "TCP", "10.42.0.6@a"),
		service("guarded", "10.43.0.28", "type: LoadBalancer, loadBalancerSourceRanges: [198.51.100.0/24], "+tcp) + "\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}",
		endpoints("guarded", "TCP", "10.42.0.6@a"),
		service("ext", "10.43.0.29", "externalIPs: [203.0.113.11], "+tcp), endpoints("ext", "TCP", "10.42.1.5@b"),
		service("six", "fd43::20", nodePort(30083, "")), endpoints("six", "TCP", "fd42:0:0:1::5@b"),
	}
	udp := []string{service("udp", "10.43.0.30", "ports: [{port: 80, protocol: UDP}]"), endpoints("udp", "UDP", "10.42.0.6@a")}
	l.set(append(base, udp...)...)
	stopA := l.start("a", "node", "a", filepath.Join(l.dir, "a"), l.file)
	l.start("b", "node", "b", filepath.Join(l.dir, "b"), l.file)
	l.pod("a1", "a", "10.42.0.5", "fd42::5")
	l.pod("a2", "a", "10.42.0.6", "fd42::6")
	l.pod("b1", "b", "10.42.1.5", "fd42:0:0:1::5")
	l.in("out", "ip route add 203.0.113.0/24 via 192.168.77.1")
	l.in("out", "ip route add 10.43.0.0/16 via 192.168.77.1")

	for _, tc := range []struct{ name, from, addr, want string }{
		{"pod to pod on the other node keeps its address", "a1", "10.42.1.5:8080", "b1 10.42.0.5"},
		{"the same over IPv6", "a1", "[fd42:0:0:1::5]:8080", "b1 fd42::5"},
		{"cluster IP on the same node", "b1", "10.43.0.21:80", "a1 10.42.1.5"},
		{"hairpin comes from the gateway", "a1", "10.43.0.21:80", "a1 10.42.0.1"},
		{"cluster IP from the host, without a default route", "a", "10.43.0.22:80", "b1 10.42.0.1"},
		{"cluster IP from outside is masqueraded", "out", "10.43.0.22:80", "b1 192.168.77.1"},
		{"node port, endpoint elsewhere", "out", "192.168.77.1:30080", "b1 192.168.77.1"},
		{"node port, endpoint here", "out", "192.168.77.2:30080", "b1 10.42.1.1"},
		{"node port on loopback", "a", "127.0.0.1:30080", "b1 192.168.77.1"},
		{"node port from a pod", "a1", "192.168.77.1:30080", "b1 192.168.77.1"},
		{"policy Local keeps the client's address", "out", "192.168.77.2:30081", "b1 192.168.77.3"},
		{"policy Local without an endpoint is silent", "out", "192.168.77.1:30081", "timeout"},
		{"policy Local is not for the host", "a", "192.168.77.1:30081", "b1 192.168.77.1"},
		{"no endpoints, cluster IP", "a1", "10.43.0.24:80", "refused"},
		{"no endpoints, node port", "out", "192.168.77.1:30082", "refused"},
		{"wrong port of a cluster IP", "a1", "10.43.0.21:81", "refused"},
		{"address of no service", "a1", "10.43.99.99:80", "timeout"},
		{"internal policy Local without an endpoint", "a1", "10.43.0.26:80", "timeout"},
		{"internal policy Local with one", "b1", "10.43.0.26:80", "b1 10.42.1.1"},
		{"load balancer, from an allowed source", "out", "203.0.113.9:80", "a2 10.42.0.1"},
		{"load balancer, from another", "out", "203.0.113.10:80", "timeout"},
		{"external IP", "out", "203.0.113.11:80", "b1 192.168.77.1"},
		{"IPv6 cluster IP", "a1", "[fd43::20]:80", "b1 fd42::5"},
		{"IPv6 node port", "out", "[fd77::1]:30083", "b1 fd77::1"},
	} {
		l.sub(tc.name, func(*testing.T) {
			l.eventually(tc.want, func() string { return l.ask(tc.from, "tcp", tc.addr) })
		})
	}

	l.sub("both endpoints get connections, without masquerading", func(t *testing.T) {
		got := map[string]int{}
		for range 40 {
			got[l.ask("a1", "tcp", "10.43.0.20:80")]++
		}
		if len(got) != 2 || got["a2 10.42.0.5"] == 0 || got["b1 10.42.0.5"] == 0 {
			t.Errorf("answers %v", got)
		}
	})
	l.sub("a client stays with its endpoint", func(t *testing.T) {
		got := map[string]int{}
		for range 15 {
			got[l.ask("a1", "tcp", "10.43.0.25:80")]++
		}
		if len(got) != 1 {
			t.Errorf("answers %v", got)
		}
	})
	l.sub("pods leave the cluster under the node's address", func(t *testing.T) {
		l.start("out", "pod", "out")
		if got := l.ask("a1", "tcp", "192.168.77.3:8080"); got != "out 192.168.77.1" {
			t.Error(got)
		}
		if got := l.ask("b1", "tcp", "[fd77::3]:8080"); got != "out fd77::2" {
			t.Error(got)
		}
	})
	l.sub("loopback is closed to the network", func(t *testing.T) {
		l.in("out", "ip route add 127.0.0.99/32 via 192.168.77.1 table 99")
		l.in("out", "sysctl -qw net.ipv4.conf.all.route_localnet=1")
		l.in("out", "ip rule add to 127.0.0.99 table 99 pref 0 || true")
		if got := l.ask("out", "tcp", "127.0.0.99:30080"); got == "b1 192.168.77.1" {
			t.Error("node port reached through 127.0.0.99 from outside")
		}
	})
	l.sub("names", func(t *testing.T) {
		for _, network := range []string{"udp", "tcp"} {
			for _, from := range []string{"a1", "b1", "a"} {
				got := l.run(l.command(from, "dns", network, dnsIP.String()+":53", "both.default.svc.cluster.local."))
				if got != "NOERROR 10.43.0.20" {
					t.Errorf("%s over %s: %s", from, network, got)
				}
			}
		}
		if got := l.run(l.command("b1", "dns", "udp", "10.42.0.1:53", "both.default.svc.cluster.local.")); got != "NOERROR 10.43.0.20" {
			t.Errorf("the other node's server: %s", got)
		}
	})
	l.sub("UDP flows follow the endpoints", func(t *testing.T) {
		fixed := func() string { return l.run(l.command("a1", "ask", "udp", "10.43.0.30:80", "4444")) }
		l.eventually("a2 10.42.0.5", fixed)
		l.set(append(base, udp[0], endpoints("udp", "UDP", "10.42.1.5@b"))...)
		// The client's flow is younger than any timeout: only its deletion lets
		// it change.
		l.eventually("b1 10.42.0.5", fixed)
	})
	l.sub("what somebody deletes comes back", func(t *testing.T) {
		l.in("a", "nft delete table ip proa-test")
		l.eventually("a1 10.42.1.5", func() string { return l.ask("b1", "tcp", "10.43.0.21:80") })
		l.eventually("b1 10.42.0.5", func() string { return l.ask("a1", "tcp", "10.43.0.22:80") })
		l.in("a", "ip route del 10.42.1.0/24")
		l.eventually("b1 10.42.0.5", func() string { return l.ask("a1", "tcp", "10.42.1.5:8080") })
	})
	l.sub("a restart leaves and adopts the rules", func(t *testing.T) {
		stopA()
		if got := l.ask("a1", "tcp", "10.43.0.22:80"); got != "b1 10.42.0.5" {
			t.Errorf("while stopped: %s", got)
		}
		stopA = l.start("a", "node", "a", filepath.Join(l.dir, "a"), l.file)
		if got := l.ask("a1", "tcp", "10.43.0.22:80"); got != "b1 10.42.0.5" {
			t.Errorf("after the restart: %s", got)
		}
	})
	l.sub("cleanup leaves nothing", func(t *testing.T) {
		stopA()
		// Of portmap's tables the one in use stays.
		l.in("a", "nft 'add table ip cni_hostport; add chain ip cni_hostport hostports'")
		l.in("b", "nft 'add table ip cni_hostport; add chain ip cni_hostport hostports; add rule ip cni_hostport hostports counter'")
		if out := l.run(l.command("b", "cleanup", "none", filepath.Join(l.dir, "none"))); out != "" {
			t.Error(out)
		}
		if got := l.in("b", "nft list tables"); !strings.Contains(got, "cni_hostport") {
			t.Errorf("host ports in use are gone; left: %s", got)
		}
		if out := l.run(l.command("a", "cleanup", "a", filepath.Join(l.dir, "a"))); out != "" {
			t.Error(out)
		}
		if got := strings.TrimSpace(l.in("a", "nft list tables")); got != "" {
			t.Errorf("tables left: %s", got)
		}
		if got := l.in("a", "ip -o link"); strings.Contains(got, "pr-a") {
			t.Errorf("links left: %s", got)
		}
		if got := strings.TrimSpace(l.in("a", "ip route show proto 112") + l.in("a", "ip -6 route show proto 112")); got != "" {
			t.Errorf("routes left: %s", got)
		}
	})
}

// The real nft accepts all rules of the golden cases, and reads them back as
// they were written.
func TestRealNFTAcceptsAndAdopts(t *testing.T) {
	name := fmt.Sprintf("prt%d-nft", os.Getpid())
	l := &lab{t: t, root: t, prefix: "", stdin: map[string]io.WriteCloser{}, out: map[string]*bufio.Reader{}}
	l.sh("ip netns add %s", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if out := l.run(l.command(name, "adopt", dir)); out != "" {
		t.Error(out)
	}
}
