package core

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/registry/rest"
	netutils "k8s.io/utils/net"

	"proa/apis/kind"
)

// proxyMethods are the verbs that may be proxied.
func proxyMethods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions}
}

// podProxyREST sends HTTP requests to a port of a pod: pods/proxy.
type podProxyREST struct {
	pods  podGetter
	nodes kind.NodeDialer
}

// New implements rest.Storage.
func (r *podProxyREST) New() runtime.Object { return &corev1.PodProxyOptions{} }

// Destroy implements rest.Storage.
func (r *podProxyREST) Destroy() {}

// ConnectMethods implements rest.Connecter.
func (r *podProxyREST) ConnectMethods() []string { return proxyMethods() }

// NewConnectOptions implements rest.Connecter.
func (r *podProxyREST) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.PodProxyOptions{}, true, "path"
}

// Connect implements rest.Connecter; id is "name", "name:port" or "scheme:name:port".
func (r *podProxyREST) Connect(ctx context.Context, id string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.PodProxyOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %T", options)
	}
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(id)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", id))
	}
	pod, err := r.pods.get(ctx, name)
	if err != nil {
		return nil, err
	}
	location, err := podLocation(pod, scheme, port)
	if err != nil {
		return nil, err
	}
	return proxyTo(location, o.Path, r.nodes.ProxyTransport(), responder), nil
}

func proxyTo(location *url.URL, path string, transport http.RoundTripper, responder rest.Responder) http.Handler {
	location.Path = utilnet.JoinPreservingTrailingSlash(location.Path, path)
	return proxy.NewUpgradeAwareHandler(location, transport, true, false, proxy.NewErrorResponder(responder))
}

// podLocation is where a pod serves; without a port, its first container port.
func podLocation(p *corev1.Pod, scheme, port string) (*url.URL, error) {
	if port == "" {
		for i := range p.Spec.Containers {
			if ports := p.Spec.Containers[i].Ports; len(ports) > 0 {
				port = strconv.Itoa(int(ports[0].ContainerPort))
				break
			}
		}
	}
	address := podIP(p)
	// The API server must not be used to reach its own loopback or link-local addresses.
	if ip := netutils.ParseIPSloppy(address); ip == nil || !ip.IsGlobalUnicast() {
		return nil, apierrors.NewBadRequest("address not allowed")
	}
	u := &url.URL{Scheme: scheme, Host: address}
	switch {
	case port != "":
		u.Host = net.JoinHostPort(address, port)
	case strings.Contains(address, ":"):
		u.Host = "[" + address + "]"
	}
	return u, nil
}
