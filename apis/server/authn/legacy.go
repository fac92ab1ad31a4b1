package authn

import (
	"context"
	"crypto"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/warning"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// legacyIssuer signs the tokens in Secrets of type kubernetes.io/service-account-token.
	legacyIssuer = "kubernetes/serviceaccount"
	// The labels of such Secrets: the day of the last use, and the day since which
	// the legacy-service-account-token-cleaner controller lets nobody use it.
	lastUsedLabel     = "kubernetes.io/legacy-token-last-used"
	invalidSinceLabel = "kubernetes.io/legacy-token-invalid-since"
)

// legacyClaims are the claims beyond RFC 7519's.
type legacyClaims struct {
	Account   string    `json:"kubernetes.io/serviceaccount/service-account.name"`
	UID       types.UID `json:"kubernetes.io/serviceaccount/service-account.uid"`
	Secret    string    `json:"kubernetes.io/serviceaccount/secret.name"`
	Namespace string    `json:"kubernetes.io/serviceaccount/namespace"`
}

// LegacyOptions configure legacy tokens.
type LegacyOptions struct {
	Clock clock.PassiveClock
	// Keys are the public keys whose tokens count.
	Keys []crypto.PublicKey
	// Audiences are this server's; legacy tokens are for it alone.
	Audiences authenticator.Audiences
	// Objects finds accounts and secrets, Client labels the secrets. Without
	// Objects a signature is enough.
	Objects Getter
	Client  kubernetes.Interface
	Metrics *Metrics
}

// LegacyTokens authenticates the tokens without end that Secrets hold.
type LegacyTokens struct {
	o        LegacyOptions
	verifier verifier
}

var _ authenticator.Token = &LegacyTokens{}

// NewLegacyTokens checks the keys.
func NewLegacyTokens(o LegacyOptions) (*LegacyTokens, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Metrics == nil {
		o.Metrics = uncounted()
	}
	v, err := newVerifier([]string{legacyIssuer}, o.Keys)
	if err != nil {
		return nil, err
	}
	return &LegacyTokens{o, v}, nil
}

// AuthenticateToken implements authenticator.Token.
func (l *LegacyTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	var public jwt.Claims
	var private legacyClaims
	if ok, err := l.verifier.verify(token, &public, &private); !ok {
		return nil, false, err
	}
	audiences, err := l.o.Metrics.audiences(ctx, &public, l.o.Audiences)
	if err != nil {
		return nil, false, err
	}
	switch {
	case public.Subject == "":
		return nil, false, errors.New("sub claim is missing")
	case private.Namespace == "":
		return nil, false, errors.New("namespace claim is missing")
	case private.Secret == "":
		return nil, false, errors.New("secretName claim is missing")
	case private.Account == "":
		return nil, false, errors.New("serviceAccountName claim is missing")
	case private.UID == "":
		return nil, false, errors.New("serviceAccountUID claim is missing")
	case public.Subject != serviceaccount.MakeUsername(private.Namespace, private.Account):
		return nil, false, errors.New("sub claim is invalid")
	}
	if l.o.Objects != nil {
		if err := l.check(ctx, token, &private); err != nil {
			return nil, false, err
		}
	}
	info := serviceaccount.ServiceAccountInfo{Namespace: private.Namespace, Name: private.Account, UID: string(private.UID)}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

// check compares the claims with the live secret and account; its errors are upstream's.
func (l *LegacyTokens) check(ctx context.Context, token string, c *legacyClaims) error {
	secret, err := l.o.Objects.Secret(ctx, c.Namespace, c.Secret)
	if err != nil || secret.DeletionTimestamp != nil {
		klog.FromContext(ctx).V(4).Info("Secret of a legacy token is gone", "secret", klog.KRef(c.Namespace, c.Secret), "err", err)
		return errors.New("Token has been invalidated") //nolint:staticcheck // upstream's words
	}
	if subtle.ConstantTimeCompare(secret.Data[corev1.ServiceAccountTokenKey], []byte(token)) == 0 {
		return errors.New("Token does not match server's copy") //nolint:staticcheck // upstream's words
	}
	account, err := l.o.Objects.ServiceAccount(ctx, c.Namespace, c.Account)
	if err != nil {
		return err
	}
	if account.DeletionTimestamp != nil {
		return fmt.Errorf("ServiceAccount %s/%s has been deleted", c.Namespace, c.Account)
	}
	if account.UID != c.UID {
		return fmt.Errorf("ServiceAccount UID (%s) does not match claim (%s)", account.UID, c.UID)
	}
	defer l.stamp(ctx, secret)
	if secret.Labels[invalidSinceLabel] != "" {
		audit.AddAuditAnnotation(ctx, "authentication.k8s.io/legacy-token-invalidated", secret.Name+"/"+secret.Namespace)
		l.o.Metrics.invalidated.WithContext(ctx).Inc()
		return fmt.Errorf("the token in secret %s/%s for service account %s/%s has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '%s' label from the secret to temporarily allow use of this token",
			c.Namespace, c.Secret, c.Namespace, c.Account, invalidSinceLabel)
	}
	if slices.ContainsFunc(account.Secrets, func(r corev1.ObjectReference) bool { return r.Name == secret.Name }) {
		warning.AddWarning(ctx, "", "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.")
		audit.AddAuditAnnotation(ctx, "authentication.k8s.io/legacy-token-autogenerated-secret", secret.Name)
		l.o.Metrics.auto.WithContext(ctx).Inc()
		return nil
	}
	audit.AddAuditAnnotation(ctx, "authentication.k8s.io/legacy-token-manual-secret", secret.Name)
	l.o.Metrics.manual.WithContext(ctx).Inc()
	return nil
}

// stamp writes the day of use to the secret's label, unless another server, whose
// clock may be ahead, did.
func (l *LegacyTokens) stamp(ctx context.Context, secret *corev1.Secret) {
	now := l.o.Clock.Now().UTC()
	today := now.Format("2006-01-02")
	if last := secret.Labels[lastUsedLabel]; last == today || last == now.AddDate(0, 0, 1).Format("2006-01-02") {
		return
	}
	patch, err := json.Marshal(applycorev1.Secret(secret.Name, secret.Namespace).WithUID(secret.UID).WithLabels(map[string]string{lastUsedLabel: today}))
	if err == nil {
		_, err = l.o.Client.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "Failed to label legacy service account token with last-used date", "secret", klog.KObj(secret))
	}
}

// audiences are those of the token's that the request may be for.
func (m *Metrics) audiences(ctx context.Context, public *jwt.Claims, own authenticator.Audiences) (authenticator.Audiences, error) {
	of := authenticator.Audiences(public.Audience)
	if len(of) == 0 {
		audit.AddAuditAnnotation(ctx, "authentication.k8s.io/legacy-token", public.Subject)
		m.legacy.WithContext(ctx).Inc()
		of = own
	}
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = own
	}
	out := of.Intersect(wanted)
	if len(out) == 0 && len(own) != 0 {
		return nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", of, wanted)
	}
	return out, nil
}
