package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/transport"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// nodeDialer finds node agents through their Node objects and authenticates to
// them with the API server's client certificate (kind.NodeDialer).
type nodeDialer struct {
	client kubernetes.Interface
	config transport.TLSConfig

	once  sync.Once
	rt    http.RoundTripper
	err   error
	proxy *http.Transport
	dial  utilnet.DialFunc
}

func newNodeDialer(client kubernetes.Interface, o Options) *nodeDialer {
	d := &nodeDialer{client: client,
		config: transport.TLSConfig{CAFile: o.ClientCAFile, CertFile: o.KubeletClientCert, KeyFile: o.KubeletClientKey},
		proxy: utilnet.SetTransportDefaults(&http.Transport{
			DialContext: dial(o.NoDial),
			// Pods and services are reached by address; their certificates name neither.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec
		}),
		dial: dial(o.NoDial),
	}
	// Cluster addresses are reached directly, whatever proxy the environment names.
	d.proxy.Proxy = nil
	return d
}

// dial connects to anything but addresses in none.
func dial(none []netip.Prefix) utilnet.DialFunc {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if a, err := netip.ParseAddrPort(address); err == nil {
			for _, p := range none {
				if p.Contains(a.Addr()) {
					return nil, fmt.Errorf("%s belongs to a simulated node: nothing listens there", address)
				}
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
}

// NodeURL implements kind.NodeDialer: the first InternalIP, then ExternalIP, then
// hostname of the node, at its agent's port.
func (d *nodeDialer) NodeURL(ctx context.Context, name string) (*url.URL, http.RoundTripper, error) {
	node, err := d.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, nil, err
	}
	port := node.Status.DaemonEndpoints.KubeletEndpoint.Port
	if port == 0 {
		port = 10250
	}
	host := nodeAddress(node)
	if host == "" {
		return nil, nil, apierrors.NewServiceUnavailable(fmt.Sprintf("node %q has no address in status.addresses; is its agent running?", name))
	}
	d.once.Do(func() {
		d.rt, d.err = transport.New(&transport.Config{TLS: d.config, DialHolder: &transport.DialHolder{Dial: d.dial},
			Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }})
	})
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port)))}, d.rt, d.err
}

// ProxyTransport implements kind.NodeDialer.
func (d *nodeDialer) ProxyTransport() http.RoundTripper { return d.proxy }

func nodeAddress(node *corev1.Node) string {
	for _, want := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName} {
		for _, a := range node.Status.Addresses {
			if a.Type == want && a.Address != "" {
				return a.Address
			}
		}
	}
	return ""
}
