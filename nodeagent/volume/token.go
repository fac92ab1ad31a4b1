package volume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// TokenRequester asks the API for a service account token.
type TokenRequester interface {
	RequestToken(ctx context.Context, namespace, serviceAccount string, request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error)
}

// ClientTokens is the TokenRequester over a client.
type ClientTokens struct{ Client kubernetes.Interface }

// RequestToken implements TokenRequester.
func (t ClientTokens) RequestToken(ctx context.Context, namespace, serviceAccount string, request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	return t.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount, request, metav1.CreateOptions{})
}

const (
	// maxTokenAge is when even a token that lives longer is renewed.
	maxTokenAge = 24 * time.Hour
	// tokenJitter spreads the renewals of many pods.
	tokenJitter = 10 * time.Second
	// tokenRetry is how soon a failed renewal is tried again.
	tokenRetry = 10 * time.Second
)

// tokens holds the pods' tokens and renews them at 80% of their life.
type tokens struct {
	requester TokenRequester
	clock     clock.PassiveClock

	mu   sync.Mutex
	held map[tokenKey]heldToken
}

type tokenKey struct {
	pod            types.UID
	serviceAccount string
	audience       string
	seconds        int64
}

type heldToken struct {
	token     string
	expires   time.Time
	refreshAt time.Time
}

func newTokens(r TokenRequester, c clock.PassiveClock) *tokens {
	return &tokens{requester: r, clock: c, held: map[tokenKey]heldToken{}}
}

// get returns a token for the pod and when to ask for the next one. If the
// renewal fails, the old token serves for as long as it is valid.
func (t *tokens) get(ctx context.Context, pod *v1.Pod, s *v1.ServiceAccountTokenProjection) (token string, refreshAt time.Time, err error) {
	if t.requester == nil {
		return "", time.Time{}, errors.New("no service account tokens: the node has no API to request them from")
	}
	seconds := int64(3600)
	if s.ExpirationSeconds != nil {
		seconds = *s.ExpirationSeconds
	}
	k := tokenKey{pod: pod.UID, serviceAccount: pod.Spec.ServiceAccountName, audience: s.Audience, seconds: seconds}
	t.mu.Lock()
	held, ok := t.held[k]
	t.mu.Unlock()
	now := t.clock.Now()
	if ok && now.Before(held.refreshAt) {
		return held.token, held.refreshAt, nil
	}

	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	answer, err := t.requester.RequestToken(ctx, pod.Namespace, pod.Spec.ServiceAccountName, request)
	if err != nil {
		switch {
		case !ok:
			return "", time.Time{}, fmt.Errorf("failed to fetch token: %w", err)
		case now.After(held.expires):
			return "", time.Time{}, fmt.Errorf("the token of service account %s/%s has expired and could not be renewed: %w", pod.Namespace, pod.Spec.ServiceAccountName, err)
		}
		klog.FromContext(ctx).Error(err, "Could not renew a service account token; the old one serves on", "pod", klog.KObj(pod), "expires", held.expires)
		return held.token, now.Add(tokenRetry), nil
	}
	held = heldToken{token: answer.Status.Token, expires: answer.Status.ExpirationTimestamp.Time}
	held.refreshAt = refreshTime(now, held.expires, seconds, time.Duration(rand.Int64N(int64(tokenJitter))))
	t.mu.Lock()
	t.held[k] = held
	t.mu.Unlock()
	return held.token, held.refreshAt, nil
}

// refreshTime is when a token is renewed: at 80% of the life that was asked
// for, counted from the end it got, and after a day at the latest; earlier by
// the jitter, but never at once.
func refreshTime(now, expires time.Time, seconds int64, jitter time.Duration) time.Time {
	life := time.Duration(seconds) * time.Second
	at := expires.Add(-life / 5)
	if oldest := expires.Add(-life).Add(maxTokenAge); at.After(oldest) {
		at = oldest
	}
	at = at.Add(-jitter)
	if soonest := now.Add(tokenRetry); at.Before(soonest) {
		at = soonest
	}
	return at
}

// forget drops the tokens of a pod.
func (t *tokens) forget(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.held {
		if k.pod == uid {
			delete(t.held, k)
		}
	}
}
