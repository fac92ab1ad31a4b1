package main

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// The paths below which the one process serves its components' metrics, each
// from a registry of its own. Run alone, components serve /metrics on upstream's
// ports; the API server's own are at /metrics, the node agent's on port 10250.
const (
	schedulerMetricsPath   = "/metrics/scheduler"
	controllersMetricsPath = "/metrics/controllers"
)

// componentMetrics are the registries of a server's components.
type componentMetrics struct {
	scheduler *prometheus.Registry
	// controllers is set once the controllers exist.
	controllers atomic.Pointer[prometheus.Gatherer]
}

func newComponentMetrics() *componentMetrics {
	return &componentMetrics{scheduler: prometheus.NewRegistry()}
}

// handlers serve the metrics; the API server authorizes requests by path.
func (m *componentMetrics) handlers() map[string]http.Handler {
	controllers := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		if g := m.controllers.Load(); g != nil {
			return (*g).Gather()
		}
		return nil, nil
	})
	return map[string]http.Handler{
		schedulerMetricsPath:   promhttp.HandlerFor(m.scheduler, promhttp.HandlerOpts{}),
		controllersMetricsPath: promhttp.HandlerFor(controllers, promhttp.HandlerOpts{}),
	}
}
