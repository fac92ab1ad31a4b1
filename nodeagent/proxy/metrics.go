package proxy

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are kube-proxy's, by name and meaning.
type metrics struct {
	sync, syncFull, syncPartial, programming *prometheus.HistogramVec
	lastSync, lastQueued                     *prometheus.GaugeVec
	failures, cleanupFailures                *prometheus.CounterVec
	noLocal                                  *prometheus.GaugeVec
	serviceChanges, endpointChanges          prometheus.Counter
	deletedFlows                             *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kubeproxy_" + name, Help: help, Buckets: buckets}, []string{"ip_family"})
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kubeproxy_" + name, Help: help}, labels)
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubeproxy_" + name, Help: help}, []string{"ip_family"})
	}
	buckets := prometheus.ExponentialBuckets(0.001, 2, 15)
	m := &metrics{
		sync:        histogram("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", buckets),
		syncFull:    histogram("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs", buckets),
		syncPartial: histogram("sync_partial_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for partial resyncs", buckets),
		programming: histogram("network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds",
			[]float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10, 30, 60, 120, 300}),
		lastSync:        gauge("sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced", "ip_family"),
		lastQueued:      gauge("sync_proxy_rules_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued", "ip_family"),
		failures:        counter("sync_proxy_rules_nftables_sync_failures_total", "Cumulative proxy nftables sync failures"),
		cleanupFailures: counter("sync_proxy_rules_nftables_cleanup_failures_total", "Cumulative proxy nftables cleanup failures"),
		noLocal: gauge("sync_proxy_rules_no_local_endpoints_total",
			"Number of services with a Local traffic policy and no endpoints", "traffic_policy", "ip_family"),
		serviceChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubeproxy_sync_proxy_rules_service_changes_total", Help: "Cumulative proxy rules Service changes"}),
		endpointChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubeproxy_sync_proxy_rules_endpoint_changes_total", Help: "Cumulative proxy rules Endpoint changes"}),
		deletedFlows: counter("conntrack_reconciler_deleted_entries_total", "Cumulative conntrack flows deleted by conntrack reconciler"),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.sync, m.syncFull, m.syncPartial, m.programming, m.lastSync, m.lastQueued, m.failures, m.cleanupFailures,
		m.noLocal, m.serviceChanges, m.endpointChanges, m.deletedFlows,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("proxy: metrics: %w", err)
		}
	}
	return m, nil
}
