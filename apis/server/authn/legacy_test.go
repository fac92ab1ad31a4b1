package authn

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/client-go/kubernetes/fake"
	testclock "k8s.io/utils/clock/testing"
)

func TestLegacyTokens(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{
		"iss": legacyIssuer, "sub": "system:serviceaccount:ns:app",
		"kubernetes.io/serviceaccount/namespace": "ns", "kubernetes.io/serviceaccount/service-account.name": "app",
		"kubernetes.io/serviceaccount/service-account.uid": "sa-1", "kubernetes.io/serviceaccount/secret.name": "s",
	}
	gone := metav1.NewTime(start)
	tests := map[string]struct {
		claims   map[string]any
		change   func(*objects)
		audience string
		noLookup bool
		err      string
		label    string // of the secret afterwards
	}{
		"good":                     {label: "2026-01-01"},
		"of the account's list":    {change: func(o *objects) { o.sa.Secrets = []corev1.ObjectReference{{Name: "s"}} }, label: "2026-01-01"},
		"used today":               {change: func(o *objects) { o.secret.Labels = map[string]string{lastUsedLabel: "2026-01-01"} }},
		"used tomorrow":            {change: func(o *objects) { o.secret.Labels = map[string]string{lastUsedLabel: "2026-01-02"} }},
		"used long ago":            {change: func(o *objects) { o.secret.Labels = map[string]string{lastUsedLabel: "2025-01-02"} }, label: "2026-01-01"},
		"for others":               {audience: "vault", err: `token audiences ["api"] is invalid for the target audiences ["vault"]`},
		"secret gone":              {change: func(o *objects) { o.secret = nil }, err: "Token has been invalidated"},
		"secret being deleted":     {change: func(o *objects) { o.secret.DeletionTimestamp = &gone }, err: "Token has been invalidated"},
		"another token":            {change: func(o *objects) { o.secret.Data["token"] = []byte("x") }, err: "Token does not match server's copy"},
		"account made anew":        {change: func(o *objects) { o.sa.UID = "sa-2" }, err: "ServiceAccount UID (sa-2) does not match claim (sa-1)"},
		"account being deleted":    {change: func(o *objects) { o.sa.DeletionTimestamp = &gone }, err: "ServiceAccount ns/app has been deleted"},
		"marked invalid":           {change: func(o *objects) { o.secret.Labels = map[string]string{invalidSinceLabel: "2025-12-01"} }, err: "has been marked invalid", label: "2026-01-01"},
		"without looking":          {noLookup: true},
		"without looking, no name": {noLookup: true, claims: map[string]any{"kubernetes.io/serviceaccount/service-account.name": ""}, err: "serviceAccountName claim is missing"},
		"another subject":          {claims: map[string]any{"sub": "system:serviceaccount:ns:admin"}, err: "sub claim is invalid"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			all := map[string]any{}
			for _, m := range []map[string]any{claims, tc.claims} {
				for k, v := range m {
					all[k] = v
				}
			}
			token, err := jwt.Signed(signer).Claims(all).Serialize()
			if err != nil {
				t.Fatal(err)
			}
			live := &objects{
				sa:     &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", UID: "sa-1"}},
				secret: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "s-1"}, Data: map[string][]byte{"token": []byte(token)}},
			}
			client := fake.NewClientset(live.secret)
			if tc.change != nil {
				tc.change(live)
			}
			o := LegacyOptions{Clock: testclock.NewFakeClock(start), Keys: []crypto.PublicKey{key.Public()}, Audiences: authenticator.Audiences{"api"}, Client: client}
			if !tc.noLookup {
				o.Objects = live
			}
			l, err := NewLegacyTokens(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			if tc.audience != "" {
				ctx = authenticator.WithAudiences(ctx, authenticator.Audiences{tc.audience})
			}
			r, ok, err := l.AuthenticateToken(ctx, token)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v", err)
				}
			} else if !ok || err != nil || r.User.GetName() != "system:serviceaccount:ns:app" || r.User.GetUID() != "sa-1" {
				t.Errorf("%+v, %v, %v", r, ok, err)
			}
			s, err := client.CoreV1().Secrets("ns").Get(ctx, "s", metav1.GetOptions{})
			if err != nil || s.Labels[lastUsedLabel] != tc.label {
				t.Errorf("labels %v, %v", s.Labels, err)
			}
		})
	}
}

func TestWebhook(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		var review authenticationv1.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: review.Spec.Token == "good", User: authenticationv1.UserInfo{Username: "jane", Groups: []string{"a"}}}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(s.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \""+s.URL+"\"}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v1", "v1beta1"} {
		asked = 0
		a, err := NewWebhook(kubeconfig, version, time.Hour, authenticator.Audiences{"api"}, wait.Backoff{Duration: time.Millisecond, Steps: 1})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := who(t, a, "good"); got != "jane a" {
				t.Errorf("%s: %s", version, got)
			}
			if got := who(t, a, "bad"); got != "nobody" {
				t.Errorf("%s: %s", version, got)
			}
		}
		if asked != 2 {
			t.Errorf("%s: asked %d times", version, asked)
		}
	}
}
