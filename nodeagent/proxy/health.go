package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// serviceHealth answers load balancers on the healthCheckNodePorts of Services
// with external traffic policy Local: 200 where this node has an endpoint, 503
// where not (KEP-1669 and the Service API's documentation).
type serviceHealth struct {
	listen  func(port int32) (net.Listener, error)
	healthy func() bool

	mu    sync.Mutex
	ports map[int32]*healthPort
}

type healthPort struct {
	namespace, name string
	local           int
	server          *http.Server // nil: the port could not be bound
	told            bool
}

func newServiceHealth(healthy func() bool) *serviceHealth {
	return &serviceHealth{
		listen:  func(port int32) (net.Listener, error) { return net.Listen("tcp", fmt.Sprintf(":%d", port)) },
		healthy: healthy,
		ports:   map[int32]*healthPort{},
	}
}

// healthService is one Service with a healthCheckNodePort.
type healthService struct {
	Namespace, Name string
	LocalEndpoints  int
}

// sync makes the served ports those of want.
func (h *serviceHealth) sync(ctx context.Context, want map[int32]healthService) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for port, p := range h.ports {
		if s, ok := want[port]; !ok || s.Namespace != p.namespace || s.Name != p.name {
			if p.server != nil {
				p.server.Close()
			}
			delete(h.ports, port)
		}
	}
	for port, s := range want {
		p := h.ports[port]
		if p == nil {
			p = &healthPort{namespace: s.Namespace, name: s.Name}
			h.ports[port] = p
		}
		p.local = s.LocalEndpoints
		if p.server == nil {
			h.start(ctx, port, p)
		}
	}
}

func (h *serviceHealth) start(ctx context.Context, port int32, p *healthPort) {
	logger := klog.FromContext(ctx)
	l, err := h.listen(port)
	if err != nil {
		// Upstream's event FailedToStartServiceHealthcheck says the same.
		if p.told {
			return
		}
		p.told = true
		logger.Error(err, "Cannot answer health checks of a service; free the port", "service", p.namespace+"/"+p.name, "healthCheckNodePort", port)
		return
	}
	p.server = &http.Server{Handler: h.handler(port), ReadHeaderTimeout: 10 * time.Second}
	go func(s *http.Server) {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error(err, "Answering health checks ended", "healthCheckNodePort", port)
		}
	}(p.server)
}

func (h *serviceHealth) handler(port int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.mu.Lock()
		p := h.ports[port]
		if p == nil {
			h.mu.Unlock()
			http.Error(w, "no such service", http.StatusServiceUnavailable)
			return
		}
		namespace, name, local := p.namespace, p.name, p.local
		h.mu.Unlock()
		healthy := h.healthy()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(local))
		if local == 0 || !healthy {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"service":             map[string]string{"namespace": namespace, "name": name},
			"localEndpoints":      local,
			"serviceProxyHealthy": healthy,
		})
	})
}

func (h *serviceHealth) close() { h.sync(context.Background(), nil) }

// healthz answers for the proxy itself: whether its rules are up to date.
func (p *Proxy) healthz(w http.ResponseWriter, _ *http.Request) {
	now := p.opts.Clock.Now()
	updated, healthy := p.health()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"lastUpdated": updated, "currentTime": now, "nodeEligible": true})
}

// serveHealthz serves on addr until ctx is done.
func (p *Proxy) serveHealthz(ctx context.Context, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("proxy: health address: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", p.healthz)
	mux.HandleFunc("/livez", p.healthz)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		s.Close()
	}()
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			klog.FromContext(ctx).Error(err, "Serving health ended")
		}
	}()
	return nil
}
