package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/fake"
	testclock "k8s.io/utils/clock/testing"

	"proa/apis/kind"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(1000000 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

func (a *authority) options() (x509.VerifyOptions, bool) {
	return x509.VerifyOptions{Roots: a.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}

func (a *authority) leaf(t testing.TB, name string, groups []string, end time.Time) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: groups}, NotBefore: start.Add(-time.Hour), NotAfter: end, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func request(path string, cert *x509.Certificate, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://server"+path, nil)
	if cert != nil {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestNew(t *testing.T) {
	clock := testclock.NewFakeClock(start)
	ca, other := newAuthority(t), newAuthority(t)
	end := start.Add(1000 * time.Hour)
	client := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-abcdef"}, Type: "bootstrap.kubernetes.io/token",
		Data: map[string][]byte{"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef"), "usage-bootstrap-authentication": []byte("true"), "auth-extra-groups": []byte("system:bootstrappers:x")},
	}, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-expire"}, Type: "bootstrap.kubernetes.io/token",
		Data: map[string][]byte{"token-id": []byte("expire"), "token-secret": []byte("0123456789abcdef"), "usage-bootstrap-authentication": []byte("true"), "expiration": []byte("2025-12-31T00:00:00Z")},
	})
	auth := New(Options{
		Clock: clock, Audiences: authenticator.Audiences{"api"}, ClientCA: ca.options, FrontProxy: AggregatorHeaders(other.options, nil),
		StaticTokens:    map[string]user.Info{"loop": &user.DefaultInfo{Name: "system:apiserver", Groups: []string{user.SystemPrivilegedGroup}}},
		BootstrapClient: client, Anonymous: OnHealthPaths(),
	})
	tests := map[string]struct {
		req    *http.Request
		user   string
		groups []string
		err    string
	}{
		"certificate":                 {req: request("/api", ca.leaf(t, "ann", []string{"devs"}, end)), user: "ann", groups: []string{"devs", "system:authenticated"}},
		"certificate of another CA":   {req: request("/api", other.leaf(t, "eve", nil, end)), err: "verifying certificate"},
		"expired certificate":         {req: request("/api", ca.leaf(t, "old", nil, start.Add(-time.Minute))), err: "expired"},
		"headers without front proxy": {req: request("/api", ca.leaf(t, "ann", nil, end), "X-Remote-User", "admin"), user: "ann", groups: []string{"system:authenticated"}},
		"loopback token":              {req: request("/api", nil, "Authorization", "Bearer loop"), user: "system:apiserver", groups: []string{"system:masters", "system:authenticated"}},
		"bootstrap token":             {req: request("/api", nil, "Authorization", "Bearer abcdef.0123456789abcdef"), user: "system:bootstrap:abcdef", groups: []string{"system:bootstrappers", "system:bootstrappers:x", "system:authenticated"}},
		"bootstrap token, wrong":      {req: request("/api", nil, "Authorization", "Bearer abcdef.0123456789abcdeX"), err: "invalid bearer token"},
		"bootstrap token, expired":    {req: request("/api", nil, "Authorization", "Bearer expire.0123456789abcdef"), err: "invalid bearer token"},
		"nonsense token":              {req: request("/healthz", nil, "Authorization", "Bearer x"), err: "invalid bearer token"},
		"nobody at a health path":     {req: request("/readyz", nil), user: "system:anonymous", groups: []string{"system:unauthenticated"}},
		"nobody elsewhere":            {req: request("/api", nil)},
		"front proxy":                 {req: request("/api", other.leaf(t, "proxy", nil, time.Now().Add(time.Hour)), "X-Remote-User", "ann", "X-Remote-Group", "devs", "X-Remote-Uid", "7"), user: "ann", groups: []string{"devs", "system:authenticated"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			resp, ok, err := auth.AuthenticateRequest(tc.req)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, %v; want error with %q", resp, err, tc.err)
				}
				return
			}
			if err != nil || ok != (tc.user != "") {
				t.Fatalf("got %v, %v, %v", resp, ok, err)
			}
			if !ok {
				return
			}
			if resp.User.GetName() != tc.user || !slices.Equal(resp.User.GetGroups(), tc.groups) {
				t.Errorf("got %s %q", resp.User.GetName(), resp.User.GetGroups())
			}
		})
	}
}

func TestCertificateCache(t *testing.T) {
	clock := testclock.NewFakeClock(start)
	ca := newAuthority(t)
	verifications := 0
	roots := ca.pool
	c := newCertificates(func() (x509.VerifyOptions, bool) {
		verifications++ // counts look-ups; the cache is seen by what passes below
		return x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
	}, clock)
	leaf := ca.leaf(t, "ann", nil, start.Add(2*time.Minute))
	ask := func() (bool, error) {
		_, ok, err := c.AuthenticateRequest(request("/", leaf))
		return ok, err
	}
	if ok, err := ask(); !ok {
		t.Fatal(err)
	}
	if n := c.cache.Len(); n != 1 {
		t.Fatalf("%d entries", n)
	}
	broken := *leaf
	broken.Signature = []byte("x") // the same fingerprint, but it would not verify
	leaf = &broken
	if ok, err := ask(); !ok {
		t.Errorf("not taken from the cache: %v", err)
	}
	roots = x509.NewCertPool()
	if ok, _ := ask(); ok {
		t.Error("an entry must not outlive the CA it was verified with")
	}
	roots = ca.pool
	clock.Step(3 * time.Minute)
	if ok, _ := ask(); ok {
		t.Error("an entry must not outlive the certificate")
	}
	if verifications != 4 {
		t.Errorf("%d look-ups", verifications)
	}
}

// objects is a Getter of given objects.
type objects struct {
	sa     *corev1.ServiceAccount
	pod    *corev1.Pod
	secret *corev1.Secret
	node   *corev1.Node
}

func found[T any](o *T) (*T, error) {
	if o == nil {
		return nil, context.Canceled
	}
	return o, nil
}

func (o *objects) ServiceAccount(context.Context, string, string) (*corev1.ServiceAccount, error) {
	return found(o.sa)
}
func (o *objects) Pod(context.Context, string, string) (*corev1.Pod, error) { return found(o.pod) }
func (o *objects) Secret(context.Context, string, string) (*corev1.Secret, error) {
	return found(o.secret)
}
func (o *objects) Node(context.Context, string) (*corev1.Node, error) { return found(o.node) }

func TestServiceAccountTokens(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", UID: "sa-1"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "pod-1"}}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node-1"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "secret-1"}}
	gone := metav1.NewTime(start)
	podBound := kind.BoundObject{Ref: authenticationv1.BoundObjectReference{Kind: "Pod", Name: "p", UID: "pod-1"}, NodeName: "n", NodeUID: "node-1"}

	tests := map[string]struct {
		bound     kind.BoundObject
		audiences []string
		lifetime  time.Duration
		after     time.Duration
		change    func(*objects)
		want      []string // audiences the request asks for
		err       string
		extra     map[string]string
		exact     bool
	}{
		"unbound": {},
		"bound to a pod": {bound: podBound, extra: map[string]string{
			"authentication.kubernetes.io/pod-name": "p", "authentication.kubernetes.io/pod-uid": "pod-1",
			"authentication.kubernetes.io/node-name": "n", "authentication.kubernetes.io/node-uid": "node-1"}},
		"pod gone":                {bound: podBound, change: func(o *objects) { o.pod = nil }, err: "invalidated"},
		"another pod":             {bound: podBound, change: func(o *objects) { o.pod = o.pod.DeepCopy(); o.pod.UID = "pod-2" }, err: "pod UID (pod-2) does not match"},
		"pod being deleted":       {bound: podBound, after: 2 * time.Minute, change: func(o *objects) { o.pod = o.pod.DeepCopy(); o.pod.DeletionTimestamp = &gone }, err: "invalidated"},
		"node of pod gone":        {bound: podBound, change: func(o *objects) { o.node = nil }},
		"bound to a node":         {bound: kind.BoundObject{Ref: authenticationv1.BoundObjectReference{Kind: "Node", Name: "n", UID: "node-1"}}},
		"node gone":               {bound: kind.BoundObject{Ref: authenticationv1.BoundObjectReference{Kind: "Node", Name: "n", UID: "node-1"}}, change: func(o *objects) { o.node = nil }, err: "invalidated"},
		"bound to a secret":       {bound: kind.BoundObject{Ref: authenticationv1.BoundObjectReference{Kind: "Secret", Name: "s", UID: "secret-1"}}},
		"account made anew":       {change: func(o *objects) { o.sa = o.sa.DeepCopy(); o.sa.UID = "sa-2" }, err: "service account UID (sa-2) does not match claim (sa-1)"},
		"expired":                 {lifetime: 10 * time.Minute, after: 12 * time.Minute, err: "has expired"},
		"within the leeway":       {lifetime: 10 * time.Minute, after: 10*time.Minute + 30*time.Second},
		"warn only, extended":     {bound: podBound, lifetime: warnOnlyLifetime, after: 24 * time.Hour},
		"no extension":            {bound: podBound, lifetime: warnOnlyLifetime, after: 24 * time.Hour, exact: true, err: "has expired"},
		"no extension for others": {bound: podBound, audiences: []string{"vault"}, want: []string{"vault"}, lifetime: warnOnlyLifetime, after: 24 * time.Hour, err: "has expired"},
		"for others":              {audiences: []string{"vault"}, err: "is invalid for the target audiences"},
		"for others, asked so":    {audiences: []string{"vault"}, want: []string{"vault"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			clock := testclock.NewFakeClock(start)
			live := &objects{sa: sa, pod: pod, node: node, secret: secret}
			tokens, err := NewServiceAccountTokens(ServiceAccountOptions{Clock: clock, Issuer: "https://issuer", Key: key, Audiences: authenticator.Audiences{"https://issuer"}, Objects: live, Extend: !tc.exact})
			if err != nil {
				t.Fatal(err)
			}
			if tc.audiences == nil {
				tc.audiences = []string{"https://issuer"}
			}
			if tc.lifetime == 0 {
				tc.lifetime = time.Hour
			}
			token, end, err := tokens.Issue(context.Background(), sa, tc.bound, tc.audiences, tc.lifetime)
			if err != nil {
				t.Fatal(err)
			}
			if !end.Equal(start.Add(tc.lifetime)) {
				t.Errorf("ends %s", end)
			}
			clock.Step(tc.after)
			if tc.change != nil {
				tc.change(live)
			}
			ctx := context.Background()
			if tc.want != nil {
				ctx = authenticator.WithAudiences(ctx, tc.want)
			}
			resp, ok, err := tokens.AuthenticateToken(ctx, token)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want error with %q", err, tc.err)
				}
				return
			}
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if resp.User.GetName() != "system:serviceaccount:ns:app" || !slices.Equal(resp.User.GetGroups(), []string{"system:serviceaccounts", "system:serviceaccounts:ns"}) {
				t.Errorf("got %+v", resp.User)
			}
			for k, v := range tc.extra {
				if got := resp.User.GetExtra()[k]; !slices.Equal(got, []string{v}) {
					t.Errorf("extra %s = %q", k, got)
				}
			}
		})
	}
}

func TestForeignTokens(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", UID: "sa-1"}}
	build := func(issuer string, k *ecdsa.PrivateKey) *ServiceAccountTokens {
		s, err := NewServiceAccountTokens(ServiceAccountOptions{Clock: testclock.NewFakeClock(start), Issuer: issuer, Key: k, Objects: &objects{sa: sa}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ours := build("https://issuer", key)
	forged, _, err := build("https://issuer", forger).Issue(context.Background(), sa, kind.BoundObject{}, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := ours.AuthenticateToken(context.Background(), forged); ok || err == nil {
		t.Error("a forged token must be an error")
	}
	foreign, _, err := build("https://other", forger).Issue(context.Background(), sa, kind.BoundObject{}, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{foreign, "", "a.b.c", "..", "abcdef.0123456789abcdef", strings.Repeat("x", 1<<16)} {
		if _, ok, err := ours.AuthenticateToken(context.Background(), token); ok || err != nil {
			t.Errorf("%.20q: %v, %v; want no opinion", token, ok, err)
		}
	}
}

func TestDiscovery(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := NewServiceAccountTokens(ServiceAccountOptions{Issuer: "https://issuer", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Discovery("http://x"); err == nil {
		t.Error("an http URI must be refused")
	}
	d, err := tokens.Discovery("https://10.0.0.1:6443/openid/v1/jwks")
	if err != nil {
		t.Fatal(err)
	}
	get := func(h http.Handler, into any) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
		return w.Header().Get("Content-Type")
	}
	var config struct {
		Issuer string   `json:"issuer"`
		Algs   []string `json:"id_token_signing_alg_values_supported"`
	}
	if ct := get(d.Configuration, &config); ct != "application/json" || config.Issuer != "https://issuer" || !slices.Equal(config.Algs, []string{"ES256"}) {
		t.Errorf("%s %+v", ct, config)
	}
	var keys struct {
		Keys []map[string]string `json:"keys"`
	}
	if ct := get(d.Keys, &keys); ct != "application/jwk-set+json" || len(keys.Keys) != 1 || keys.Keys[0]["kty"] != "EC" || keys.Keys[0]["d"] != "" {
		t.Errorf("%s %+v", ct, keys)
	}
}

func BenchmarkCertificates(b *testing.B) {
	ca := newAuthority(b)
	leaf := ca.leaf(b, "ann", nil, start.Add(time.Hour))
	for name, options := range map[string]func() (x509.VerifyOptions, bool){
		"cached": ca.options,
		"verified": func() (x509.VerifyOptions, bool) { // another pool each time, so nothing is taken from the cache
			o, ok := ca.options()
			o.Roots = o.Roots.Clone()
			return o, ok
		},
	} {
		b.Run(name, func(b *testing.B) {
			c := newCertificates(options, testclock.NewFakeClock(start))
			req := request("/", leaf)
			for b.Loop() {
				if _, ok, err := c.AuthenticateRequest(req); !ok {
					b.Fatal(err)
				}
			}
		})
	}
}
