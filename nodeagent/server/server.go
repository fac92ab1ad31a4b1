package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Options are what a Server needs. Fields without "Required" have defaults.
type Options struct {
	// Addr is where to listen; ":10250".
	Addr string
	// Listener is used in place of Addr if it is set.
	Listener net.Listener
	// TLS has the certificate, or GetCertificate for one that is rotated.
	// Client certificates are asked for, and verified by Authenticator.
	// Required.
	TLS *tls.Config
	// Authenticator and Authorizer decide on every request; see Delegated.
	// Required.
	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer
	// NodeName is the node that requests are authorized for. Required.
	NodeName string
	// Backend has the pods. Required.
	Backend Backend
	// Runtime has the containers. Required.
	Runtime Runtime
	// RootDir is on the filesystem that the node reports as its own; "/".
	RootDir string
	// Healthy says what is wrong with the agent, for /healthz. May be nil.
	Healthy func() error
	// Metrics is served at /metrics, ProbeMetrics at /metrics/probes. Each
	// may be nil.
	Metrics, ProbeMetrics prometheus.Gatherer
	// Config is served as JSON at /configz, below "kubeletconfig".
	Config any
	// SystemLogs is the directory served at /logs/; "" serves none.
	SystemLogs string
	Clock      clock.PassiveClock
}

// Server answers on the node's port. It is a component.
type Server struct {
	o       Options
	handler http.Handler
	node    *nodeReader
	ready   chan struct{}
}

// New checks the options and returns a server; Run works it.
func New(o Options) (*Server, error) {
	switch {
	case o.TLS == nil || (len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil && o.TLS.GetConfigForClient == nil):
		return nil, errors.New("node server: a TLS configuration with a certificate is required")
	case o.Authenticator == nil || o.Authorizer == nil:
		return nil, errors.New("node server: an authenticator and an authorizer are required: whoever reaches this port could run commands in containers")
	case o.Backend == nil || o.Runtime == nil || o.NodeName == "":
		return nil, errors.New("node server: backend, runtime and node name are required")
	}
	if o.Addr == "" {
		o.Addr = ":10250"
	}
	if o.RootDir == "" {
		o.RootDir = "/"
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	s := &Server{o: o, node: newNodeReader("/proc", o.Clock), ready: make(chan struct{})}
	s.handler = s.authenticated(s.routes())
	return s, nil
}

// Name names the component.
func (*Server) Name() string { return "node-server" }

// Ready is closed once the port is open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Handler is the server without its port and TLS, authentication included.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves until ctx is done. Streams and followed logs end with it.
func (s *Server) Run(ctx context.Context) error {
	listener := s.o.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.o.Addr); err != nil {
			return fmt.Errorf("node server: %w: give another port if this one is in use", err)
		}
	}
	config := s.o.TLS.Clone()
	config.ClientAuth = tls.RequestClientCert // verified by the authenticator
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         config,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          klog.NewStandardLogger("INFO"),
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	close(s.ready)
	select {
	case err := <-done:
		return fmt.Errorf("node server: %w", err)
	case <-ctx.Done():
	}
	// Requests see that ctx is done; what does not end by itself is cut off.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close()
	}
	<-done
	return nil
}

// routes is the one list of what is served.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /healthz/{check}", s.health)
	mux.HandleFunc("GET /configz", s.configz)
	mux.HandleFunc("GET /pods", s.pods)
	mux.HandleFunc("GET /runningpods/", s.runningPods)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	for _, method := range []string{"GET", "POST"} {
		for _, path := range []string{"{namespace}/{pod}/{container}", "{namespace}/{pod}/{uid}/{container}"} {
			mux.HandleFunc(method+" /exec/"+path, s.exec)
			mux.HandleFunc(method+" /attach/"+path, s.attach)
		}
		for _, path := range []string{"{namespace}/{pod}", "{namespace}/{pod}/{uid}"} {
			mux.HandleFunc(method+" /portForward/"+path, s.portForward)
		}
	}
	mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", s.run)
	mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", s.run)
	mux.HandleFunc("GET /stats/summary", s.statsSummary)
	mux.Handle("GET /metrics", gather(s.o.Metrics))
	mux.Handle("GET /metrics/probes", gather(s.o.ProbeMetrics))
	mux.HandleFunc("GET /metrics/resource", s.metricsResource)
	mux.HandleFunc("GET /metrics/cadvisor", s.metricsCadvisor)
	if s.o.SystemLogs != "" {
		mux.Handle("GET /logs/", http.StripPrefix("/logs/", http.FileServer(http.Dir(s.o.SystemLogs))))
	}
	return mux
}
