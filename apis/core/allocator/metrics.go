package allocator

import (
	"errors"
	"net/netip"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/component-base/metrics"
)

// Metrics are the allocators' and the repair loops', under upstream's names.
// A nil value records nothing.
type Metrics struct {
	ips, ipErrors     *metrics.CounterVec
	ipsUsed, ipsFree  *metrics.GaugeVec
	ipLatency         *metrics.HistogramVec
	ports, portErrors *metrics.CounterVec
	portsUsed         *metrics.Gauge
	portsFree         *metrics.Gauge

	ipRepairs, portRepairs               *metrics.CounterVec
	ipRepairFailures, portRepairFailures *metrics.Counter
}

func counter(subsystem, name, help string, labels ...string) *metrics.CounterVec {
	namespace := "kube_apiserver"
	if subsystem == "clusterip_repair" || subsystem == "nodeport_repair" {
		namespace = "apiserver"
	}
	return metrics.NewCounterVec(&metrics.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, StabilityLevel: metrics.ALPHA}, labels)
}

// NewMetrics registers the metrics; those that register refuses stay unseen.
func NewMetrics(register func(metrics.Registerable) error) *Metrics {
	const ips, ports = "clusterip_allocator", "nodeport_allocator"
	gauge := func(name, help string) *metrics.Gauge {
		return metrics.NewGauge(&metrics.GaugeOpts{Namespace: "kube_apiserver", Subsystem: ports, Name: name, Help: help, StabilityLevel: metrics.ALPHA})
	}
	cidrGauge := func(name, help string) *metrics.GaugeVec {
		return metrics.NewGaugeVec(&metrics.GaugeOpts{Namespace: "kube_apiserver", Subsystem: ips, Name: name, Help: help, StabilityLevel: metrics.ALPHA}, []string{"cidr"})
	}
	failures := func(subsystem, what string) *metrics.Counter {
		return metrics.NewCounter(&metrics.CounterOpts{Namespace: "apiserver", Subsystem: subsystem, Name: "reconcile_errors_total",
			Help: "Number of reconciliation failures on the " + what + " repair reconcile loop", StabilityLevel: metrics.ALPHA})
	}
	m := &Metrics{
		ipsUsed:  cidrGauge("allocated_ips", "Gauge measuring the number of allocated IPs for Services"),
		ipsFree:  cidrGauge("available_ips", "Gauge measuring the number of available IPs for Services"),
		ips:      counter(ips, "allocation_total", "Number of Cluster IPs allocations", "cidr", "scope"),
		ipErrors: counter(ips, "allocation_errors_total", "Number of errors trying to allocate Cluster IPs", "cidr", "scope"),
		ipLatency: metrics.NewHistogramVec(&metrics.HistogramOpts{Namespace: "kube_apiserver", Subsystem: ips, Name: "allocation_duration_seconds",
			Help: "Duration in seconds to allocate a Cluster IP by ServiceCIDR", Buckets: metrics.DefBuckets, StabilityLevel: metrics.ALPHA}, []string{"cidr"}),
		ports:      counter(ports, "allocation_total", "Number of NodePort allocations", "scope"),
		portErrors: counter(ports, "allocation_errors_total", "Number of errors trying to allocate NodePort", "scope"),
		portsUsed:  gauge("allocated_ports", "Gauge measuring the number of allocated NodePorts for Services"),
		portsFree:  gauge("available_ports", "Gauge measuring the number of available NodePorts for Services"),
		ipRepairs: counter("clusterip_repair", "ip_errors_total",
			"Number of errors detected on clusterips by the repair loop broken down by type of error: leak, repair, full, outOfRange, duplicate, unknown, invalid", "type"),
		portRepairs: counter("nodeport_repair", "port_errors_total",
			"Number of errors detected on ports by the repair loop broken down by type of error: leak, repair, full, outOfRange, duplicate, unknown", "type"),
		ipRepairFailures:   failures("clusterip_repair", "clusterip"),
		portRepairFailures: failures("nodeport_repair", "nodeport"),
	}
	for _, c := range []metrics.Registerable{m.ips, m.ipErrors, m.ipsUsed, m.ipsFree, m.ipLatency, m.ports, m.portErrors, m.portsUsed, m.portsFree,
		m.ipRepairs, m.portRepairs, m.ipRepairFailures, m.portRepairFailures} {
		_ = register(c) // a second server in one process shares the first one's
	}
	return m
}

// allocated counts one attempt to allocate from a range. That a range is full is
// the failure of a service only if no other range is left, but counts here too.
func (m *Metrics) allocated(r Range, scope string, took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.ipErrors.WithLabelValues(r.String(), scope).Inc()
	default:
		m.ips.WithLabelValues(r.String(), scope).Inc()
		m.ipLatency.WithLabelValues(r.String()).Observe(took.Seconds())
		m.held(r, 1)
	}
}

// held changes how many addresses of a range are in use.
func (m *Metrics) held(r Range, change float64) {
	if m != nil {
		m.ipsUsed.WithLabelValues(r.String()).Add(change)
		m.ipsFree.WithLabelValues(r.String()).Add(-change)
	}
}

// counted sets how many addresses are in use from the records themselves.
func (m *Metrics) counted(cidrs []*networkingv1.ServiceCIDR, records []*networkingv1.IPAddress) {
	if m == nil {
		return
	}
	used := map[Range]int{}
	for _, r := range allRanges(cidrs) {
		used[r] = 0
	}
	for _, record := range records {
		ip, err := netip.ParseAddr(record.Name)
		if err != nil || !managed(record) {
			continue
		}
		for r := range used {
			if r.Contains(ip) {
				used[r]++
			}
		}
	}
	for r, n := range used {
		m.ipsUsed.WithLabelValues(r.String()).Set(float64(n))
		m.ipsFree.WithLabelValues(r.String()).Set(float64(r.Size()) - float64(n))
	}
}

// scopes counts node ports of one write by how they were asked for.
type scopes struct{ static, dynamic int }

func (m *Metrics) portsAllocated(s scopes, err error) {
	if m == nil {
		return
	}
	if err != nil {
		scope := "static"
		if errors.Is(err, ErrFull) {
			scope = "dynamic"
		}
		m.portErrors.WithLabelValues(scope).Inc()
		return
	}
	m.ports.WithLabelValues("static").Add(float64(s.static))
	m.ports.WithLabelValues("dynamic").Add(float64(s.dynamic))
}

func (m *Metrics) portsHeld(used, size int) {
	if m != nil {
		m.portsUsed.Set(float64(used))
		m.portsFree.Set(float64(size - used))
	}
}

func (m *Metrics) ipRepaired(kind string) {
	if m != nil && kind != "" {
		m.ipRepairs.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) portRepaired(kind string) {
	if m != nil && kind != "" {
		m.portRepairs.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) failed(ports bool) {
	switch {
	case m == nil:
	case ports:
		m.portRepairFailures.Inc()
	default:
		m.ipRepairFailures.Inc()
	}
}
