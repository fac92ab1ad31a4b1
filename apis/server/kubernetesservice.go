package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// KubernetesService keeps the default/kubernetes Service, its Endpoints and
// EndpointSlice, through which pods reach this API server.
type KubernetesService struct {
	// ClusterIP is the first address of the service range.
	ClusterIP netip.Addr
	// Address and Port are where this server is reached.
	Address net.IP
	Port    int
	// Interval is how often it is checked against meddling; 0 means a minute.
	Interval time.Duration
}

const kubernetesServiceName = "kubernetes"

// Start writes the objects once and then keeps them until ctx ends.
func (k KubernetesService) Start(ctx context.Context, loopback *rest.Config) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	if err := k.sync(ctx, client); err != nil {
		return fmt.Errorf("service default/%s: %w", kubernetesServiceName, err)
	}
	interval := k.Interval
	if interval == 0 {
		interval = time.Minute
	}
	go wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if err := k.sync(ctx, client); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not keep the kubernetes service")
		}
	}, interval, 0.1, false)
	return nil
}

func (k KubernetesService) sync(ctx context.Context, client kubernetes.Interface) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceDefault}}
	if _, err := client.CoreV1().Namespaces().Get(ctx, ns.Name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	if err := k.service(ctx, client); err != nil {
		return err
	}
	if k.Address.IsLoopback() {
		return nil // endpoints may not be loopback: only this machine reaches the server
	}
	if err := k.endpoints(ctx, client); err != nil {
		return err
	}
	return k.endpointSlice(ctx, client)
}

func (k KubernetesService) service(ctx context.Context, client kubernetes.Interface) error {
	services := client.CoreV1().Services(metav1.NamespaceDefault)
	_, err := services.Get(ctx, kubernetesServiceName, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	single := corev1.IPFamilyPolicySingleStack
	_, err = services.Create(ctx, &corev1.Service{
		ObjectMeta: k.meta(map[string]string{"provider": "kubernetes", "component": "apiserver"}),
		Spec: corev1.ServiceSpec{
			Ports:           []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt(k.Port)}},
			ClusterIP:       k.ClusterIP.String(),
			IPFamilyPolicy:  &single,
			SessionAffinity: corev1.ServiceAffinityNone,
			Type:            corev1.ServiceTypeClusterIP,
		},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (k KubernetesService) endpoints(ctx context.Context, client kubernetes.Interface) error {
	want := &corev1.Endpoints{ //nolint:staticcheck // clients still read it
		ObjectMeta: k.meta(map[string]string{discoveryv1.LabelSkipMirror: "true"}),
		Subsets: []corev1.EndpointSubset{{ //nolint:staticcheck
			Addresses: []corev1.EndpointAddress{{IP: k.Address.String()}},
			Ports:     []corev1.EndpointPort{{Name: "https", Port: int32(k.Port), Protocol: corev1.ProtocolTCP}},
		}},
	}
	endpoints := client.CoreV1().Endpoints(metav1.NamespaceDefault)
	have, err := endpoints.Get(ctx, kubernetesServiceName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = endpoints.Create(ctx, want, metav1.CreateOptions{})
	case err == nil && !equality.Semantic.DeepEqual(have.Subsets, want.Subsets):
		have.Subsets = want.Subsets
		_, err = endpoints.Update(ctx, have, metav1.UpdateOptions{})
	}
	return err
}

func (k KubernetesService) endpointSlice(ctx context.Context, client kubernetes.Interface) error {
	name, port, protocol, ready := "https", int32(k.Port), corev1.ProtocolTCP, true
	family := discoveryv1.AddressTypeIPv4
	if k.Address.To4() == nil {
		family = discoveryv1.AddressTypeIPv6
	}
	want := &discoveryv1.EndpointSlice{
		ObjectMeta:  k.meta(map[string]string{discoveryv1.LabelServiceName: kubernetesServiceName}),
		AddressType: family,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{k.Address.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}
	slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
	have, err := slices.Get(ctx, kubernetesServiceName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = slices.Create(ctx, want, metav1.CreateOptions{})
	case err == nil && (!equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) || !equality.Semantic.DeepEqual(have.Ports, want.Ports)):
		have.Endpoints, have.Ports = want.Endpoints, want.Ports
		_, err = slices.Update(ctx, have, metav1.UpdateOptions{})
	}
	return err
}

func (k KubernetesService) meta(labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: kubernetesServiceName, Namespace: metav1.NamespaceDefault, Labels: labels}
}
