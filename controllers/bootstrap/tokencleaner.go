package bootstrap

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/util/secrets"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// TokenCleaner deletes bootstrap token Secrets when they expire. The cache holds
// only Secrets' metadata, so the few tokens are read from the API server.
type TokenCleaner struct {
	Client client.Client
	Live   client.Reader
	Now    func() time.Time
}

// SetupTokenCleaner registers the controller.
func SetupTokenCleaner(env *control.Env) error {
	return (&TokenCleaner{Client: env.Client(), Live: env.Live(), Now: env.Clock.Now}).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller with a manager.
func (t *TokenCleaner) SetupWithManager(m ctrl.Manager) error {
	token := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == metav1.NamespaceSystem && strings.HasPrefix(o.GetName(), bootstrapapi.BootstrapTokenSecretPrefix)
	})
	return ctrl.NewControllerManagedBy(m).Named("token-cleaner").
		For(&corev1.Secret{}, builder.OnlyMetadata, builder.WithPredicates(token)).Complete(t)
}

// Reconcile deletes one token or comes back when it expires.
func (t *TokenCleaner) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	if err := t.Live.Get(ctx, req.NamespacedName, &secret); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if secret.Type != bootstrapapi.SecretTypeBootstrapToken {
		return reconcile.Result{}, nil
	}
	left, expired := secrets.GetExpiration(&secret, t.Now())
	if !expired {
		return reconcile.Result{RequeueAfter: left}, nil // zero for a token without an end
	}
	klog.FromContext(ctx).V(3).Info("Deleting expired secret", "secret", klog.KObj(&secret))
	err := t.Client.Delete(ctx, &secret, client.Preconditions{UID: &secret.UID})
	if apierrors.IsConflict(err) {
		return reconcile.Result{}, nil // another one of that name by now
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
