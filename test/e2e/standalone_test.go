package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// alone is a program of upstream's name, a link to proa, running on a machine.
type alone struct {
	name string
	cmd  *exec.Cmd
	out  lockedBuffer
	done chan struct{}
}

// lockedBuffer collects output while others read it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// link makes a link to proa of another program's name.
func (m *Machine) link(name string) string {
	m.t.Helper()
	path := filepath.Join(m.Dir, "bin", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Symlink(bin("proa"), path); err != nil && !os.IsExist(err) {
		m.t.Fatal(err)
	}
	return path
}

// alone starts the program; the test's end stops it, and it must stop within a minute.
func (m *Machine) alone(name string, args ...string) *alone {
	m.t.Helper()
	a := &alone{name: name, done: make(chan struct{})}
	a.cmd = m.Command(context.Background(), append([]string{m.link(name)}, args...)...)
	a.cmd.Stdout, a.cmd.Stderr = &a.out, &a.out
	if err := a.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		_ = a.cmd.Wait()
		close(a.done)
	}()
	m.t.Cleanup(func() {
		a.stop(m)
		if m.t.Failed() {
			text := a.out.String()
			m.t.Logf("output of %s:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return a
}

// stop ends the program with SIGTERM, unless it has ended, and waits.
func (a *alone) stop(m *Machine) {
	m.t.Helper()
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.done:
		// etcd ends by the signal itself.
		if code := a.cmd.ProcessState.ExitCode(); code != 0 && a.name != "etcd" {
			m.t.Errorf("%s: exit %d after SIGTERM, want 0", a.name, code)
		}
	case <-time.After(time.Minute):
		_ = a.cmd.Process.Kill()
		m.t.Errorf("%s did not end within a minute of SIGTERM", a.name)
	}
}

// get asks a URL from the machine, whoever serves it; auth are kubectl's flags.
func (m *Machine) get(url string, auth ...string) (string, error) {
	if auth == nil {
		// kubectl asks the terminal unless it has some credentials; basic
		// authentication is none to anybody here.
		auth = []string{"--username=nobody", "--password=none"}
	}
	slash := strings.Index(url[len("https://"):], "/") + len("https://")
	return m.Try(append([]string{bin("tools/kubectl"), "--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--request-timeout=5s",
		"--server=" + url[:slash], "get", "--raw", url[slash:]}, auth...)...)
}

// as are kubectl's flags for a client certificate base.crt with its key.
func as(base string) []string {
	return []string{"--client-certificate=" + base + ".crt", "--client-key=" + base + ".key"}
}

// answers waits until the program says ok at a URL.
func (m *Machine) answers(a *alone, within time.Duration, url string, auth ...string) {
	m.t.Helper()
	Eventually(m.t, within, func() error {
		select {
		case <-a.done:
			m.t.Fatalf("%s ended", a.name)
		default:
		}
		out, err := m.get(url, auth...)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", a.name, err, out)
		}
		return nil
	})
}

func (m *Machine) write(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// kubeconfig of a user whose certificate is in the data directory's pki.
func (m *Machine) kubeconfig(user string) string {
	m.t.Helper()
	pki := func(name string) string { return filepath.Join(m.data(), "pki", name) }
	return m.write(user+".kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s:6443", certificate-authority: %s}}]
users: [{name: u, user: {client-certificate: %s, client-key: %s}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`, m.Address, pki("ca.crt"), pki(user+".crt"), pki(user+".key")))
}

const aloneNode = `apiVersion: v1
kind: Node
metadata:
  name: by-hand
  labels: {kubernetes.io/hostname: by-hand}
`

const aloneDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      # Nobody keeps the node's Lease, so its taints come after a while.
      tolerations: [{operator: Exists}]
      containers: [{name: web, image: example.org/web:1, resources: {requests: {cpu: 100m}}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`

// TestComponentsAlone runs the control plane as four processes of upstream's
// names, under RBAC, on the certificates of `proa server`.
func TestComponentsAlone(t *testing.T) {
	m := NewNetwork(t).NewMachine(t, "alone")
	first := m.StartServer("--no-node")
	first.Kubectl("create", "configmap", "before", "--from-literal=kept=yes")
	first.Stop()

	pki := func(name string) string { return filepath.Join(m.data(), "pki", name) }
	store := m.alone("etcd", "--name", "default", "--data-dir", filepath.Join(m.data(), "etcd"),
		"--listen-client-urls", "https://127.0.0.1:2379", "--advertise-client-urls", "https://127.0.0.1:2379",
		"--listen-peer-urls", "https://127.0.0.1:2380", "--initial-advertise-peer-urls", "https://127.0.0.1:2380",
		"--initial-cluster", "default=https://127.0.0.1:2380",
		"--cert-file", pki("etcd/server.crt"), "--key-file", pki("etcd/server.key"),
		"--trusted-ca-file", pki("etcd/ca.crt"), "--client-cert-auth",
		"--peer-cert-file", pki("etcd/peer.crt"), "--peer-key-file", pki("etcd/peer.key"),
		"--peer-trusted-ca-file", pki("etcd/ca.crt"), "--peer-client-cert-auth")
	m.answers(store, 30*time.Second, "https://127.0.0.1:2379/health", as(pki("apiserver-etcd-client"))...)

	api := m.alone("kube-apiserver",
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile="+pki("etcd/ca.crt"),
		"--etcd-certfile="+pki("apiserver-etcd-client.crt"), "--etcd-keyfile="+pki("apiserver-etcd-client.key"),
		"--advertise-address="+m.Address, "--secure-port=6443", "--allow-privileged=true",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--enable-bootstrap-token-auth=true",
		"--client-ca-file="+pki("ca.crt"), "--tls-cert-file="+pki("apiserver.crt"), "--tls-private-key-file="+pki("apiserver.key"),
		"--kubelet-client-certificate="+pki("apiserver-kubelet-client.crt"), "--kubelet-client-key="+pki("apiserver-kubelet-client.key"),
		"--proxy-client-cert-file="+pki("front-proxy-client.crt"), "--proxy-client-key-file="+pki("front-proxy-client.key"),
		"--requestheader-client-ca-file="+pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+pki("sa.pub"), "--service-account-signing-key-file="+pki("sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16")
	m.answers(api, time.Minute, "https://"+m.Address+":6443/readyz")
	if !strings.Contains(api.out.String(), "warning: --allow-privileged has no effect") {
		t.Error("no warning about a flag without effect")
	}

	control := m.alone("kube-controller-manager", "--kubeconfig="+m.kubeconfig("controller-manager"), "--leader-elect=true",
		"--cluster-cidr=10.244.0.0/16", "--allocate-node-cidrs=true", "--service-cluster-ip-range=10.96.0.0/16",
		"--root-ca-file="+pki("ca.crt"), "--cluster-signing-cert-file="+pki("ca.crt"), "--cluster-signing-key-file="+pki("ca.key"),
		"--use-service-account-credentials=true", "--controllers=*",
		"--authentication-kubeconfig="+m.kubeconfig("controller-manager"), "--authorization-kubeconfig="+m.kubeconfig("controller-manager"))
	sched := m.alone("kube-scheduler", "--kubeconfig="+m.kubeconfig("scheduler"),
		"--authentication-kubeconfig="+m.kubeconfig("scheduler"), "--authorization-kubeconfig="+m.kubeconfig("scheduler"))

	k := &Proa{Machine: m}
	if out := k.Kubectl("get", "configmap", "before", "-o", "jsonpath={.data.kept}"); out != "yes" {
		t.Errorf("what the one process wrote is not there: %q", out)
	}
	k.Apply(aloneNode)
	k.Kubectl("patch", "node", "by-hand", "--subresource=status", "--type=merge", "-p",
		`{"status":{"capacity":{"cpu":"4","memory":"8Gi","pods":"110"},"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},"addresses":[{"type":"InternalIP","address":"`+m.Address+`"}],"conditions":[{"type":"Ready","status":"True","reason":"Test","message":"by hand"}]}}`)
	k.Apply(aloneDeployment)
	k.EventuallySays("by-hand by-hand by-hand", 90*time.Second, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}")
	k.EventuallySays("10.244.", 30*time.Second, "get", "node", "by-hand", "-o", "jsonpath={.spec.podCIDR}")
	k.EventuallySays("web", 30*time.Second, "get", "endpointslices", "-o", "name")
	for _, lease := range []string{"kube-controller-manager", "kube-scheduler"} {
		k.EventuallySays("_", 30*time.Second, "get", "lease", "-n", "kube-system", lease, "-o", "jsonpath={.spec.holderIdentity}")
	}

	proxy := m.alone("kube-proxy", "--kubeconfig="+filepath.Join(m.data(), "admin.kubeconfig"), "--hostname-override=by-hand",
		"--cluster-cidr=10.244.0.0/16", "--proxy-mode=nftables")
	m.answers(proxy, 30*time.Second, "http://"+m.Address+":10256/healthz")
	m.answers(proxy, 30*time.Second, "https://10.96.0.1/version")
	proxy.stop(m)
	if out := m.must("nft", "list", "tables"); !strings.Contains(out, "proa-kube-proxy") {
		t.Errorf("rules do not stay when kube-proxy ends: %s", out)
	}
	m.must(m.link("kube-proxy"), "--cleanup")
	if out := m.must("nft", "list", "tables"); strings.Contains(out, "proa-kube-proxy") {
		t.Errorf("rules after kube-proxy --cleanup: %s", out)
	}

	// Health is for everyone, metrics for those with rights.
	for a, at := range map[*alone]struct{ url, metric string }{
		control: {"https://127.0.0.1:10257", "controller_runtime_reconcile_total"}, sched: {"https://127.0.0.1:10259", "scheduler_schedule_attempts_total"},
	} {
		m.answers(a, 30*time.Second, at.url+"/healthz")
		if out, err := m.get(at.url + "/metrics"); err == nil {
			t.Errorf("%s: metrics without credentials: %.200s", a.name, out)
		}
		if out, err := m.get(at.url+"/metrics", as(pki("admin"))...); err != nil || !strings.Contains(out, at.metric) {
			t.Errorf("%s: no %s in its metrics: %v: %.500s", a.name, at.metric, err, out)
		}
	}

	// Each controller's rights: a namespace with all in it goes, dependents are
	// collected, a CSR is approved and signed.
	k.Kubectl("create", "namespace", "going")
	k.EventuallySays("kube-root-ca.crt", 30*time.Second, "get", "configmaps", "-n", "going", "-o", "name")
	k.EventuallySays("default", 30*time.Second, "get", "serviceaccounts", "-n", "going", "-o", "name")
	k.Kubectl("delete", "namespace", "going", "--timeout=60s")
	// In the background: without a kubelet the pods themselves do not go.
	k.Kubectl("delete", "deployment", "web", "--cascade=background", "--wait=false")
	k.EventuallySays("No resources found", time.Minute, "get", "replicasets")
	k.Apply(m.csr())
	k.Kubectl("certificate", "approve", "jane")
	k.EventuallySays("Issued", 30*time.Second, "get", "csr", "jane")

	for _, a := range []*alone{control, sched} {
		for _, l := range strings.Split(a.out.String(), "\n") {
			if strings.Contains(l, "forbidden") {
				t.Errorf("%s lacks rights: %s", a.name, l)
			}
		}
	}
}

// csr is a request for a client certificate.
func (m *Machine) csr() string {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, key)
	if err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprintf(`apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: jane}
spec:
  signerName: kubernetes.io/kube-apiserver-client
  usages: [client auth]
  request: %s
`, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
}

// authority is a CA of a test's own.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// newAuthority makes a CA and writes it to dir/name.crt and .key.
func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	c := &authority{t: t, dir: dir}
	c.cert, c.key = c.issue(name, &x509.Certificate{Subject: pkix.Name{CommonName: "envtest-environment"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature})
	return c
}

// issue signs a certificate, by itself if there is no CA yet, and writes it and its key.
func (c *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := c.cert, c.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		c.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(c.dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert, key
}

// TestEnvtest starts what controller-runtime's envtest starts: etcd and
// kube-apiserver from one directory, with its flags and its certificates.
func TestEnvtest(t *testing.T) {
	m := NewNetwork(t).NewMachine(t, "envtest")
	for name, has := range map[string]map[string]bool{
		"etcd": {"unsafe-no-fsync": true}, "kube-apiserver": {"insecure-port": false, "secure-port": true},
	} {
		help := m.must(m.link(name), "--help")
		for flag, want := range has {
			if got := strings.Contains(help, "\n      --"+flag) || strings.Contains(help, "\n  --"+flag) || strings.Contains(help, "\n    --"+flag); got != want {
				t.Errorf("%s --help has --%s: %v, want %v", name, flag, got, want)
			}
		}
	}
	store := m.alone("etcd", "--advertise-client-urls=http://127.0.0.1:4001", "--data-dir="+filepath.Join(m.Dir, "etcd"),
		"--listen-client-urls=http://127.0.0.1:4001", "--listen-peer-urls=http://localhost:4002", "--unsafe-no-fsync=true")
	m.answers(store, 20*time.Second, "http://127.0.0.1:4001/health")

	dir := filepath.Join(m.Dir, "certs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	newAuthority(t, dir, "sa-signer")
	newAuthority(t, dir, "client-cert-auth-ca").issue("admin", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		Subject: pkix.Name{CommonName: "default", Organization: []string{"system:masters"}}})

	api := m.alone("kube-apiserver", "--allow-privileged=true", "--authorization-mode=RBAC", "--bind-address=127.0.0.1",
		"--cert-dir="+dir, "--client-ca-file="+file("client-cert-auth-ca.crt"), "--disable-admission-plugins=ServiceAccount",
		"--etcd-servers=http://127.0.0.1:4001", "--secure-port=4003", "--service-account-issuer=https://127.0.0.1:4003/",
		"--service-account-key-file="+file("sa-signer.crt"), "--service-account-signing-key-file="+file("sa-signer.key"),
		"--service-cluster-ip-range=10.0.0.0/24")
	m.answers(api, 20*time.Second, "https://127.0.0.1:4003/healthz")
	kubectl := func(args ...string) string {
		return m.must(append([]string{m.link("kubectl"), "--server=https://127.0.0.1:4003", "--insecure-skip-tls-verify",
			as(file("admin"))[0], as(file("admin"))[1]}, args...)...)
	}
	for _, want := range []string{"default", "kube-system"} {
		if out := kubectl("get", "namespaces", "-o", "name"); !strings.Contains(out, "namespace/"+want) {
			t.Errorf("no namespace %s in\n%s", want, out)
		}
	}
	// Without the ServiceAccount plugin and controllers a pod can be made, and nothing happens to it.
	kubectl("run", "web", "--image=example.org/web:1", "--restart=Never")
	if out := kubectl("get", "pod", "web", "-o", "jsonpath={.status.phase}"); out != "Pending" {
		t.Errorf("pod: %q", out)
	}
}

// TestProgramNames: wrong flags are refused as usage, versions are those of the cluster.
func TestProgramNames(t *testing.T) {
	m := NewNetwork(t).NewMachine(t, "names")
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"} {
		if out := m.must(m.link(name), "--version"); !strings.HasPrefix(out, "Kubernetes v1.") {
			t.Errorf("%s --version: %s", name, out)
		}
		out, err := m.Try(m.link(name), "--no-such-flag")
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || !strings.HasPrefix(out, name+": unknown flag") {
			t.Errorf("%s --no-such-flag: %v: %s", name, err, out)
		}
	}
	if out := m.must(m.link("etcd"), "--version"); !strings.HasPrefix(out, "etcd Version: 3.") {
		t.Errorf("etcd --version: %s", out)
	}
	if out := m.must(bin("proa"), "completion", "bash"); !strings.Contains(out, "__start_proa") {
		t.Error("no bash completion")
	}
}

// TestKubeletAlone runs the node agent as kubelet on a container runtime that is
// there already: the one that `proa server` leaves running when it stops.
func TestKubeletAlone(t *testing.T) {
	p := newCluster(t)
	p.EventuallySays("Ready", time.Minute, "get", "nodes")
	p.Stop()
	p.args = append(p.args, "--no-node")
	p.Start()

	id, err := os.ReadFile(filepath.Join(p.data(), "cluster-id"))
	if err != nil {
		t.Fatal(err)
	}
	cluster := "proa-" + strings.TrimSpace(string(id))
	config := p.write("kubelet.yaml", fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/%s/containerd.sock
podLogsDir: %s
cgroupRoot: /%s
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
cgroupDriver: cgroupfs
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %s}}
authorization: {mode: Webhook}
`, cluster, filepath.Join(p.Dir, "pods"), cluster, filepath.Join(p.data(), "pki", "ca.crt")))
	server := filepath.Join("nodes", p.Name, "kubelet-server")
	p.alone("kubelet", "--config="+config, "--kubeconfig="+p.kubeconfig(filepath.Join("nodes", p.Name, "kubelet-client")),
		"--root-dir="+filepath.Join(p.Dir, "kubelet"), "--hostname-override="+p.Name, "--node-ip="+p.Address,
		"--tls-cert-file="+filepath.Join(p.data(), "pki", server+".crt"), "--tls-private-key-file="+filepath.Join(p.data(), "pki", server+".key"),
		"--pod-infra-container-image=pause:3.10", "--max-pods=17")

	p.Apply(toolbox)
	p.Kubectl("wait", "--for=condition=Ready", "pod/toolbox", "--timeout=90s")
	if out := p.Kubectl("get", "node", p.Name, "-o", "jsonpath={.status.capacity.pods}"); out != "17" {
		t.Errorf("capacity of pods %s, want that of --max-pods, 17", out)
	}
	p.EventuallySays("started", 10*time.Second, "logs", "toolbox")
	if out := p.Kubectl("exec", "toolbox", "--", "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver 10.96.0.10") {
		t.Errorf("resolv.conf of a pod: %s", out)
	}
	p.Kubectl("delete", "pod", "toolbox", "--timeout=30s")
}
