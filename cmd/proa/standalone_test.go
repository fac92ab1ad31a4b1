package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"proa/nodeagent"
)

// TestFlagSets builds every command: no flag is both meant and ignored.
func TestFlagSets(t *testing.T) {
	names := map[string]bool{}
	for _, c := range verbs() {
		names[c.Name()] = true
	}
	for _, want := range []string{"apiserver", "controllers", "scheduler", "node", "proxy", "etcd"} {
		if !names[want] {
			t.Errorf("no verb %s", want)
		}
	}
}

func TestUnknownFlagIsRefused(t *testing.T) {
	for _, p := range programs() {
		if code := execute(context.Background(), p.name, p.asItself(), []string{"--no-such-flag"}); code != exitUsage {
			t.Errorf("%s: unknown flag: exit %d, want %d", p.name, code, exitUsage)
		}
		if code := execute(context.Background(), p.name, p.asItself(), []string{"argument"}); code != exitUsage {
			t.Errorf("%s: argument: exit %d, want %d", p.name, code, exitUsage)
		}
	}
}

func TestMissingFlagIsUsage(t *testing.T) {
	for _, p := range programs() {
		if code := execute(context.Background(), p.name, p.asItself(), nil); code != exitUsage {
			t.Errorf("%s: exit %d, want %d", p.name, code, exitUsage)
		}
	}
}

func TestIgnoredFlagsWarn(t *testing.T) {
	c := programs()[0].asItself()
	var out bytes.Buffer
	c.SetErr(&out)
	if err := c.ParseFlags([]string{"--apiserver_count=2", "--kubelet-port", "1", "--allow-privileged", "--enable-logs-handler=false"}); err != nil {
		t.Fatal(err)
	}
	want := `warning: --apiserver-count has no effect in proa
warning: --kubelet-port has no effect in proa
warning: --allow-privileged has no effect in proa
warning: --enable-logs-handler has no effect in proa
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestAdmits(t *testing.T) {
	a := &apiserverFlags{enableAdmission: []string{"Both"}, disableAdmission: []string{"Both", "ServiceAccount"}}
	for name, want := range map[string]bool{"Priority": true, "ServiceAccount": false, "Both": true, "NodeRestriction": false} {
		if got := a.admits(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenFile(t *testing.T) {
	got, err := tokenFile(write(t, "secret,jane,1,\"a,b\"\nother,joe,2\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]user.Info{
		"secret": &user.DefaultInfo{Name: "jane", UID: "1", Groups: []string{"a", "b"}},
		"other":  &user.DefaultInfo{Name: "joe", UID: "2"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := tokenFile(write(t, "a,b,c\nsecret\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("short line: %v", err)
	}
}

func TestVerifyingKeysLeaveOutTheSigner(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, keyFile, err := madeCertificate(dir, "x", []byte{10, 0, 0, 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := madeCertificate(dir, "x", []byte{10, 0, 0, 1}, nil)
	if err != nil || again != cert {
		t.Fatalf("made again: %s, %v", again, err)
	}
	// The file with the certificate has that of its CA, too.
	keys, err := verifyingKeys(key, []string{keyFile, cert})
	if err != nil || len(keys) != 2 {
		t.Errorf("keys %d, %v; want 2", len(keys), err)
	}
}

func TestKubeletConfiguration(t *testing.T) {
	file := write(t, `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
port: 10350
maxPods: 20
clusterDNS: [10.0.0.10]
clusterDomain: example.org
cgroupRoot: /outer
systemReserved: {cpu: 100m}
kubeReserved: {cpu: 200m, memory: 1Gi}
authentication: {x509: {clientCAFile: /ca.crt}}
`)
	set := programs()[3].asItself().Flags()
	if err := set.Parse([]string{"--max-pods=30"}); err != nil {
		t.Fatal(err)
	}
	conf, err := readKubeletConfiguration(file)
	if err != nil {
		t.Fatal(err)
	}
	k := &kubeletFlags{set: set, kubeconfig: "/k", hostname: "Node-A", nodeIP: "10.0.0.1", maxPods: 30, address: "0.0.0.0",
		rootDir: "/root", endpoint: "/run/c.sock", taints: []string{"a=b:NoSchedule"}}
	k.merge(conf)
	var o nodeagent.Options
	if err := k.describe(&o); err != nil {
		t.Fatal(err)
	}
	cpu, memory := o.Reserved[corev1.ResourceCPU], o.Reserved[corev1.ResourceMemory]
	got := []any{o.NodeName, o.Port, o.MaxPods, o.ClusterDNS[0].String(), o.ClusterDomain, o.CgroupRoot, cpu.String(), memory.String(), k.clientCA, o.RuntimeEndpoint, o.Taints[0].ToString()}
	want := []any{"node-a", 10350, 30, "10.0.0.10", "example.org", "/outer/kubepods", "300m", "1Gi", "/ca.crt", "unix:///run/c.sock", "a=b:NoSchedule"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := readKubeletConfiguration(write(t, "kind: KubeletConfiguration\nportt: 1\n")); err == nil {
		t.Error("unknown field accepted")
	}
}

func TestParseTaint(t *testing.T) {
	for s, ok := range map[string]bool{"a=b:NoSchedule": true, "a:NoExecute": true, "a": false, ":NoSchedule": false, "a=b:Never": false} {
		if _, err := parseTaint(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
