package parity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// token is the bearer token of an administrator at every server.
const token = "parity"

// bin is where the built programs are: $PROA_BIN, or bin/ of this tree.
func bin(t *testing.T, elem ...string) string {
	dir := os.Getenv("PROA_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "bin")
	}
	path, err := filepath.Abs(filepath.Join(append([]string{dir}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; `make parity` builds it", err)
	}
	return path
}

// freePort returns a loopback port that nothing listens on.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a program until the test ends; its output is shown when the test fails.
func start(t *testing.T, name string, cmd *exec.Cmd) {
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && os.Getenv("PARITY_LOGS") != "" {
			t.Logf("%s:\n%s", name, out)
		}
	})
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 1<<17 {
		l.buf.Next(1 << 16)
	}
	return l.buf.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// store is one etcd.
type store struct{ url string }

func newStore(t *testing.T) *store {
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	start(t, "etcd", exec.Command(bin(t, "tools/etcd"), "--data-dir", t.TempDir(), "--log-level", "error", "--unsafe-no-fsync",
		"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer))
	s := &store{client}
	eventually(t, 20*time.Second, "etcd", func() error {
		_, err := s.get("/")
		return err
	})
	return s
}

// server is one kube-apiserver, upstream's or ours.
type server struct {
	name string
	url  string
	port string
	http *http.Client
}

// newServer starts one and waits until it is ready. The program is upstream's, or
// proa under upstream's name.
func newServer(t *testing.T, name string, program []string, s *store) *server {
	dir, port := t.TempDir(), freePort(t)
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := file("sa.key", newKey(t))
	args := append(program[1:], "--etcd-servers", s.url, "--bind-address", "127.0.0.1", "--advertise-address", "192.0.2.1",
		"--secure-port", fmt.Sprint(port), "--cert-dir", filepath.Join(dir, "certs"),
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", key,
		"--service-account-key-file", key, "--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC",
		"--token-auth-file", file("tokens.csv", token+",admin,admin,system:masters\n"), "--disable-admission-plugins", "ServiceAccount")
	start(t, name, exec.Command(program[0], args...))
	server := &server{name: name, url: fmt.Sprintf("https://127.0.0.1:%d", port), port: fmt.Sprint(port), http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 20}, Timeout: 30 * time.Second}}
	eventually(t, time.Minute, name, func() error {
		r, err := server.do(http.MethodGet, "/readyz", nil, nil)
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("%d: %s", r.status, r.body)
		}
		return err
	})
	return server
}

func upstream(t *testing.T) []string { return []string{bin(t, "tools/kube-apiserver"), "--v", "0"} }

// ours is proa under upstream's name, which it then also bears in managed fields.
func ours(t *testing.T) []string {
	link := filepath.Join(t.TempDir(), "kube-apiserver")
	if err := os.Symlink(bin(t, "proa"), link); err != nil {
		t.Fatal(err)
	}
	return []string{link}
}

func newKey(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// answer is what a server says.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends one request, as the administrator. Headers are "Name: value".
func (s *server) do(method, path string, body []byte, headers []string) (answer, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := s.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, out}, err
}

// unported replaces the server's port, which each has for itself.
func (s *server) unported(body []byte) []byte {
	return bytes.ReplaceAll(body, []byte(s.port), []byte("6443"))
}

// must sends a request that cannot fail but for a broken server.
func (s *server) must(t *testing.T, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	a, err := s.do(method, path, body, headers)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", s.name, method, path, err)
	}
	return a
}

// get reads a document as JSON, which must be there.
func (s *server) get(t *testing.T, path string, headers ...string) any {
	t.Helper()
	a := s.must(t, http.MethodGet, path, nil, headers...)
	if a.status != http.StatusOK {
		t.Fatalf("%s: GET %s: %d %s", s.name, path, a.status, a.body)
	}
	return parse(t, a.body)
}

// eventually calls f until it succeeds.
func eventually(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
