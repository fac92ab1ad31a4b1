package core

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// serviceProxyREST sends HTTP requests to a pod behind a service: services/proxy.
type serviceProxyREST struct {
	services *kind.REST
	deps     *kind.Deps
}

// New implements rest.Storage.
func (r *serviceProxyREST) New() runtime.Object { return &corev1.ServiceProxyOptions{} }

// Destroy implements rest.Storage.
func (r *serviceProxyREST) Destroy() {}

// ConnectMethods implements rest.Connecter.
func (r *serviceProxyREST) ConnectMethods() []string { return proxyMethods() }

// NewConnectOptions implements rest.Connecter.
func (r *serviceProxyREST) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.ServiceProxyOptions{}, true, "path"
}

// Connect implements rest.Connecter; id is "name", "name:port" or
// "scheme:name:port", the port by name or number.
func (r *serviceProxyREST) Connect(ctx context.Context, id string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.ServiceProxyOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %T", options)
	}
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(id)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", id))
	}
	if number, err := strconv.ParseInt(port, 10, 64); err == nil {
		if port, err = r.portName(ctx, name, number); err != nil {
			return nil, err
		}
	}
	host, err := r.endpoint(ctx, name, port)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", id))
	}
	return proxyTo(&url.URL{Scheme: scheme, Host: host}, o.Path, r.deps.Nodes.ProxyTransport(), responder), nil
}

func (r *serviceProxyREST) portName(ctx context.Context, service string, number int64) (string, error) {
	obj, err := r.services.Get(ctx, service, &metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if s, ok := obj.(*corev1.Service); ok {
		for _, p := range s.Spec.Ports {
			if int64(p.Port) == number {
				return p.Name, nil
			}
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, service))
}

// endpoint picks an address of the port, at random; "" if there is none.
func (r *serviceProxyREST) endpoint(ctx context.Context, service, port string) (string, error) {
	store := r.deps.StoreOf(corev1.Resource("endpoints"))
	if store == nil {
		return "", apierrors.NewServiceUnavailable("endpoints are not served")
	}
	obj, err := store.Get(ctx, service, &metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	e, ok := obj.(*corev1.Endpoints)
	if !ok {
		return "", apierrors.NewInternalError(fmt.Errorf("endpoints storage holds a %T", obj))
	}
	if len(e.Subsets) == 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", service))
	}
	for _, i := range rand.Perm(len(e.Subsets)) {
		s := &e.Subsets[i]
		for _, p := range s.Ports {
			if p.Name != port {
				continue
			}
			for _, j := range rand.Perm(len(s.Addresses)) {
				if a := &s.Addresses[j]; r.isPod(ctx, a) {
					return net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))), nil
				}
			}
		}
	}
	return "", nil
}

// isPod: requests go to pods only, for who writes endpoints could else reach
// whatever the API server can.
func (r *serviceProxyREST) isPod(ctx context.Context, a *corev1.EndpointAddress) bool {
	pods := r.deps.StoreOf(corev1.Resource("pods"))
	if pods == nil || a.TargetRef == nil || a.TargetRef.Namespace != request.NamespaceValue(ctx) {
		return false
	}
	obj, err := pods.Get(ctx, a.TargetRef.Name, &metav1.GetOptions{})
	if err != nil {
		return false
	}
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return false
	}
	for _, ip := range p.Status.PodIPs {
		if ip.IP == a.IP {
			return true
		}
	}
	return false
}
