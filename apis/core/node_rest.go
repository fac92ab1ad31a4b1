package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// nodeProxyREST sends HTTP requests to a node's agent: nodes/proxy.
type nodeProxyREST struct {
	nodes *kind.REST
	dial  kind.NodeDialer
}

func extendNode(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
	return nil, map[string]rest.Storage{"proxy": &nodeProxyREST{nodes: r, dial: d.Nodes}}, nil
}

// New implements rest.Storage.
func (r *nodeProxyREST) New() runtime.Object { return &corev1.NodeProxyOptions{} }

// Destroy implements rest.Storage.
func (r *nodeProxyREST) Destroy() {}

// ConnectMethods implements rest.Connecter.
func (r *nodeProxyREST) ConnectMethods() []string { return proxyMethods() }

// NewConnectOptions implements rest.Connecter.
func (r *nodeProxyREST) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.NodeProxyOptions{}, true, "path"
}

// Connect implements rest.Connecter; id is "name", "name:port" or "scheme:name:port".
func (r *nodeProxyREST) Connect(ctx context.Context, id string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.NodeProxyOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %T", options)
	}
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(id)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", id))
	}
	if _, err := r.nodes.Get(ctx, name, &metav1.GetOptions{}); err != nil {
		return nil, err
	}
	base, transport, err := r.dial.NodeURL(ctx, name)
	if err != nil {
		return nil, err
	}
	// The agent's own port is dialled as the API server; others as anyone would.
	location := &url.URL{Scheme: base.Scheme, Host: base.Host}
	if port != "" && port != base.Port() {
		ip := net.ParseIP(base.Hostname())
		if ip != nil && !ip.IsGlobalUnicast() {
			return nil, apierrors.NewBadRequest("address not allowed")
		}
		location.Scheme, location.Host = scheme, net.JoinHostPort(base.Hostname(), port)
		if location.Scheme == "" {
			location.Scheme = "http"
		}
		transport = r.dial.ProxyTransport()
	}
	if transport == nil {
		return nil, apierrors.NewInternalError(errors.New("no transport to nodes"))
	}
	return proxyTo(location, o.Path, transport, responder), nil
}
