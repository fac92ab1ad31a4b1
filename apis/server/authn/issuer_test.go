package authn

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

// issuer is an OpenID provider on loopback.
type issuer struct {
	*httptest.Server
	signer jose.Signer
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := publicJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": "%s/keys"}`, i.URL, i.URL)
		case "/keys":
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(i.Close)
	if i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: jwk.KeyID}}, nil); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *issuer) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}))
}

func (i *issuer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.URL, "aud": "proa", "exp": time.Now().Add(time.Hour).Unix(), "sub": "jane"}
	for k, v := range claims {
		all[k] = v
	}
	token, err := jwt.Signed(i.signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// configuration is a structured configuration with one issuer, and what follows it.
func (i *issuer) configuration(mapping, more string) string {
	return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: %s
    audiences: [proa]
    certificateAuthority: %q
%s
%s`, i.URL, i.ca(), mapping, more)
}

const byClaim = `  claimMappings:
    username: {claim: sub, prefix: "one:"}`

const byExpression = `  claimMappings:
    username: {expression: '"two:" + claims.sub'}
    groups: {expression: 'claims.roles'}
    uid: {claim: sub}
    extra: [{key: example.org/tenant, valueExpression: claims.tenant}]
  claimValidationRules:
  - {expression: 'claims.tenant != "banned"', message: the tenant is banned}
  userValidationRules:
  - {expression: '!user.username.startsWith("system:")', message: reserved}`

func (j *JWT) wait(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); j.current.Load().healthy() != nil; {
		if time.Now().After(end) {
			t.Fatal(j.current.Load().healthy())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func who(t *testing.T, a authenticator.Token, token string) string {
	t.Helper()
	r, ok, err := a.AuthenticateToken(context.Background(), token)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case !ok:
		return "nobody"
	}
	return strings.TrimSpace(r.User.GetName() + " " + strings.Join(r.User.GetGroups(), ","))
}

func TestJWT(t *testing.T) {
	one, two := newIssuer(t), newIssuer(t)
	path := filepath.Join(t.TempDir(), "file")
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := one.configuration(byClaim, "anonymous: {enabled: true, conditions: [{path: /healthz}]}\n")
	rewrite(first)
	c, data, err := LoadAuthentication(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Anonymous; a == nil || !a.Enabled || len(a.Conditions) != 1 {
		t.Errorf("%+v", a)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	j, err := NewJWT(ctx, JWTOptions{Configuration: c, Data: data, Audiences: authenticator.Audiences{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	j.o.ReloadFile, j.interval, j.timeout = path, 10*time.Millisecond, 10*time.Second
	j.wait(t)
	check := func(when, token, want string) {
		t.Helper()
		if got := who(t, j, token); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	check("claim", one.token(t, nil), "one:jane")
	check("another audience", one.token(t, map[string]any{"aud": "x"}), "oidc: verify token: oidc: expected audience")
	check("expired", one.token(t, map[string]any{"exp": 1}), "token is expired")
	check("not configured", two.token(t, nil), "nobody")
	check("no JWT", "x", "nobody")

	const anonymous = "anonymous: {enabled: true, conditions: [{path: /healthz}]}\n"
	for text, want := range map[string]string{
		one.configuration(byClaim, ""):   "anonymous: Forbidden: changed from initial configuration file",
		one.configuration("", anonymous): "claim or expression is required",
		"kind: x":                        "",
		strings.Replace(first, "audiences: [proa]", "audience: [proa]", 1): "unknown field",
	} {
		rewrite(text)
		changed, err := j.reload(ctx)
		if changed || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, changed, err)
		}
	}
	check("after wrong files", one.token(t, nil), "one:jane")

	rewrite(two.configuration(byExpression, anonymous))
	if changed, err := j.reload(ctx); !changed || err != nil {
		t.Fatal(changed, err)
	}
	check("issuer gone", one.token(t, nil), "nobody")
	claims := func(more ...string) string {
		c := map[string]any{"roles": []string{"a", "b"}, "tenant": "t1"}
		for i := 0; i < len(more); i += 2 {
			c[more[i]] = more[i+1]
		}
		return two.token(t, c)
	}
	check("expression", claims(), "two:jane a,b")
	check("claim rule", claims("tenant", "banned"), "the tenant is banned")
	check("missing claim", two.token(t, nil), "error")
	r, _, err := j.AuthenticateToken(authenticator.WithAudiences(ctx, authenticator.Audiences{"api", "x"}), claims())
	if err != nil || r.User.GetUID() != "jane" || !slices.Equal(r.User.GetExtra()["example.org/tenant"], []string{"t1"}) || !slices.Equal(r.Audiences, []string{"api"}) {
		t.Errorf("%+v, %v", r, err)
	}

	// An issuer that does not answer takes nothing over.
	gone := newIssuer(t)
	gone.Close()
	j.timeout = 50 * time.Millisecond
	rewrite(gone.configuration(byClaim, anonymous))
	if changed, err := j.reload(ctx); changed || err == nil {
		t.Errorf("%v, %v", changed, err)
	}
	check("new issuer gone", claims(), "two:jane a,b")
}

func TestDisallowedIssuer(t *testing.T) {
	i := newIssuer(t)
	if _, err := ParseAuthentication([]byte(i.configuration(byClaim, "")), []string{i.URL}); err == nil || !strings.Contains(err.Error(), "URL must not overlap with disallowed issuers") {
		t.Errorf("got %v", err)
	}
	for _, version := range []string{"v1beta1", "v1alpha1"} {
		if _, err := ParseAuthentication([]byte(strings.Replace(i.configuration(byClaim, ""), "/v1", "/"+version, 1)), nil); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestOIDCFlags(t *testing.T) {
	i := newIssuer(t)
	ca := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(ca, []byte(i.ca()), 0o600); err != nil {
		t.Fatal(err)
	}
	base := OIDCFlags{IssuerURL: i.URL, ClientID: "proa", CAFile: ca, UsernameClaim: "sub", SigningAlgs: []string{"RS256"}}
	tests := map[string]struct {
		change func(*OIDCFlags)
		claims map[string]any
		want   string
	}{
		"defaults":          {want: i.URL + "#jane"},
		"no prefix":         {change: func(f *OIDCFlags) { f.UsernamePrefix = "-" }, want: "jane"},
		"prefix and groups": {change: func(f *OIDCFlags) { f.UsernamePrefix, f.GroupsClaim, f.GroupsPrefix = "u:", "roles", "g:" }, claims: map[string]any{"roles": []string{"a", "b"}}, want: "u:jane g:a,g:b"},
		"email":             {change: func(f *OIDCFlags) { f.UsernameClaim = "email" }, claims: map[string]any{"email": "j@x.org", "email_verified": true}, want: "j@x.org"},
		"unverified email":  {change: func(f *OIDCFlags) { f.UsernameClaim = "email" }, claims: map[string]any{"email": "j@x.org", "email_verified": false}, want: "email not verified"},
		"required claim":    {change: func(f *OIDCFlags) { f.RequiredClaims = map[string]string{"hd": "x.org"} }, want: "required claim hd not present"},
		"required, present": {change: func(f *OIDCFlags) { f.RequiredClaims = map[string]string{"hd": "x.org"} }, claims: map[string]any{"hd": "x.org"}, want: i.URL + "#jane"},
		"another algorithm": {change: func(f *OIDCFlags) { f.SigningAlgs = []string{"ES256"} }, want: "error"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := base
			if tc.change != nil {
				tc.change(&f)
			}
			c, err := f.Configuration()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			j, err := NewJWT(ctx, JWTOptions{Configuration: c, Algorithms: f.SigningAlgs})
			if err != nil {
				t.Fatal(err)
			}
			j.wait(t)
			if got := who(t, j, i.token(t, tc.claims)); got != tc.want && !strings.Contains(got, tc.want) {
				t.Errorf("got %q", got)
			}
		})
	}
	if _, err := (OIDCFlags{IssuerURL: i.URL}).Configuration(); err == nil {
		t.Error("an issuer without a client ID must be refused")
	}
}
