package authn

import (
	"context"
	"crypto/subtle"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/util/secrets"
	"k8s.io/cluster-bootstrap/util/tokens"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// bootstrapTokens authenticates <id>.<secret> against the Secret
// kube-system/bootstrap-token-<id>. It reads the one Secret on demand: such
// tokens are rare, and a cache of all Secrets would not be.
type bootstrapTokens struct {
	client kubernetes.Interface
	clock  clock.PassiveClock
}

func newBootstrapTokens(client kubernetes.Interface, c clock.PassiveClock) *bootstrapTokens {
	return &bootstrapTokens{client: client, clock: c}
}

// AuthenticateToken implements authenticator.Token.
func (b *bootstrapTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	id, secretPart, err := tokens.ParseToken(token)
	if err != nil {
		return nil, false, nil // another kind of token
	}
	secret, err := b.client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, bootstrapapi.BootstrapTokenSecretPrefix+id, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	refuse := func(why string) (*authenticator.Response, bool, error) {
		klog.FromContext(ctx).V(3).Info("Bootstrap secret matching bearer token refused", "secret", klog.KObj(secret), "reason", why)
		return nil, false, nil
	}
	switch {
	case secret.DeletionTimestamp != nil:
		return refuse("is deleted and awaiting removal")
	case secret.Type != bootstrapapi.SecretTypeBootstrapToken || secret.Data == nil:
		return refuse("has invalid type")
	case subtle.ConstantTimeCompare([]byte(secrets.GetData(secret, bootstrapapi.BootstrapTokenSecretKey)), []byte(secretPart)) != 1:
		return refuse("has invalid value for key " + bootstrapapi.BootstrapTokenSecretKey)
	case secrets.GetData(secret, bootstrapapi.BootstrapTokenIDKey) != id:
		return refuse("has invalid value for key " + bootstrapapi.BootstrapTokenIDKey)
	case secrets.HasExpired(secret, b.clock.Now()):
		return refuse("has expired")
	case secrets.GetData(secret, bootstrapapi.BootstrapTokenUsageAuthentication) != "true":
		return refuse("not marked " + bootstrapapi.BootstrapTokenUsageAuthentication + "=true")
	}
	groups, err := secrets.GetGroups(secret)
	if err != nil {
		return refuse("has invalid value for key " + bootstrapapi.BootstrapTokenExtraGroupsKey)
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: bootstrapapi.BootstrapUserPrefix + id, Groups: groups}}, true, nil
}
