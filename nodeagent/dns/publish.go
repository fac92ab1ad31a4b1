package dns

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// The Service that pods' resolv.conf leads to, by the names that everyone expects.
const (
	ServiceNamespace = metav1.NamespaceSystem
	ServiceName      = "kube-dns"
	managedBy        = "dns.proa"
)

// ServiceIP returns the DNS service's address in a service CIDR: its 10th, as
// kubeadm chooses it.
func ServiceIP(serviceCIDR netip.Prefix) (netip.Addr, error) {
	ip := serviceCIDR.Masked().Addr()
	for range 10 {
		ip = ip.Next()
	}
	if !ip.IsValid() || !serviceCIDR.Contains(ip) {
		return netip.Addr{}, fmt.Errorf("service CIDR %s has no 10th address for the cluster's DNS: use a larger one", serviceCIDR)
	}
	return ip, nil
}

// desiredService is the DNS Service with the addresses ips, which has no
// selector: every node's server writes its own EndpointSlice.
func desiredService(ips []netip.Addr) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ServiceNamespace, Name: ServiceName,
			Labels: map[string]string{
				"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true",
			},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP,
			Ports: []corev1.ServicePort{
				{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53, TargetPort: intstr.FromInt32(53)},
				{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 53, TargetPort: intstr.FromInt32(53)},
			},
			// A pod's questions stay on its node, where a server answers.
			TrafficDistribution: ptr.To(corev1.ServiceTrafficDistributionPreferSameNode),
		},
	}
	for _, ip := range ips {
		svc.Spec.ClusterIPs = append(svc.Spec.ClusterIPs, ip.String())
		family := corev1.IPv4Protocol
		if ip.Is6() {
			family = corev1.IPv6Protocol
		}
		svc.Spec.IPFamilies = append(svc.Spec.IPFamilies, family)
	}
	svc.Spec.ClusterIP = svc.Spec.ClusterIPs[0]
	svc.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
	if len(ips) > 1 {
		svc.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
	}
	return svc
}

// desiredSlices are this node's EndpointSlices of the DNS Service, one per family
// of the addresses listened on. The Node owns them, so they go with it.
func desiredSlices(node *corev1.Node, listen []netip.AddrPort) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		var ip netip.AddrPort
		for _, l := range listen {
			if l.Addr().Is4() == (family == discoveryv1.AddressTypeIPv4) && !l.Addr().IsLoopback() {
				ip = l
				break
			}
		}
		if !ip.IsValid() {
			continue
		}
		port := int32(ip.Port())
		out = append(out, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: ServiceNamespace, Name: sliceName(node.Name, family == discoveryv1.AddressTypeIPv6),
				Labels: map[string]string{
					discoveryv1.LabelServiceName: ServiceName, discoveryv1.LabelManagedBy: managedBy, "k8s-app": "kube-dns",
				},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
			},
			AddressType: family,
			Endpoints: []discoveryv1.Endpoint{{
				Addresses: []string{ip.Addr().String()},
				NodeName:  ptr.To(node.Name),
				Conditions: discoveryv1.EndpointConditions{
					Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false),
				},
				Hints: &discoveryv1.EndpointHints{ForNodes: []discoveryv1.ForNode{{Name: node.Name}}},
			}},
			Ports: []discoveryv1.EndpointPort{
				{Name: ptr.To("dns"), Protocol: ptr.To(corev1.ProtocolUDP), Port: ptr.To(port)},
				{Name: ptr.To("dns-tcp"), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(port)},
			},
		})
	}
	return out
}

// sliceName is the name of a node's EndpointSlice of the DNS Service.
func sliceName(nodeName string, v6 bool) string {
	if v6 {
		return ServiceName + "-" + nodeName + "-v6"
	}
	return ServiceName + "-" + nodeName
}

// publisher keeps the Service and this node's EndpointSlices as desired.
type publisher struct {
	client     kubernetes.Interface
	lister     Lister
	clock      clock.Clock
	nodeName   string
	serviceIPs []netip.Addr // none: somebody else keeps the Service
	listen     []netip.AddrPort
	wake       chan struct{}
}

func (p *publisher) run(ctx context.Context) {
	logger := klog.FromContext(ctx)
	backoff := 250 * time.Millisecond
	for {
		var retry <-chan time.Time
		if err := p.sync(ctx); err == nil {
			backoff = 250 * time.Millisecond
		} else if ctx.Err() == nil {
			logger.V(2).Info("Publishing the DNS service failed; trying again", "err", err, "after", backoff)
			retry = p.clock.After(backoff)
			backoff = min(2*backoff, time.Minute)
		}
		select {
		case <-p.wake:
		case <-retry:
		case <-ctx.Done():
			return
		}
	}
}

func (p *publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *publisher) sync(ctx context.Context) error {
	if len(p.serviceIPs) > 0 {
		if err := p.syncService(ctx); err != nil {
			return err
		}
	}
	if p.nodeName == "" || len(p.listen) == 0 {
		return nil
	}
	have := map[string]*discoveryv1.EndpointSlice{}
	for _, s := range p.lister.Slices(ServiceNamespace, ServiceName) {
		have[s.Name] = s
	}
	node, err := p.client.CoreV1().Nodes().Get(ctx, p.nodeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("node %s: %w", p.nodeName, err)
	}
	slices := p.client.DiscoveryV1().EndpointSlices(ServiceNamespace)
	for _, want := range desiredSlices(node, p.listen) {
		old := have[want.Name]
		if old != nil && equality.Semantic.DeepEqual(old.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(old.Ports, want.Ports) &&
			equality.Semantic.DeepEqual(old.OwnerReferences, want.OwnerReferences) && includes(old.Labels, want.Labels) {
			continue
		}
		if old == nil {
			_, err = slices.Create(ctx, want, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				// The cache is behind, or it is not labelled as ours.
				if old, err = slices.Get(ctx, want.Name, metav1.GetOptions{}); err != nil {
					return err
				}
			}
		}
		if old != nil {
			want.ResourceVersion = old.ResourceVersion
			_, err = slices.Update(ctx, want, metav1.UpdateOptions{})
		}
		if err != nil {
			return fmt.Errorf("endpointslice %s/%s: %w", want.Namespace, want.Name, err)
		}
	}
	return nil
}

func (p *publisher) syncService(ctx context.Context) error {
	services := p.client.CoreV1().Services(ServiceNamespace)
	want := desiredService(p.serviceIPs)
	old := p.lister.Service(ServiceNamespace, ServiceName)
	if old == nil {
		_, err := services.Create(ctx, want, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil // the cache is behind; its event wakes us
		}
		if err != nil {
			return fmt.Errorf("service %s/%s: %w", want.Namespace, want.Name, err)
		}
		return nil
	}
	if len(old.Spec.Selector) > 0 {
		// Somebody runs a DNS server of their own behind this name.
		return nil
	}
	if old.Spec.ClusterIP != want.Spec.ClusterIP {
		klog.FromContext(ctx).Info("The DNS service has another address than expected; pods that were given the expected one have no DNS",
			"service", klog.KObj(old), "clusterIP", old.Spec.ClusterIP, "expected", want.Spec.ClusterIP,
			"mend", "kubectl -n "+ServiceNamespace+" delete service "+ServiceName)
		return nil
	}
	if samePorts(old.Spec.Ports, want.Spec.Ports) && includes(old.Labels, want.Labels) &&
		equality.Semantic.DeepEqual(old.Spec.TrafficDistribution, want.Spec.TrafficDistribution) {
		return nil
	}
	upd := old.DeepCopy()
	upd.Spec.Ports, upd.Spec.TrafficDistribution = want.Spec.Ports, want.Spec.TrafficDistribution
	if upd.Labels == nil {
		upd.Labels = map[string]string{}
	}
	for k, v := range want.Labels {
		upd.Labels[k] = v
	}
	if _, err := services.Update(ctx, upd, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("service %s/%s: %w", want.Namespace, want.Name, err)
	}
	return nil
}

func samePorts(a, b []corev1.ServicePort) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Protocol != b[i].Protocol || a[i].Port != b[i].Port {
			return false
		}
	}
	return true
}

func includes(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}
