package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// gather serves a registry; an empty one where it is nil.
func gather(g prometheus.Gatherer) http.Handler {
	if g == nil {
		g = prometheus.NewRegistry()
	}
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// metricsResource serves what metrics-server reads: GET /metrics/resource.
func (s *Server) metricsResource(w http.ResponseWriter, r *http.Request) {
	s.serveSummary(w, r, collectResource)
}

// serveSummary turns the summary of this moment into metrics.
func (s *Server) serveSummary(w http.ResponseWriter, r *http.Request, collect func(*stats.Summary, chan<- prometheus.Metric)) {
	summary, err := s.summary(r.Context())
	registry := prometheus.NewRegistry()
	registry.MustRegister(summaryCollector{summary: summary, err: err, collect: collect})
	gather(registry).ServeHTTP(w, r)
}

// summaryCollector is a collector of constants, made for one request.
type summaryCollector struct {
	summary *stats.Summary
	err     error
	collect func(*stats.Summary, chan<- prometheus.Metric)
}

// Describe says nothing: the collector is unchecked, as its labels vary.
func (summaryCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics, and whether the summary could be made.
func (c summaryCollector) Collect(ch chan<- prometheus.Metric) {
	failed := 0.0
	if c.err != nil {
		failed = 1
	}
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", nil, nil), prometheus.GaugeValue, failed)
	if c.summary != nil {
		c.collect(c.summary, ch)
	}
}

// metric describes one metric made from a summary.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newMetric(name, help string, kind prometheus.ValueType, labels ...string) metric {
	return metric{desc: prometheus.NewDesc(name, help, labels, nil), kind: kind}
}

// send sends a value with the time it was measured, if there is one.
func (m metric) send(ch chan<- prometheus.Metric, at time.Time, v float64, labels ...string) {
	constant, err := prometheus.NewConstMetric(m.desc, m.kind, v, labels...)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.desc, err)
		return
	}
	if at.IsZero() {
		ch <- constant
		return
	}
	ch <- prometheus.NewMetricWithTimestamp(at, constant)
}

// sendCPU sends cumulative seconds, sendBytes a number of bytes.
func (m metric) sendCPU(ch chan<- prometheus.Metric, c *stats.CPUStats, labels ...string) {
	if c != nil && c.UsageCoreNanoSeconds != nil {
		m.send(ch, c.Time.Time, float64(*c.UsageCoreNanoSeconds)/1e9, labels...)
	}
}

func (m metric) sendBytes(ch chan<- prometheus.Metric, at time.Time, v *uint64, labels ...string) {
	if v != nil {
		m.send(ch, at, float64(*v), labels...)
	}
}

func collectResource(s *stats.Summary, ch chan<- prometheus.Metric) {
	container := []string{"container", "pod", "namespace"}
	pod := []string{"pod", "namespace"}
	nodeCPU := newMetric("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", prometheus.CounterValue)
	nodeMemory := newMetric("node_memory_working_set_bytes", "Current working set of the node in bytes", prometheus.GaugeValue)
	containerCPU := newMetric("container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds", prometheus.CounterValue, container...)
	containerMemory := newMetric("container_memory_working_set_bytes", "Current working set of the container in bytes", prometheus.GaugeValue, container...)
	containerStart := newMetric("container_start_time_seconds", "Start time of the container since unix epoch in seconds", prometheus.GaugeValue, container...)
	podCPU := newMetric("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", prometheus.CounterValue, pod...)
	podMemory := newMetric("pod_memory_working_set_bytes", "Current working set of the pod in bytes", prometheus.GaugeValue, pod...)

	nodeCPU.sendCPU(ch, s.Node.CPU)
	if m := s.Node.Memory; m != nil {
		nodeMemory.sendBytes(ch, m.Time.Time, m.WorkingSetBytes)
	}
	for _, p := range s.Pods {
		for _, c := range p.Containers {
			labels := []string{c.Name, p.PodRef.Name, p.PodRef.Namespace}
			containerCPU.sendCPU(ch, c.CPU, labels...)
			if c.Memory != nil {
				containerMemory.sendBytes(ch, c.Memory.Time.Time, c.Memory.WorkingSetBytes, labels...)
			}
			if !c.StartTime.IsZero() {
				containerStart.send(ch, time.Time{}, float64(c.StartTime.UnixNano())/1e9, labels...)
			}
		}
		podCPU.sendCPU(ch, p.CPU, p.PodRef.Name, p.PodRef.Namespace)
		if p.Memory != nil {
			podMemory.sendBytes(ch, p.Memory.Time.Time, p.Memory.WorkingSetBytes, p.PodRef.Name, p.PodRef.Namespace)
		}
	}
}
