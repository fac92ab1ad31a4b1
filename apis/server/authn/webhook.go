package authn

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
)

// NewWebhook asks a server about tokens with TokenReviews of the version
// ("v1", "v1beta1"). The kubeconfig file says where it is; what it answers counts
// for ttl, whether it knows the token or not.
func NewWebhook(kubeconfig, version string, ttl time.Duration, audiences authenticator.Audiences, backoff wait.Backoff) (authenticator.Token, error) {
	client, err := webhookutil.LoadKubeconfig(kubeconfig, nil)
	if err != nil {
		return nil, err
	}
	w, err := webhook.New(client, version, audiences, backoff)
	if err != nil {
		return nil, err
	}
	return cache.New(w, false, ttl, ttl), nil
}
