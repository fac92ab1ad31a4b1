package certificates

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t *testing.T, r x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &r, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func nodeSubject(name string) pkix.Name {
	return pkix.Name{CommonName: "system:node:" + name, Organization: []string{"system:nodes"}}
}

const (
	digital = certificatesv1.UsageDigitalSignature
	encrypt = certificatesv1.UsageKeyEncipherment
	asUser  = certificatesv1.UsageClientAuth
	asHost  = certificatesv1.UsageServerAuth
)

func newCSR(t *testing.T, signer, user string, r x509.CertificateRequest, usages ...certificatesv1.KeyUsage) *certificatesv1.CertificateSigningRequest {
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "csr", CreationTimestamp: metav1.NewTime(now)},
		Spec:       certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Username: user, Request: request(t, r), Usages: usages},
	}
}

func TestApprover(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}, {Type: corev1.NodeHostName, Address: "host1"}}}}
	kubeletClient, kubeletServing := certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName
	own := func(ips ...string) x509.CertificateRequest {
		r := x509.CertificateRequest{Subject: nodeSubject("n1"), DNSNames: []string{"n1", "host1"}}
		for _, ip := range ips {
			r.IPAddresses = append(r.IPAddresses, net.ParseIP(ip))
		}
		return r
	}
	tests := map[string]struct {
		csr     *certificatesv1.CertificateSigningRequest
		allowed string // the virtual subresource that the requester may create
		want    string // the reason's message, empty for none
		again   bool
	}{
		"joining node":        {csr: newCSR(t, kubeletClient, "system:bootstrap:x", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser), allowed: "nodeclient", want: "Auto approving kubelet client certificate after SubjectAccessReview."},
		"joining, RSA":        {csr: newCSR(t, kubeletClient, "system:bootstrap:x", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, encrypt, asUser), allowed: "nodeclient", want: "Auto approving kubelet client certificate after SubjectAccessReview."},
		"renewal":             {csr: newCSR(t, kubeletClient, "system:node:n1", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser), allowed: "selfnodeclient", want: "Auto approving self kubelet client certificate after SubjectAccessReview."},
		"renewal of another":  {csr: newCSR(t, kubeletClient, "system:node:n2", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser), allowed: "selfnodeclient"},
		"not allowed":         {csr: newCSR(t, kubeletClient, "ann", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser)},
		"wrong usages":        {csr: newCSR(t, kubeletClient, "system:bootstrap:x", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser, asHost), allowed: "nodeclient"},
		"with names":          {csr: newCSR(t, kubeletClient, "system:bootstrap:x", x509.CertificateRequest{Subject: nodeSubject("n1"), DNSNames: []string{"x"}}, digital, asUser), allowed: "nodeclient"},
		"no node's name":      {csr: newCSR(t, kubeletClient, "system:bootstrap:x", x509.CertificateRequest{Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:nodes"}}}, digital, asUser), allowed: "nodeclient"},
		"masters":             {csr: newCSR(t, kubeletClient, "system:bootstrap:x", x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes", "system:masters"}}}, digital, asUser), allowed: "nodeclient"},
		"another signer":      {csr: newCSR(t, "example.com/s", "system:bootstrap:x", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser), allowed: "nodeclient"},
		"serving":             {csr: newCSR(t, kubeletServing, "system:node:n1", own("10.0.0.1", "127.0.0.1"), digital, asHost), allowed: "selfnodeserver", want: "Auto approving self kubelet serving certificate after comparison with the node's addresses and SubjectAccessReview."},
		"serving, foreign IP": {csr: newCSR(t, kubeletServing, "system:node:n1", own("10.0.0.2"), digital, asHost), allowed: "selfnodeserver", again: true},
		"serving for another": {csr: newCSR(t, kubeletServing, "system:node:n2", own("10.0.0.1"), digital, asHost), allowed: "selfnodeserver"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			kube := kubefake.NewClientset(tc.csr)
			kube.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
				sar := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
				sar.Status.Allowed = sar.Spec.ResourceAttributes.Subresource == tc.allowed && sar.Spec.User == tc.csr.Spec.Username
				return true, sar, nil
			})
			c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(tc.csr, node).Build()
			a := &Approver{Client: c, Kube: kube, Nodes: c, Now: func() time.Time { return now }}
			result, err := a.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "csr"}})
			if err != nil || (result.RequeueAfter > 0) != tc.again {
				t.Fatal(result, err)
			}
			got := ""
			for _, act := range kube.Actions() {
				if u, ok := act.(clienttesting.UpdateAction); ok && act.GetSubresource() == "approval" {
					got = u.GetObject().(*certificatesv1.CertificateSigningRequest).Status.Conditions[0].Message
				}
			}
			if got != tc.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// writeCA makes a CA in dir and returns its files and pool.
func writeCA(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(100 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "ca.key")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, certPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool
}

func TestSigner(t *testing.T) {
	certFile, keyFile, pool := writeCA(t)
	approved := func(c *certificatesv1.CertificateSigningRequest, types ...certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequest {
		for _, ty := range types {
			c.Status.Conditions = append(c.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: ty, Status: corev1.ConditionTrue})
		}
		return c
	}
	yes := certificatesv1.CertificateApproved
	short := newCSR(t, certificatesv1.KubeAPIServerClientSignerName, "ann", x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann"}}, asUser, digital)
	short.Spec.ExpirationSeconds = ptr.To[int32](3600)
	tests := map[string]struct {
		csr    *certificatesv1.CertificateSigningRequest
		signed bool
		failed string
		end    time.Time
		usage  x509.ExtKeyUsage
	}{
		"client":             {csr: approved(newCSR(t, certificatesv1.KubeAPIServerClientKubeletSignerName, "x", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser), yes), signed: true, usage: x509.ExtKeyUsageClientAuth, end: now.Add(100 * 24 * time.Hour)},
		"serving":            {csr: approved(newCSR(t, certificatesv1.KubeletServingSignerName, "x", x509.CertificateRequest{Subject: nodeSubject("n1"), DNSNames: []string{"n1"}}, digital, asHost), yes), signed: true, usage: x509.ExtKeyUsageServerAuth},
		"short":              {csr: approved(short, yes), signed: true, usage: x509.ExtKeyUsageClientAuth, end: now.Add(time.Hour)},
		"legacy":             {csr: approved(newCSR(t, "kubernetes.io/legacy-unknown", "x", x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}}, asUser, certificatesv1.UsageCodeSigning, certificatesv1.UsageCertSign), yes), signed: true, usage: x509.ExtKeyUsageCodeSigning},
		"not approved":       {csr: newCSR(t, certificatesv1.KubeAPIServerClientKubeletSignerName, "x", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser)},
		"denied":             {csr: approved(newCSR(t, certificatesv1.KubeAPIServerClientKubeletSignerName, "x", x509.CertificateRequest{Subject: nodeSubject("n1")}, digital, asUser), yes, certificatesv1.CertificateDenied)},
		"not for the signer": {csr: approved(newCSR(t, certificatesv1.KubeAPIServerClientKubeletSignerName, "x", x509.CertificateRequest{Subject: pkix.Name{CommonName: "admin"}}, digital, asUser), yes), failed: "subject organization is not system:nodes"},
		"server as a client": {csr: approved(newCSR(t, certificatesv1.KubeAPIServerClientSignerName, "x", x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}}, digital, asHost), yes), failed: "invalid usage for client certificate: server auth"},
		"foreign signer":     {csr: approved(newCSR(t, "example.com/s", "x", x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}}, digital, asUser), yes)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			kube := kubefake.NewClientset(tc.csr)
			s := &Signer{Client: fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(tc.csr).Build(), Kube: kube, CAs: map[string]control.CA{tc.csr.Spec.SignerName: {CertFile: certFile, KeyFile: keyFile}}, Now: func() time.Time { return now }}
			if _, err := s.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "csr"}}); err != nil {
				t.Fatal(err)
			}
			out, err := kube.CertificatesV1().CertificateSigningRequests().Get(context.Background(), "csr", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			failed := ""
			for _, c := range out.Status.Conditions {
				if c.Type == certificatesv1.CertificateFailed {
					failed = c.Message
				}
			}
			if failed != tc.failed || (len(out.Status.Certificate) > 0) != tc.signed {
				t.Fatalf("%+v", out.Status)
			}
			if !tc.signed {
				return
			}
			block, _ := pem.Decode(out.Status.Certificate)
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{tc.usage}}); err != nil {
				t.Error(err)
			}
			if !tc.end.IsZero() && !cert.NotAfter.Equal(tc.end) {
				t.Errorf("ends %s", cert.NotAfter)
			}
		})
	}
}

func TestKeyUsages(t *testing.T) {
	if _, _, err := keyUsages([]certificatesv1.KeyUsage{"flying"}); err == nil {
		t.Error("an unknown usage must be an error")
	}
	if _, err := sign(tls.Certificate{}, &x509.CertificateRequest{}, nil, time.Hour, now); err == nil {
		t.Error("an unsigned request must be an error")
	}
}

func TestCleaner(t *testing.T) {
	condition := func(ty certificatesv1.RequestConditionType, age time.Duration) certificatesv1.CertificateSigningRequestCondition {
		return certificatesv1.CertificateSigningRequestCondition{Type: ty, LastUpdateTime: metav1.NewTime(now.Add(-age))}
	}
	approved, denied, failed := certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed
	tests := map[string]struct {
		age        time.Duration
		conditions []certificatesv1.CertificateSigningRequestCondition
		issued     bool
		gone       bool
		wait       time.Duration
	}{
		"pending":               {age: time.Hour, wait: 23 * time.Hour},
		"pending long":          {age: 25 * time.Hour, gone: true},
		"approved, not issued":  {conditions: []certificatesv1.CertificateSigningRequestCondition{condition(approved, 2*time.Hour)}, wait: 22 * time.Hour},
		"issued":                {issued: true, conditions: []certificatesv1.CertificateSigningRequestCondition{condition(approved, 50*time.Minute)}, wait: 10 * time.Minute},
		"issued long ago":       {issued: true, conditions: []certificatesv1.CertificateSigningRequestCondition{condition(approved, 2*time.Hour)}, gone: true},
		"denied long ago":       {conditions: []certificatesv1.CertificateSigningRequestCondition{condition(denied, 2*time.Hour)}, gone: true},
		"approved, then failed": {conditions: []certificatesv1.CertificateSigningRequestCondition{condition(approved, 2*time.Hour), condition(failed, time.Minute)}, wait: 59 * time.Minute},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			csr := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "csr", CreationTimestamp: metav1.NewTime(now.Add(-tc.age))}}
			csr.Status.Conditions = tc.conditions
			if tc.issued {
				csr.Status.Certificate = []byte("x")
			}
			c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(csr).Build()
			r := &Cleaner{Client: c, Now: func() time.Time { return now }}
			result, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "csr"}})
			if err != nil || result.RequeueAfter != tc.wait {
				t.Errorf("%v, %v", result, err)
			}
			gone := c.Get(context.Background(), client.ObjectKeyFromObject(csr), csr) != nil
			if gone != tc.gone {
				t.Errorf("gone: %v", gone)
			}
		})
	}
}
