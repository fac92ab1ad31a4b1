package dns

import (
	"fmt"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics bear CoreDNS's names, so that dashboards made for it work.
type metrics struct {
	requests  *prometheus.CounterVec
	responses *prometheus.CounterVec
	duration  prometheus.Histogram
	cache     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coredns_dns_requests_total", Help: "Counter of DNS requests made per protocol and type.",
		}, []string{"proto", "type"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coredns_dns_responses_total", Help: "Counter of response status codes.",
		}, []string{"rcode"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "coredns_dns_request_duration_seconds", Help: "Histogram of the time (in seconds) each request took.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
		}),
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coredns_cache_requests_total", Help: "The count of cache requests.",
		}, []string{"result"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.responses, m.duration, m.cache} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("dns: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(proto string, req, resp *dns.Msg, took time.Duration) {
	kind := "other"
	if len(req.Question) == 1 {
		// Only the usual types have a series of their own: a client may ask
		// for any of 65,536.
		switch t := req.Question[0].Qtype; t {
		case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeTXT, dns.TypeCNAME, dns.TypeNS, dns.TypeSOA, dns.TypeMX:
			kind = dns.TypeToString[t]
		}
	}
	m.requests.WithLabelValues(proto, kind).Inc()
	m.responses.WithLabelValues(dns.RcodeToString[resp.Rcode]).Inc()
	m.duration.Observe(took.Seconds())
}

func (m *metrics) cacheRequest(hit bool) {
	result := "miss"
	if hit {
		result = "hit"
	}
	m.cache.WithLabelValues(result).Inc()
}
