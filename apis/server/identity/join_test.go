package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
)

func TestParseJoinToken(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	tests := map[string]bool{
		hash + "::abcdef.0123456789abcdef":   true,
		hash + "::abcdef.0123456789abcdef\n": true,
		hash + ":abcdef.0123456789abcdef":    false,
		hash + "::ABCDEF.0123456789abcdef":   false,
		hash + "::abcdef.0123":               false,
		"zz::abcdef.0123456789abcdef":        false,
		"":                                   false,
	}
	for in, ok := range tests {
		got, err := ParseJoinToken(in)
		if (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
		if ok && got.String() != strings.TrimSpace(in) {
			t.Errorf("%q came back as %q", in, got)
		}
	}
}

func TestEnsureJoinToken(t *testing.T) {
	dir, hash := t.TempDir(), strings.Repeat("ab", 32)
	client := fake.NewClientset()
	first, err := EnsureJoinToken(context.Background(), client, dir, hash, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := EnsureJoinToken(context.Background(), client, dir, hash, "")
	if err != nil || again != first {
		t.Errorf("second time %v, %v; first %v", again, err, first)
	}
	secrets, err := client.CoreV1().Secrets("kube-system").List(context.Background(), metav1.ListOptions{})
	if err != nil || len(secrets.Items) != 1 || string(secrets.Items[0].Data["auth-extra-groups"]) != JoinGroup {
		t.Errorf("secrets %+v, %v", secrets, err)
	}
	b, err := os.ReadFile(dir + "/node-token")
	if err != nil || string(b) != first.String()+"\n" {
		t.Errorf("node-token %q, %v", b, err)
	}
	if _, err := EnsureJoinToken(context.Background(), client, dir, hash, strings.Split(first.Bearer, ".")[0]+".0000000000000000"); err == nil {
		t.Error("another secret under the same token id must be refused")
	}
}

// signer is an API server that grants certificate requests at once.
func signer(t *testing.T, id *Identity) *httptest.Server {
	t.Helper()
	var csr certificatesv1.CertificateSigningRequest
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/certificates.k8s.io/v1/certificatesigningrequests", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			if r.URL.Query().Get("watch") != "" {
				mark := csr.DeepCopy()
				mark.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
				for _, e := range []struct {
					Type   string `json:"type"`
					Object any    `json:"object"`
				}{{"ADDED", csr}, {"BOOKMARK", mark}} {
					_ = json.NewEncoder(w).Encode(e)
				}
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			_ = json.NewEncoder(w).Encode(certificatesv1.CertificateSigningRequestList{
				TypeMeta: metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequestList"},
				ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []certificatesv1.CertificateSigningRequest{csr},
			})
			return
		}
		if r.Header.Get("Authorization") == "" && len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &csr); err != nil {
			t.Error(err)
			return
		}
		block, _ := pem.Decode(csr.Spec.Request)
		req, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			t.Error(err)
			return
		}
		usage := x509.ExtKeyUsageClientAuth
		if csr.Spec.SignerName == certificatesv1.KubeletServingSignerName {
			usage = x509.ExtKeyUsageServerAuth
		}
		der, err := id.ClusterCA.sign(req.PublicKey, profile{commonName: req.Subject.CommonName, organization: req.Subject.Organization, names: req.DNSNames, addresses: req.IPAddresses, usages: []x509.ExtKeyUsage{usage}}, time.Now())
		if err != nil {
			t.Error(err)
		}
		csr.TypeMeta = metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequest"}
		csr.Name, csr.UID, csr.ResourceVersion = "csr-1", "1", "1"
		csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: "True"}}
		csr.Status.Certificate = certPEM(der)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(csr)
	})
	s := httptest.NewUnstartedServer(mux)
	pair, err := id.APIServer.TLS()
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func TestJoin(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	id, err := Ensure(t.TempDir(), Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	server := signer(t, id)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o := JoinOptions{Clock: clock, Server: server.URL, Dir: t.TempDir(), NodeName: "n2",
		Token: JoinToken{CAHash: CertHash(id.ClusterCA.Cert), Bearer: "abcdef.0123456789abcdef"}}

	bad := o
	bad.Dir, bad.Token.CAHash = t.TempDir(), strings.Repeat("00", 32)
	if _, err := Join(ctx, bad); err == nil || !strings.Contains(err.Error(), "not the one this token is for") {
		t.Errorf("a wrong pin gave %v", err)
	}
	if files := tree(t, bad.Dir); len(files) != 0 {
		t.Errorf("a refused join left %v", files)
	}

	j, err := Join(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if s := j.Client.Cert.Subject; s.CommonName != "system:node:n2" {
		t.Errorf("subject %s", s)
	}
	serving, err := j.Serving(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := serving.Cert.VerifyHostname("n2"); err != nil {
		t.Error(err)
	}
	server.Close() // what is there is enough for a restart
	before := tree(t, o.Dir)
	again, err := Join(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Serving(ctx, o); err != nil {
		t.Fatal(err)
	}
	if c := changed(before, tree(t, o.Dir)); len(c) > 0 {
		t.Errorf("a second join changed %v", c)
	}
}

func TestUsable(t *testing.T) {
	clock := testclock.NewFakeClock(start)
	id, err := Ensure(t.TempDir(), Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Ensure(t.TempDir(), Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	n, err := id.EnsureNode("n", nil)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: "system:node:n"}
	if !usable(n.Client, subject, id.ClusterCA.CertPEM, start) {
		t.Error("a fresh pair must be usable")
	}
	if usable(n.Client, subject, other.ClusterCA.CertPEM, start) {
		t.Error("another CA's pair must not be usable")
	}
	if usable(n.Client, pkix.Name{CommonName: "system:node:m"}, id.ClusterCA.CertPEM, start) {
		t.Error("another node's pair must not be usable")
	}
	if usable(n.Client, subject, id.ClusterCA.CertPEM, start.Add(300*24*time.Hour)) {
		t.Error("a pair near its end must not be usable")
	}
}

func TestFetchCAWithoutServer(t *testing.T) {
	u := &url.URL{Scheme: "https", Host: "127.0.0.1:1"}
	if _, err := fetchCA(context.Background(), u, "", start); err == nil || !strings.Contains(err.Error(), "reach the server") {
		t.Errorf("got %v", err)
	}
}
