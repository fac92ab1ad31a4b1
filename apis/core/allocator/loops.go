package allocator

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
)

// startRetry is the pause before a failed start is tried again.
const startRetry = 100 * time.Millisecond

// Loops starts what keeps the records.
type Loops struct {
	repair   *Repair
	fallback *DefaultCIDR
	client   kubernetes.Interface
	checked  func()
	// defaulted is closed when the default ServiceCIDR is there.
	defaulted chan struct{}
}

// NewLoops returns the loops; client writes events, and checked is called once
// nothing stands in the way of allocations.
func NewLoops(r *Repair, d *DefaultCIDR, client kubernetes.Interface, checked func()) *Loops {
	return &Loops{repair: r, fallback: d, client: client, checked: checked, defaulted: make(chan struct{})}
}

// StartDefaultCIDR returns when the default ServiceCIDR is there, and keeps it
// until ctx is done.
func (l *Loops) StartDefaultCIDR(ctx context.Context) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: l.client.CoreV1().Events("")})
	l.fallback.Events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: DefaultCIDRManager})
	if !l.retry(ctx, l.fallback.Sync) {
		return nil
	}
	close(l.defaulted)
	go l.repair.Source.Watch(ctx, cidrs, func(_, name string) {
		if name != DefaultCIDRName {
			return
		}
		if err := l.fallback.Sync(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Cannot keep the default ServiceCIDR")
		}
	})
	return nil
}

// StartRepair returns when everything has been looked at once after the default
// ServiceCIDR was there; the repair goes on until ctx is done.
func (l *Loops) StartRepair(ctx context.Context) error {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: l.client.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		klog.FromContext(ctx).Error(err, "Events of the repair loops are not recorded")
	}
	l.repair.IPEvents = broadcaster.NewRecorder(scheme.Scheme, "ipallocator-repair-controller")
	l.repair.PortEvents = broadcaster.NewRecorder(scheme.Scheme, "portallocator-repair-controller")
	select {
	case <-l.defaulted:
	case <-ctx.Done():
		return nil
	}
	if l.retry(ctx, l.repair.Once) {
		l.checked()
		go l.repair.Run(ctx)
	}
	return nil
}

// retry tells whether do succeeded before ctx was done.
func (l *Loops) retry(ctx context.Context, do func(context.Context) error) bool {
	for {
		err := do(ctx)
		if err == nil {
			return true
		}
		klog.FromContext(ctx).V(2).Info("Cannot check the records of services yet", "err", err)
		select {
		case <-ctx.Done():
			return false
		case <-l.repair.Clock.After(startRetry):
		}
	}
}
