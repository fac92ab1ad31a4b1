package main

import (
	"context"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// renewal keeps the certificates of a running server young. Their readers
// (serving, aggregator, etcd) read changed files by themselves.
type renewal struct {
	clock clock.WithTicker
	// next is when something will have to be renewed; renew does it.
	next  func() time.Time
	renew func() error
}

// Name implements the component.
func (renewal) Name() string { return "certificates" }

// Run renews until ctx ends; what fails is tried again every hour, well before
// anything expires.
func (r renewal) Run(ctx context.Context) error {
	for {
		wait := max(r.next().Sub(r.clock.Now()), time.Hour)
		select {
		case <-ctx.Done():
			return nil
		case <-r.clock.After(wait):
		}
		if r.next().After(r.clock.Now()) {
			continue
		}
		if err := r.renew(); err != nil {
			klog.FromContext(ctx).Error(err, "Could not renew certificates, trying again in an hour")
		}
	}
}
