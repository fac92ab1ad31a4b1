package authn

import "k8s.io/component-base/metrics"

// Metrics count uses of service-account tokens, under upstream's names.
type Metrics struct {
	legacy, stale, valid, manual, auto, invalidated *metrics.Counter
}

// NewMetrics makes the counters and registers them; those of a second server in
// one process count nothing.
func NewMetrics(register func(metrics.Registerable) error) *Metrics {
	counter := func(name, help string) *metrics.Counter {
		c := metrics.NewCounter(&metrics.CounterOpts{Subsystem: "serviceaccount", Name: name, Help: help, StabilityLevel: metrics.ALPHA})
		_ = register(c)
		return c
	}
	return &Metrics{
		legacy:      counter("legacy_tokens_total", "Cumulative legacy service account tokens used"),
		stale:       counter("stale_tokens_total", "Cumulative stale projected service account tokens used"),
		valid:       counter("valid_tokens_total", "Cumulative valid projected service account tokens used"),
		manual:      counter("legacy_manual_token_uses_total", "Cumulative manually created legacy tokens used"),
		auto:        counter("legacy_auto_token_uses_total", "Cumulative auto-generated legacy tokens used"),
		invalidated: counter("invalid_legacy_auto_token_uses_total", "Cumulative invalid auto-generated legacy tokens used"),
	}
}

// uncounted are counters that nobody reads.
func uncounted() *Metrics { return NewMetrics(func(metrics.Registerable) error { return nil }) }
