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
	Repair  *Repair
	Default *DefaultCIDR
	// Client writes events.
	Client kubernetes.Interface
	// Checked is called once nothing stands in the way of allocations.
	Checked func()
}

// Start returns when the default ServiceCIDR is there and everything has been
// looked at once; the loops go on until ctx is done.
func (l *Loops) Start(ctx context.Context) error {
	l.recordEvents(ctx)
	for {
		err := l.Default.Sync(ctx)
		if err == nil {
			err = l.Repair.Once(ctx)
		}
		if err == nil {
			break
		}
		klog.FromContext(ctx).V(2).Info("Cannot check the records of services yet", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-l.Repair.Clock.After(startRetry):
		}
	}
	l.Checked()
	go l.Repair.Run(ctx)
	go l.Repair.Source.Watch(ctx, cidrs, func(_, name string) {
		if name != DefaultCIDRName {
			return
		}
		if err := l.Default.Sync(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Cannot keep the default ServiceCIDR")
		}
	})
	return nil
}

func (l *Loops) recordEvents(ctx context.Context) {
	current := events.NewBroadcaster(&events.EventSinkImpl{Interface: l.Client.EventsV1()})
	if err := current.StartRecordingToSinkWithContext(ctx); err != nil {
		klog.FromContext(ctx).Error(err, "Events of the repair loops are not recorded")
	}
	l.Repair.IPEvents = current.NewRecorder(scheme.Scheme, "ipallocator-repair-controller")
	l.Repair.PortEvents = current.NewRecorder(scheme.Scheme, "portallocator-repair-controller")
	legacy := record.NewBroadcaster(record.WithContext(ctx))
	legacy.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: l.Client.CoreV1().Events("")})
	l.Default.Events = legacy.NewRecorder(scheme.Scheme, corev1.EventSource{Component: DefaultCIDRManager})
}
