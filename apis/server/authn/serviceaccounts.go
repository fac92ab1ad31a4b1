package authn

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
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
	// The discovery document has all keys.
	OtherKeys    []crypto.PublicKey
	OtherIssuers []string
	// Audiences are this server's.
	Audiences authenticator.Audiences
	// Objects finds what tokens are bound to.
	Objects Getter
	// MaxLifetime caps requested lifetimes; zero for no cap.
	MaxLifetime time.Duration
	// Extend lets the tokens of pods that ask for warnOnlyLifetime stay valid for longer.
	Extend  bool
	Metrics *Metrics
}

// ServiceAccountTokens issues and authenticates service-account tokens.
type ServiceAccountTokens struct {
	o        ServiceAccountOptions
	signer   jose.Signer
	verifier verifier
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
	if o.Metrics == nil {
		o.Metrics = uncounted()
	}
	switch {
	case o.Issuer == "":
		return nil, errors.New("service account tokens: no issuer given (--service-account-issuer)")
	case o.Key == nil:
		return nil, errors.New("service account tokens: no signing key given (--service-account-signing-key-file)")
	}
	keys := append([]crypto.PublicKey{o.Key.Public()}, o.OtherKeys...)
	v, err := newVerifier(append([]string{o.Issuer}, o.OtherIssuers...), keys)
	if err != nil {
		return nil, err
	}
	t := &ServiceAccountTokens{o: o, verifier: v}
	signing := v.keys[0]
	signing.Key = o.Key
	t.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: v.algs[0], Key: &signing}, nil)
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
	if t.o.Extend && lifetime == warnOnlyLifetime && private.Kubernetes.Pod != nil && containsAll(t.o.Audiences, audiences) {
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
	var public jwt.Claims
	var private privateClaims
	if ok, err := t.verifier.verify(token, &public, &private); !ok {
		return nil, false, err
	}
	audiences, err := t.o.Metrics.audiences(ctx, &public, t.o.Audiences)
	if err != nil {
		return nil, false, err
	}
	info, err := t.check(ctx, t.o.Clock.Now(), &public, &private)
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

func containsAll(set, want []string) bool {
	for _, w := range want {
		if !slices.Contains(set, w) {
			return false
		}
	}
	return true
}
