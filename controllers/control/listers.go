package control

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Nodes is a client-go lister over the shared cache, for libraries that want one.
type Nodes struct {
	corelisters.NodeListerExpansion
	Reader client.Reader
}

// List returns the nodes that match.
func (l Nodes) List(selector labels.Selector) ([]*corev1.Node, error) {
	var list corev1.NodeList
	if err := l.Reader.List(context.Background(), &list, client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, err
	}
	out := make([]*corev1.Node, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

// Get returns one node.
func (l Nodes) Get(name string) (*corev1.Node, error) {
	node := &corev1.Node{}
	return node, l.Reader.Get(context.Background(), types.NamespacedName{Name: name}, node)
}

// Services is a client-go lister over the shared cache.
type Services struct {
	corelisters.ServiceListerExpansion
	Reader client.Reader
}

// List returns the services of all namespaces that match.
func (l Services) List(selector labels.Selector) ([]*corev1.Service, error) {
	return servicesIn{reader: l.Reader}.List(selector)
}

// Services returns the lister of one namespace.
func (l Services) Services(namespace string) corelisters.ServiceNamespaceLister {
	return servicesIn{reader: l.Reader, namespace: namespace}
}

type servicesIn struct {
	corelisters.ServiceNamespaceListerExpansion
	reader    client.Reader
	namespace string
}

func (l servicesIn) List(selector labels.Selector) ([]*corev1.Service, error) {
	var list corev1.ServiceList
	if err := l.reader.List(context.Background(), &list, client.InNamespace(l.namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, err
	}
	out := make([]*corev1.Service, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

func (l servicesIn) Get(name string) (*corev1.Service, error) {
	svc := &corev1.Service{}
	return svc, l.reader.Get(context.Background(), types.NamespacedName{Namespace: l.namespace, Name: name}, svc)
}
