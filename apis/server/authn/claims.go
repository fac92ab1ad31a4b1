package authn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	authjwt "k8s.io/apiserver/pkg/authentication/token/jwt"
	"k8s.io/klog/v2"
)

// privateClaims are the claims beyond RFC 7519's, under "kubernetes.io".
type privateClaims struct {
	Kubernetes kubernetesClaims `json:"kubernetes.io,omitempty"`
}

type kubernetesClaims struct {
	Namespace      string           `json:"namespace,omitempty"`
	ServiceAccount reference        `json:"serviceaccount,omitempty"`
	Pod            *reference       `json:"pod,omitempty"`
	Secret         *reference       `json:"secret,omitempty"`
	Node           *reference       `json:"node,omitempty"`
	WarnAfter      *jwt.NumericDate `json:"warnafter,omitempty"`
}

type reference struct {
	Name string    `json:"name,omitempty"`
	UID  types.UID `json:"uid,omitempty"`
}

// errInvalidated hides from the holder of a token why it no longer counts.
var errInvalidated = errors.New("service account token has been invalidated")

// check compares claims with the clock and with the live objects they name.
// Its errors are upstream's.
func (t *ServiceAccountTokens) check(ctx context.Context, now time.Time, public *jwt.Claims, private *privateClaims) (*serviceaccount.ServiceAccountInfo, error) {
	switch err := public.Validate(jwt.Expected{Time: now}); {
	case err == nil:
	case errors.Is(err, jwt.ErrExpired):
		return nil, errors.New("service account token has expired")
	case errors.Is(err, jwt.ErrNotValidYet):
		return nil, errors.New("service account token is not valid yet")
	case errors.Is(err, jwt.ErrIssuedInTheFuture):
		return nil, errors.New("service account token is issued in the future")
	default:
		return nil, fmt.Errorf("service account token claims could not be validated: %w", err)
	}
	// What was deleted longer ago than the leeway allows for clocks is gone.
	deadline := now.Add(-jwt.DefaultLeeway)
	k, get := private.Kubernetes, t.o.Objects
	log := klog.FromContext(ctx).V(4)

	sa, err := get.ServiceAccount(ctx, k.Namespace, k.ServiceAccount.Name)
	if err != nil {
		return nil, err
	}
	if sa.UID != k.ServiceAccount.UID {
		return nil, fmt.Errorf("service account UID (%s) does not match claim (%s)", sa.UID, k.ServiceAccount.UID)
	}
	if deleted(sa, deadline) {
		return nil, fmt.Errorf("service account %s/%s has been deleted", k.Namespace, k.ServiceAccount.Name)
	}
	info := &serviceaccount.ServiceAccountInfo{
		Namespace: k.Namespace, Name: k.ServiceAccount.Name, UID: string(k.ServiceAccount.UID),
		CredentialID: authjwt.CredentialIDForJTI(public.ID),
	}
	// bound says whether the object a token is bound to still is the one meant.
	bound := func(what, claim string, ref *reference, obj metav1.Object, err error) error {
		if err != nil {
			log.Info("Could not retrieve the object a token is bound to", "kind", what, "name", ref.Name, "serviceAccount", klog.KRef(k.Namespace, k.ServiceAccount.Name), "err", err)
			return errInvalidated
		}
		if obj.GetUID() != ref.UID {
			return fmt.Errorf("%s UID (%s) does not match service account %s ref claim (%s)", what, obj.GetUID(), claim, ref.UID)
		}
		if deleted(obj, deadline) {
			return errInvalidated
		}
		return nil
	}
	if ref := k.Secret; ref != nil {
		secret, err := get.Secret(ctx, k.Namespace, ref.Name)
		if err := bound("secret", "secret", ref, secret, err); err != nil {
			return nil, err
		}
	}
	if ref := k.Pod; ref != nil {
		pod, err := get.Pod(ctx, k.Namespace, ref.Name)
		if err := bound("pod", "pod", ref, pod, err); err != nil {
			return nil, err
		}
		info.PodName, info.PodUID = ref.Name, string(ref.UID)
	}
	if ref := k.Node; ref != nil {
		if k.Pod == nil { // otherwise it only tells where the pod runs
			node, err := get.Node(ctx, ref.Name)
			if err := bound("node", "node", ref, node, err); err != nil {
				return nil, err
			}
		}
		info.NodeName, info.NodeUID = ref.Name, string(ref.UID)
	}
	switch w := k.WarnAfter; {
	case w == nil || *w == 0:
	case now.After(w.Time()):
		t.o.Metrics.stale.WithContext(ctx).Inc()
		audit.AddAuditAnnotation(ctx, "authentication.k8s.io/stale-token",
			fmt.Sprintf("subject: %s, seconds after warning threshold: %d", public.Subject, now.Unix()-w.Time().Unix()))
	default:
		t.o.Metrics.valid.WithContext(ctx).Inc()
	}
	return info, nil
}

func deleted(o metav1.Object, before time.Time) bool {
	t := o.GetDeletionTimestamp()
	return t != nil && t.Time.Before(before)
}
