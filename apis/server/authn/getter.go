package authn

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// Getter finds the objects that tokens are bound to.
type Getter interface {
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
	Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	Node(ctx context.Context, name string) (*corev1.Node, error)
}

// NewGetter reads service accounts, pods and nodes from the shared informers and
// asks the API only for what they do not have (yet); secrets always from the API.
func NewGetter(f informers.SharedInformerFactory, client kubernetes.Interface) Getter {
	return &getter{
		accounts: f.Core().V1().ServiceAccounts().Lister(),
		pods:     f.Core().V1().Pods().Lister(),
		nodes:    f.Core().V1().Nodes().Lister(),
		client:   client,
	}
}

type getter struct {
	accounts corelisters.ServiceAccountLister
	pods     corelisters.PodLister
	nodes    corelisters.NodeLister
	client   kubernetes.Interface
}

func (g *getter) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	if o, err := g.accounts.ServiceAccounts(namespace).Get(name); err == nil {
		return o, nil
	}
	return g.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (g *getter) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	if o, err := g.pods.Pods(namespace).Get(name); err == nil {
		return o, nil
	}
	return g.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (g *getter) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return g.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (g *getter) Node(ctx context.Context, name string) (*corev1.Node, error) {
	if o, err := g.nodes.Get(name); err == nil {
		return o, nil
	}
	return g.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
}
