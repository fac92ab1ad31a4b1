package nodeagent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
)

// metrics are the agent's own, under upstream's names.
type metrics struct {
	pods       prometheus.Gauge
	containers *prometheus.GaugeVec
	start      prometheus.Histogram
	startSLI   prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	buckets := []float64{0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}
	m := &metrics{
		pods:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_running_pods", Help: "Number of pods that have a running pod sandbox"}),
		containers: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kubelet_running_containers", Help: "Number of containers currently running"}, []string{"container_state"}),
		start:      prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubelet_pod_start_total_duration_seconds", Help: "Duration in seconds to start a pod since creation, including time to pull images and run init containers", Buckets: buckets}),
		startSLI:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubelet_pod_start_sli_duration_seconds", Help: "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch", Buckets: buckets}),
	}
	if r != nil {
		r.MustRegister(m.pods, m.containers, m.start, m.startSLI)
	}
	return m
}

// started records the time from a pod's creation to its first Running. The
// creation time has whole seconds, so has the measure its error.
func (m *metrics) started(pod *v1.Pod, now time.Time) {
	if pod.Status.Phase == v1.PodRunning {
		return // adopted
	}
	d := now.Sub(pod.CreationTimestamp.Time).Seconds()
	m.start.Observe(d)
	m.startSLI.Observe(d)
}

func (m *metrics) running(pods, containers int) {
	m.pods.Set(float64(pods))
	m.containers.WithLabelValues("running").Set(float64(containers))
}
