package scheduler

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics has upstream's names, labels and buckets.
type metrics struct {
	profile  string
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	tries    prometheus.Histogram
	sli      *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer, profile string, counts func() map[string]int) (*metrics, error) {
	m := &metrics{
		profile: profile,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scheduler_schedule_attempts_total",
			Help: "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.",
		}, []string{"result", "profile"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "scheduler_scheduling_attempt_duration_seconds",
			Help:    "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"result", "profile"}),
		tries: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "scheduler_pod_scheduling_attempts",
			Help:    "Number of attempts to successfully schedule a pod.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 5),
		}),
		sli: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "scheduler_pod_scheduling_sli_duration_seconds",
			Help:    "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 20),
		}, []string{"attempts"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.attempts, m.duration, m.tries, m.sli, pendingCollector{counts}} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// attempted counts a try that found no node; one that did is counted once bound.
func (m *metrics) attempted(a *attempt, took time.Duration) {
	if a.fit != nil {
		m.observe("unschedulable", took)
	}
}

func (m *metrics) failed(took time.Duration) { m.observe("error", took) }

func (m *metrics) bound(a *attempt, now time.Time, took time.Duration) {
	m.observe("scheduled", took)
	m.tries.Observe(float64(a.item.Attempts))
	attempts := "15+"
	if a.item.Attempts < 15 {
		attempts = strconv.Itoa(a.item.Attempts)
	}
	m.sli.WithLabelValues(attempts).Observe(now.Sub(a.item.FirstAttempt).Seconds())
}

func (m *metrics) observe(result string, took time.Duration) {
	m.attempts.WithLabelValues(result, m.profile).Inc()
	m.duration.WithLabelValues(result, m.profile).Observe(took.Seconds())
}

// pendingCollector reads the queue's lengths when asked, so that nothing is
// counted while nobody looks.
type pendingCollector struct{ counts func() map[string]int }

func pendingDesc() *prometheus.Desc {
	return prometheus.NewDesc("scheduler_pending_pods",
		"Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never attempted to schedule because they are gated.",
		[]string{"queue"}, nil)
}

// Describe implements prometheus.Collector.
func (c pendingCollector) Describe(ch chan<- *prometheus.Desc) { ch <- pendingDesc() }

// Collect implements prometheus.Collector.
func (c pendingCollector) Collect(ch chan<- prometheus.Metric) {
	desc := pendingDesc()
	for name, n := range c.counts() {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), name)
	}
}
