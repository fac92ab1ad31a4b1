package identity

import (
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	testclock "k8s.io/utils/clock/testing"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func options(c *testclock.FakeClock) Options {
	return Options{
		Clock: c, Hostname: "host-a",
		Addresses:    []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("0.0.0.0")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00::/112")},
	}
}

// tree returns every file's content under dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.Walk(dir, func(p string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			b, rerr := os.ReadFile(p)
			if rerr != nil {
				return rerr
			}
			out[p] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func changed(before, after map[string]string) []string {
	var out []string
	for p, b := range before {
		if after[p] != b {
			out = append(out, filepath.Base(p))
		}
	}
	return out
}

func TestEnsure(t *testing.T) {
	dir, clock := t.TempDir(), testclock.NewFakeClock(start)
	id, err := Ensure(dir, options(clock))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "host-a", "127.0.0.1", "::1", "10.96.0.1", "fd00::1", "10.1.2.3"} {
		if err := id.APIServer.Cert.VerifyHostname(name); err != nil {
			t.Errorf("serving certificate: %v", err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(id.ClusterCA.Cert)
	for _, p := range []*Pair{id.Admin, id.ControllerManager, id.Scheduler, id.APIServerKubeletClient} {
		if _, err := p.Cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("%s: %v", p.CertFile, err)
		}
		if _, err := os.Stat(p.CertFile); err != nil {
			t.Error(err)
		}
	}
	if len(strings.SplitAfter(string(id.APIServer.CertPEM), "END CERTIFICATE")) != 3 {
		t.Error("the serving certificate's file must hold the CA too: joining nodes check it")
	}
	if i, err := os.Stat(id.ServiceAccountKeyFile); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("service account key: %v %v", i, err)
	}

	before := tree(t, dir)
	if _, err := Ensure(dir, options(clock)); err != nil {
		t.Fatal(err)
	}
	if c := changed(before, tree(t, dir)); len(c) > 0 {
		t.Errorf("a second Ensure changed %v", c)
	}

	o := options(clock)
	o.Names = []string{"api.example.com"}
	if id, err = Ensure(dir, o); err != nil {
		t.Fatal(err)
	}
	if err := id.APIServer.Cert.VerifyHostname("api.example.com"); err != nil {
		t.Error(err)
	}
	for _, f := range changed(before, tree(t, dir)) {
		if f != "apiserver.crt" && f != "server.crt" && f != "peer.crt" {
			t.Errorf("other names changed %s", f)
		}
	}

	before = tree(t, dir)
	clock.Step(300 * 24 * time.Hour) // less than a fifth left
	if id, err = Ensure(dir, o); err != nil {
		t.Fatal(err)
	}
	if !id.Admin.Cert.NotAfter.After(clock.Now().Add(364 * 24 * time.Hour)) {
		t.Errorf("admin certificate was not renewed: ends %s", id.Admin.Cert.NotAfter)
	}
	for _, f := range changed(before, tree(t, dir)) {
		if strings.HasSuffix(f, ".key") || strings.HasSuffix(f, "ca.crt") {
			t.Errorf("renewal changed %s", f)
		}
	}
}

func TestEnsureRefusesDamage(t *testing.T) {
	tests := map[string]struct {
		damage func(pki string) error
		want   string
	}{
		"CA key gone":         {func(p string) error { return os.Remove(p + "/ca.key") }, "ca.key is not"},
		"CA certificate gone": {func(p string) error { return os.Remove(p + "/ca.crt") }, "the CA key"},
		"certificate corrupt": {func(p string) error { return os.WriteFile(p+"/admin.crt", []byte("x"), 0o600) }, "admin.crt is not a PEM certificate"},
		"key corrupt":         {func(p string) error { return os.WriteFile(p+"/sa.key", []byte("x"), 0o600) }, "sa.key is not a PEM private key"},
		"file empty":          {func(p string) error { return os.WriteFile(p+"/apiserver.key", nil, 0o600) }, "apiserver.key is empty"},
		"keys swapped":        {func(p string) error { return os.Rename(p+"/admin.key", p+"/scheduler.key") }, "key"},
		"another CA's leaf": {func(p string) error {
			for _, e := range []string{".crt", ".key"} {
				if err := os.Rename(p+"/front-proxy-client"+e, p+"/admin"+e); err != nil {
					return err
				}
			}
			return nil
		}, "was not issued by"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir, clock := t.TempDir(), testclock.NewFakeClock(start)
			if _, err := Ensure(dir, options(clock)); err != nil {
				t.Fatal(err)
			}
			if err := tc.damage(filepath.Join(dir, "pki")); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			_, err := Ensure(dir, options(clock))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			if c := changed(before, tree(t, dir)); len(c) > 0 {
				t.Errorf("damage made worse: %v changed", c)
			}
		})
	}
}

func TestEnsureResumesLeafWithoutCertificate(t *testing.T) {
	dir, clock := t.TempDir(), testclock.NewFakeClock(start)
	if _, err := Ensure(dir, options(clock)); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "pki/admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "pki/admin.crt")); err != nil {
		t.Fatal(err)
	}
	id, err := Ensure(dir, options(clock))
	if err != nil {
		t.Fatal(err)
	}
	if string(id.Admin.KeyPEM) != string(key) || id.Admin.Cert == nil {
		t.Error("the certificate must be issued anew for the key that is there")
	}
}

func TestEnsureNode(t *testing.T) {
	id, err := Ensure(t.TempDir(), options(testclock.NewFakeClock(start)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := id.EnsureNode("n1", []netip.Addr{netip.MustParseAddr("10.0.0.9")})
	if err != nil {
		t.Fatal(err)
	}
	if s := n.Client.Cert.Subject; s.CommonName != "system:node:n1" || s.Organization[0] != "system:nodes" {
		t.Errorf("subject %s", s)
	}
	for _, h := range []string{"n1", "10.0.0.9", "127.0.0.1"} {
		if err := n.Server.Cert.VerifyHostname(h); err != nil {
			t.Error(err)
		}
	}
	if _, err := id.EnsureNode("../../x", nil); err == nil {
		t.Error("a name with a path must be refused")
	}
}

func TestAdminKubeconfig(t *testing.T) {
	id, err := Ensure(t.TempDir(), options(testclock.NewFakeClock(start)))
	if err != nil {
		t.Fatal(err)
	}
	path, err := id.WriteAdminKubeconfig("https://127.0.0.1:6443")
	if err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", i, err)
	}
	cfg, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// What a user adds or chooses stays.
	cfg.Contexts["mine"] = cfg.Contexts[KubeconfigCluster].DeepCopy()
	cfg.Contexts[KubeconfigCluster].Namespace = "shop"
	cfg.CurrentContext = "mine"
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	if _, err := id.WriteAdminKubeconfig("https://127.0.0.1:7443"); err != nil {
		t.Fatal(err)
	}
	if cfg, err = clientcmd.LoadFromFile(path); err != nil {
		t.Fatal(err)
	}
	if cfg.CurrentContext != "mine" || cfg.Contexts[KubeconfigCluster].Namespace != "shop" || cfg.Clusters[KubeconfigCluster].Server != "https://127.0.0.1:7443" {
		t.Errorf("kubeconfig after the second write: %+v", cfg)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := id.WriteAdminKubeconfig("https://127.0.0.1:7443"); err == nil {
		t.Error("a broken kubeconfig must not be overwritten")
	}
}
