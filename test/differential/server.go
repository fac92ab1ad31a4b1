package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
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
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

// token is the administrator's, on both sides.
const token = "differential-admin"

// side is one of the two API servers.
type side struct {
	name   string
	url    string
	client *http.Client
	live   map[string]object // what was created for real, by ref
	listRV string            // the store's version after that
	procs  []*exec.Cmd
	log    string
}

// answer is what a side said.
type answer struct {
	code     int
	warnings []string
	kind     string // of the content: its media type
	body     any    // decoded JSON; a string if it is none
	err      error
}

// freePort returns a loopback port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start runs etcd and an API server: program with the arguments before the common flags.
func start(ctx context.Context, name, dir, etcd string, program ...string) (*side, error) {
	s := &side{name: name, live: map[string]object{}, log: filepath.Join(dir, name+".log")}
	if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
		return nil, err
	}
	ports := make([]int, 3)
	for i := range ports {
		p, err := freePort()
		if err != nil {
			return nil, err
		}
		ports[i] = p
	}
	local := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
	key, tokens := filepath.Join(dir, "sa.key"), filepath.Join(dir, "tokens.csv")
	if err := credentials(key, tokens); err != nil {
		return nil, err
	}
	if err := s.run(filepath.Join(dir, name+".etcd.log"), etcd, "--data-dir", filepath.Join(dir, name, "etcd"), "--log-level", "error", "--unsafe-no-fsync",
		"--listen-client-urls", local(ports[0]), "--advertise-client-urls", local(ports[0]),
		"--listen-peer-urls", local(ports[1]), "--initial-advertise-peer-urls", local(ports[1]), "--initial-cluster", "default="+local(ports[1])); err != nil {
		return nil, err
	}
	if err := s.run(s.log, program[0], append(program[1:],
		"--etcd-servers", local(ports[0]), "--cert-dir", filepath.Join(dir, name, "certs"),
		"--bind-address", "127.0.0.1", "--advertise-address", "192.0.2.10", "--secure-port", fmt.Sprint(ports[2]),
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", key, "--service-account-key-file", key,
		"--token-auth-file", tokens, "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
		"--service-cluster-ip-range", "10.0.0.0/16", "--allow-privileged=true", "--enable-priority-and-fairness=false", "--v", "0")...); err != nil {
		return nil, err
	}
	s.url = fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	s.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		// The server's certificate is made at its start, on this machine's loopback.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 32, //nolint:gosec
	}}
	for begin := time.Now(); time.Since(begin) < 3*time.Minute; time.Sleep(100 * time.Millisecond) {
		if a := s.send(ctx, "GET", "/readyz", nil, nil); a.err == nil && a.code == http.StatusOK {
			return s, nil
		}
		if s.ended() || ctx.Err() != nil {
			break
		}
	}
	logs, _ := os.ReadFile(s.log)
	s.stop()
	return nil, fmt.Errorf("%s did not become ready:\n%s", name, tail(logs, 4000))
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// credentials writes the key of service accounts and the administrator's token, once.
func credentials(key, tokens string) error {
	if _, err := os.Stat(key); err == nil {
		return nil
	}
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
	if err := os.WriteFile(tokens, []byte(token+",admin,1,\"system:masters\"\n"), 0o600); err != nil {
		return err
	}
	return os.WriteFile(key, block, 0o600)
}

func (s *side) run(log, program string, args ...string) error {
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close()
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = f, f
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return err
	}
	s.procs = append(s.procs, c)
	return nil
}

// ended says whether one of the processes is gone.
func (s *side) ended() bool {
	for _, p := range s.procs {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return true
		}
	}
	return false
}

// stop ends the processes, the API server first.
func (s *side) stop() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		_ = s.procs[i].Process.Kill()
		_ = s.procs[i].Wait()
	}
}

// send makes one request.
func (s *side) send(ctx context.Context, method, url string, header map[string]string, body []byte) answer {
	return s.request(ctx, method, url, header, body, io.ReadAll)
}

// watch makes a request that need not end: it takes what comes until nothing
// comes for a moment.
func (s *side) watch(ctx context.Context, url string, header map[string]string) answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := s.request(ctx, "GET", url, header, nil, func(r io.Reader) (data []byte, _ error) {
		silence := time.AfterFunc(500*time.Millisecond, cancel)
		defer silence.Stop()
		for buffer := make([]byte, 64<<10); ; silence.Reset(400 * time.Millisecond) {
			n, err := r.Read(buffer)
			data = append(data, buffer[:n]...)
			if err != nil { // also that of silence
				return data, nil
			}
		}
	})
	if l, ok := a.body.([]any); ok && a.code == http.StatusOK {
		slices.SortStableFunc(l, func(x, y any) int {
			return strings.Compare(text(x, "type")+text(x, "object", "metadata", "name"), text(y, "type")+text(y, "object", "metadata", "name"))
		})
	}
	return a
}

func (s *side) request(ctx context.Context, method, url string, header map[string]string, body []byte, read func(io.Reader) ([]byte, error)) answer {
	req, err := http.NewRequestWithContext(ctx, method, s.url+url, bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "differential")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	data, err := read(resp.Body)
	a := answer{code: resp.StatusCode, warnings: resp.Header.Values("Warning"), kind: resp.Header.Get("Content-Type"), err: err}
	if strings.HasPrefix(a.kind, "application/json") {
		a.body = decodeAll(data)
		return a
	}
	a.body = string(data)
	if strings.HasPrefix(a.kind, "application/yaml") {
		if j, err := yaml.YAMLToJSON(data); err == nil {
			a.body = decodeAll(j)
		}
	}
	return a
}

// decodeAll reads a JSON document, or several one after the other as watches send them.
func decodeAll(data []byte) any {
	var all []any
	for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n{\"type\":")) {
		if len(all) > 0 {
			line = append([]byte("{\"type\":"), line...)
		}
		v, err := decode(line)
		if err != nil {
			return string(data)
		}
		all = append(all, v)
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}
