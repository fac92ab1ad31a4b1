package authn

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	authjwt "k8s.io/apiserver/pkg/authentication/token/jwt"
	"k8s.io/utils/clock"

	"proa/apis/kind"
)

const (
	// warnOnlyLifetime is the lifetime that the ServiceAccount admission asks for in
	// the token volume it adds. Tokens asked for with exactly it, bound to a pod and
	// meant for this server stay valid for extendedLifetime, with warnings after it:
	// for clients that do not reload their token (KEP-1205).
	warnOnlyLifetime = (60*60 + 7) * time.Second
	extendedLifetime = 365 * 24 * time.Hour
)

// ServiceAccountOptions configure tokens.
type ServiceAccountOptions struct {
	Clock clock.PassiveClock
	// Issuer is the URL in "iss"; it should be https.
	Issuer string
	// Key signs; ECDSA (P-256, P-384, P-521) or RSA.
	Key crypto.Signer
	// OtherKeys are public keys that are accepted besides, and OtherIssuers likewise.
	OtherKeys    []crypto.PublicKey
	OtherIssuers []string
	// Audiences are this server's.
	Audiences authenticator.Audiences
	// Objects finds what tokens are bound to.
	Objects Getter
	// MaxLifetime caps requested lifetimes; zero for no cap.
	MaxLifetime time.Duration
}

// ServiceAccountTokens issues and authenticates service-account tokens.
type ServiceAccountTokens struct {
	o       ServiceAccountOptions
	signer  jose.Signer
	keys    []jose.JSONWebKey
	algs    []jose.SignatureAlgorithm
	issuers []string
}

var (
	_ kind.TokenIssuer    = &ServiceAccountTokens{}
	_ authenticator.Token = &ServiceAccountTokens{}
)

// NewServiceAccountTokens checks the keys and builds the issuer.
func NewServiceAccountTokens(o ServiceAccountOptions) (*ServiceAccountTokens, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	switch {
	case o.Issuer == "":
		return nil, errors.New("service account tokens: no issuer given (--service-account-issuer)")
	case o.Key == nil:
		return nil, errors.New("service account tokens: no signing key given (--service-account-signing-key-file)")
	}
	t := &ServiceAccountTokens{o: o, issuers: append([]string{o.Issuer}, o.OtherIssuers...)}
	for _, k := range append([]crypto.PublicKey{o.Key.Public()}, o.OtherKeys...) {
		jwk, err := publicJWK(k)
		if err != nil {
			return nil, err
		}
		t.keys = append(t.keys, jwk)
		t.algs = append(t.algs, jose.SignatureAlgorithm(jwk.Algorithm))
	}
	signing := t.keys[0]
	signing.Key = o.Key
	var err error
	t.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: t.algs[0], Key: &signing}, nil)
	if err != nil {
		return nil, fmt.Errorf("service account tokens: %w", err)
	}
	return t, nil
}

// MaxLifetime implements kind.TokenIssuer.
func (t *ServiceAccountTokens) MaxLifetime() time.Duration { return t.o.MaxLifetime }

// Issue implements kind.TokenIssuer. The returned end is the requested one, also
// where the token itself is good for longer (see warnOnlyLifetime).
func (t *ServiceAccountTokens) Issue(ctx context.Context, sa *corev1.ServiceAccount, bound kind.BoundObject, audiences []string, lifetime time.Duration) (string, time.Time, error) {
	now := t.o.Clock.Now()
	private := privateClaims{Kubernetes: kubernetesClaims{
		Namespace:      sa.Namespace,
		ServiceAccount: reference{Name: sa.Name, UID: sa.UID},
	}}
	ref := &reference{Name: bound.Ref.Name, UID: bound.Ref.UID}
	switch bound.Ref.Kind {
	case "":
	case "Pod":
		private.Kubernetes.Pod = ref
		if bound.NodeName != "" {
			private.Kubernetes.Node = &reference{Name: bound.NodeName, UID: bound.NodeUID}
		}
	case "Secret":
		private.Kubernetes.Secret = ref
	case "Node":
		private.Kubernetes.Node = ref
	default:
		return "", time.Time{}, fmt.Errorf("cannot bind a token to a %s: only Pod, Secret and Node", bound.Ref.Kind)
	}
	end := now.Add(lifetime)
	expiry := end
	if lifetime == warnOnlyLifetime && private.Kubernetes.Pod != nil && containsAll(t.o.Audiences, audiences) {
		private.Kubernetes.WarnAfter = jwt.NewNumericDate(end)
		expiry = now.Add(extendedLifetime)
	}
	public := jwt.Claims{
		ID:        string(uuid.NewUUID()),
		Issuer:    t.o.Issuer,
		Subject:   serviceaccount.MakeUsername(sa.Namespace, sa.Name),
		Audience:  jwt.Audience(audiences),
		IssuedAt:  jwt.NewNumericDate(now),
		NotBefore: jwt.NewNumericDate(now),
		Expiry:    jwt.NewNumericDate(expiry),
	}
	token, err := jwt.Signed(t.signer).Claims(private).Claims(public).Serialize()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign service account token: %w", err)
	}
	audit.AddAuditAnnotation(ctx, serviceaccount.IssuedCredentialIDAuditAnnotationKey, authjwt.CredentialIDForJTI(public.ID))
	return token, end, nil
}

// AuthenticateToken implements authenticator.Token.
func (t *ServiceAccountTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	if !slices.Contains(t.issuers, issuerOf(token)) {
		return nil, false, nil // some other issuer's, or no JWT at all
	}
	parsed, err := jwt.ParseSigned(token, t.algs)
	if err != nil {
		return nil, false, nil
	}
	var (
		public  jwt.Claims
		private privateClaims
		failed  []error
		found   bool
	)
	for _, k := range t.keys {
		if id := keyID(parsed); id != "" && id != k.KeyID {
			continue
		}
		if err := parsed.Claims(k.Key, &public, &private); err != nil {
			failed = append(failed, err)
			continue
		}
		found = true
		break
	}
	if !found {
		if len(failed) == 0 {
			return nil, false, errors.New("invalid signature, no keys found")
		}
		return nil, false, utilerrors.NewAggregate(failed)
	}
	if !slices.Contains(t.issuers, public.Issuer) {
		return nil, false, fmt.Errorf("token issuer %q is invalid", public.Issuer)
	}
	tokenAudiences := authenticator.Audiences(public.Audience)
	if len(tokenAudiences) == 0 {
		tokenAudiences = t.o.Audiences
	}
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = t.o.Audiences
	}
	audiences := tokenAudiences.Intersect(wanted)
	if len(audiences) == 0 && len(t.o.Audiences) != 0 {
		return nil, false, fmt.Errorf("token audiences %q is invalid for the target audiences %q", tokenAudiences, wanted)
	}
	info, err := check(ctx, t.o.Objects, t.o.Clock.Now(), &public, &private)
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

// issuerOf reads "iss" without checking anything; empty if token is no JWT.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

func containsAll(set, want []string) bool {
	for _, w := range want {
		if !slices.Contains(set, w) {
			return false
		}
	}
	return true
}

// keyID is the token's hint at the key that signed it; empty without one.
func keyID(t *jwt.JSONWebToken) string {
	for _, h := range t.Headers {
		if h.KeyID != "" {
			return h.KeyID
		}
	}
	return ""
}
