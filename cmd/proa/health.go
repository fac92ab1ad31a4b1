package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/component-base/metrics/legacyregistry"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// healthStop is how long requests may take that are under way at the end.
const healthStop = 2 * time.Second

// health serves what upstream's kube-controller-manager and kube-scheduler serve
// of themselves: /healthz, /livez and /readyz for everyone, /metrics for those
// whom the API says may. Its flags are the library's.
type health struct {
	program string
	serving *options.SecureServingOptions
	authn   *options.DelegatingAuthenticationOptions
	authz   *options.DelegatingAuthorizationOptions
	// metrics are those of the component.
	metrics *prometheus.Registry
}

// newHealth registers the flags; port is upstream's, and 0 by flag turns it off.
func newHealth(f *pflag.FlagSet, program string, port int) *health {
	h := &health{
		program: program, serving: options.NewSecureServingOptions(), metrics: prometheus.NewRegistry(),
		authn: options.NewDelegatingAuthenticationOptions(), authz: options.NewDelegatingAuthorizationOptions(),
	}
	// Without a directory the certificate is made in memory.
	h.serving.BindPort, h.serving.ServerCert.CertDirectory, h.serving.ServerCert.PairName = port, "", program
	h.authn.RemoteKubeConfigFileOptional, h.authz.RemoteKubeConfigFileOptional = true, true
	h.serving.AddFlags(f)
	h.authn.AddFlags(f)
	h.authz.AddFlags(f)
	return h
}

// start opens the port. The Component serves it.
func (h *health) start(context.Context) (Component, error) {
	if h.serving.BindPort == 0 {
		return nil, nil
	}
	if err := h.serving.MaybeDefaultWithSelfSignedCerts("localhost", nil, nil); err != nil {
		return nil, fmt.Errorf("--cert-dir: %w", err)
	}
	var info *genericapiserver.SecureServingInfo
	if err := h.serving.ApplyTo(&info); err != nil {
		return nil, fmt.Errorf("--bind-address %s, --secure-port %d: %w", h.serving.BindAddress, h.serving.BindPort, err)
	}
	var authn genericapiserver.AuthenticationInfo
	if err := h.authn.ApplyTo(&authn, info, nil); err != nil {
		return nil, fmt.Errorf("--authentication-kubeconfig: %w", err)
	}
	var authz genericapiserver.AuthorizationInfo
	if err := h.authz.ApplyTo(&authz); err != nil {
		return nil, fmt.Errorf("--authorization-kubeconfig: %w", err)
	}
	handler := genericapifilters.WithAuthorization(h.handler(), authz.Authorizer, scheme.Codecs)
	handler = genericapifilters.WithAuthentication(handler, authn.Authenticator, genericapifilters.Unauthorized(scheme.Codecs), nil, nil)
	handler = genericapifilters.WithRequestInfo(handler, &apirequest.RequestInfoFactory{})
	handler = genericapifilters.WithCacheControl(handler)
	return &healthServer{info: info, handler: handler}, nil
}

// handler is what is served, before anybody's rights are asked.
func (h *health) handler() http.Handler {
	m := mux.NewPathRecorderMux(h.program)
	healthz.InstallHandler(m)
	healthz.InstallLivezHandler(m)
	healthz.InstallReadyzHandler(m)
	all := prometheus.Gatherers{h.metrics, ctrlmetrics.Registry, legacyregistry.DefaultGatherer}
	// Two of the libraries count some of the same things under one name.
	m.Handle("/metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return m
}

// healthServer is the Component.
type healthServer struct {
	info    *genericapiserver.SecureServingInfo
	handler http.Handler
}

func (*healthServer) Name() string { return "health" }

// Run serves until ctx ends.
func (s *healthServer) Run(ctx context.Context) error {
	stopped, _, err := s.info.Serve(s.handler, healthStop, ctx.Done())
	if err != nil {
		return err
	}
	<-stopped
	return nil
}
