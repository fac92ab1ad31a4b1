package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// accountIndex finds token Secrets by <namespace>/<account>.
const accountIndex = "account"

// Lister finds token Secrets; what it returns must not be changed.
type Lister interface {
	// Get returns nil if there is none.
	Get(namespace, name string) *corev1.Secret
	// Of lists those of an account.
	Of(namespace, account string) []*corev1.Secret
}

// informer watches token Secrets and no others, whose content no cache shall
// hold. It is a Runnable of the manager.
type informer struct{ cache.SharedIndexInformer }

func newInformer(kube kubernetes.Interface) informer {
	selected := fields.OneTermEqualSelector("type", string(corev1.SecretTypeServiceAccountToken))
	lw := cache.NewListWatchFromClient(kube.CoreV1().RESTClient(), "secrets", "", selected)
	return informer{cache.NewSharedIndexInformer(lw, &corev1.Secret{}, 0, cache.Indexers{accountIndex: byAccount})}
}

func byAccount(o any) ([]string, error) {
	if s, ok := o.(*corev1.Secret); ok && s.Type == corev1.SecretTypeServiceAccountToken {
		return []string{s.Namespace + "/" + s.Annotations[corev1.ServiceAccountNameKey]}, nil
	}
	return nil, nil
}

// Start implements manager.Runnable.
func (i informer) Start(ctx context.Context) error {
	i.RunWithContext(ctx)
	return nil
}

// Get implements Lister.
func (i informer) Get(namespace, name string) *corev1.Secret {
	return get(i.GetIndexer(), namespace, name)
}

// Of implements Lister.
func (i informer) Of(namespace, account string) []*corev1.Secret {
	return of(i.GetIndexer(), namespace, account)
}

func get(from cache.Indexer, namespace, name string) *corev1.Secret {
	o, _, err := from.GetByKey(namespace + "/" + name)
	if s, ok := o.(*corev1.Secret); ok && err == nil {
		return s
	}
	return nil
}

func of(from cache.Indexer, namespace, account string) []*corev1.Secret {
	all, err := from.ByIndex(accountIndex, namespace+"/"+account)
	if err != nil {
		return nil
	}
	var out []*corev1.Secret
	for _, o := range all {
		if s, ok := o.(*corev1.Secret); ok {
			out = append(out, s)
		}
	}
	return out
}
