package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEncryptionAtRest writes secrets and custom resources with one key, turns to
// another while the server runs, and reads all of them.
func TestEncryptionAtRest(t *testing.T) {
	n := NewNetwork(t)
	m := n.NewMachine(t, "one")
	file := filepath.Join(m.Dir, "encryption.yaml")
	// providers are in order: the first one writes, all read.
	write := func(providers ...string) {
		t.Helper()
		text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets, widgets.e2e.example]\n  providers:\n"
		for _, p := range providers {
			text += "  - " + p + "\n"
		}
		// Replaced as a whole, as a mounted secret is: never half written.
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	key := func(kind, name, letter string) string {
		return fmt.Sprintf("%s: {keys: [{name: %s, secret: %s}]}", kind, name, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32))))
	}
	first, second, third, plain := key("aescbc", "one", "a"), key("secretbox", "two", "b"), key("aesgcm", "three", "c"), "identity: {}"
	write(first, plain)
	p := m.StartServer("--no-node", "--encryption-provider-config", file, "--encryption-provider-config-automatic-reload")

	p.Apply(widgets)
	p.Kubectl("wait", "--for=condition=Established", "crd/widgets.e2e.example", "--timeout=30s")
	p.Kubectl("create", "secret", "generic", "old", "--from-literal=word=mellon")
	p.Kubectl("create", "configmap", "open", "--from-literal=word=mellon")
	p.Apply("apiVersion: e2e.example/v1\nkind: Widget\nmetadata: {name: old, namespace: default}\nspec: {color: red}\n")

	stored := func(key, prefix string, hidden bool) error {
		value := p.stored(t, key)
		if !strings.HasPrefix(value, prefix) {
			return fmt.Errorf("%s begins with %q, want %q", key, value[:min(len(value), 40)], prefix)
		}
		if open := strings.Contains(value, "mellon") || strings.Contains(value, `"red"`); open == hidden {
			return fmt.Errorf("%s: readable is %v", key, open)
		}
		return nil
	}
	check := func(key, prefix string, hidden bool) {
		t.Helper()
		if err := stored(key, prefix, hidden); err != nil {
			t.Error(err)
		}
	}
	check("/registry/secrets/default/old", "k8s:enc:aescbc:v1:one:", true)
	check("/registry/e2e.example/widgets/default/old", "k8s:enc:aescbc:v1:one:", true)
	check("/registry/configmaps/default/open", "k8s\x00", false)

	read := func() {
		t.Helper()
		for kind, path := range map[string]string{"secret/old": "{.data.word}", "widget/old": "{.spec.color}"} {
			want := map[string]string{"secret/old": "bWVsbG9u", "widget/old": "red"}[kind]
			if got := p.Kubectl("get", kind, "-o", "jsonpath="+path); got != want {
				t.Errorf("%s: %q, want %q", kind, got, want)
			}
		}
	}
	// The file is looked at once a minute.
	turn := func(prefix string, providers ...string) {
		t.Helper()
		write(providers...)
		Eventually(t, 2*time.Minute, func() error {
			p.Kubectl("annotate", "--overwrite", "secret/old", "widget/old", "turned="+fmt.Sprint(time.Now().UnixNano()))
			if err := stored("/registry/secrets/default/old", prefix, true); err != nil {
				return err
			}
			return stored("/registry/e2e.example/widgets/default/old", prefix, true)
		})
		read()
	}
	read()
	turn("k8s:enc:secretbox:v1:two:", second, first, plain)
	p.Stop()
	write(third, second, first)
	p.Start()
	read() // what the other keys wrote, with the third to write
	p.Kubectl("annotate", "--overwrite", "secret/old", "turned=again")
	check("/registry/secrets/default/old", "k8s:enc:aesgcm:v1:three:", true)
	if out := p.Kubectl("get", "--raw", "/readyz?verbose"); !strings.Contains(out, "start-encryption-provider-config-automatic-reload ok") {
		t.Errorf("the watch on the file is no part of /readyz:\n%s", out)
	}
}

// stored is what etcd holds under a key.
func (p *Proa) stored(t *testing.T, key string) string {
	t.Helper()
	pki := filepath.Join(p.data(), "pki")
	cert, err := tls.LoadX509KeyPair(filepath.Join(pki, "apiserver-etcd-client.crt"), filepath.Join(pki, "apiserver-etcd-client.key"))
	if err != nil {
		t.Fatal(err)
	}
	c := p.In(t).clientFor("https://127.0.0.1:2379", filepath.Join(pki, "etcd", "ca.crt"), cert)
	body := c.do("POST", "/v3/kv/range", fmt.Sprintf(`{"key":%q}`, base64.StdEncoding.EncodeToString([]byte(key)))).is(200).body
	var answer struct{ Kvs []struct{ Value []byte } }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Kvs) != 1 {
		t.Fatalf("%s in etcd: %v\n%s", key, err, body)
	}
	return string(answer.Kvs[0].Value)
}
