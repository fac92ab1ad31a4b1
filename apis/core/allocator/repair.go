package allocator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// repairInterval is how often everything is looked at, besides what changes.
const repairInterval = 3 * time.Minute

// Source is what the repair loops read.
type Source interface {
	Store
	Services(ctx context.Context, fresh bool) ([]*corev1.Service, error)
	IPAddresses(ctx context.Context, fresh bool) ([]*networkingv1.IPAddress, error)
	// Watch calls changed for what there is and for each change until ctx is done.
	Watch(ctx context.Context, of schema.GroupResource, changed func(namespace, name string))
}

// PortRecord is Ports as the repair needs it.
type PortRecord interface {
	Rebuild(ctx context.Context, rebuild func(stored *PortSet, ports net.PortRange) (*PortSet, error)) error
}

// Repair keeps the records of cluster IPs and node ports in step with the services.
type Repair struct {
	Source Source
	Writer Writer
	Ports  PortRecord
	// IPEvents and PortEvents record what was found; nil records nothing.
	IPEvents, PortEvents events.EventRecorder
	Metrics              *Metrics
	Clock                clock.WithTicker

	leaks map[int32]int // used by one goroutine at a time
}

// Once looks at everything as etcd has it. Nothing may be allocated before it
// succeeded: services of a restored or older store have no records yet.
func (r *Repair) Once(ctx context.Context) error {
	return errors.Join(r.checkAll(ctx, true), r.checkPorts(ctx))
}

// Run repairs until ctx is done.
func (r *Repair) Run(ctx context.Context) {
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[repairKey](),
		workqueue.TypedRateLimitingQueueConfig[repairKey]{Clock: r.Clock})
	var wait sync.WaitGroup
	wait.Go(func() {
		r.Source.Watch(ctx, services, func(namespace, name string) { queue.Add(repairKey{namespace, name}) })
	})
	wait.Go(func() {
		r.Source.Watch(ctx, ipAddresses, func(_, name string) { queue.Add(repairKey{"", name}) })
	})
	wait.Go(func() { r.work(ctx, queue) })
	wait.Go(func() { r.tick(ctx) })
	<-ctx.Done()
	queue.ShutDown()
	wait.Wait()
}

// repairKey is a service, or an address if the namespace is empty.
type repairKey struct{ namespace, name string }

func (r *Repair) work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[repairKey]) {
	for {
		key, done := queue.Get()
		if done {
			return
		}
		again, err := r.check(ctx, key)
		switch {
		case err != nil:
			r.Metrics.failed(false)
			klog.FromContext(ctx).V(2).Info("Repairing a cluster IP failed, trying again", "namespace", key.namespace, "name", key.name, "err", err)
			queue.AddRateLimited(key)
		case again > 0:
			queue.Forget(key)
			queue.AddAfter(key, again)
		default:
			queue.Forget(key)
		}
		queue.Done(key)
	}
}

func (r *Repair) tick(ctx context.Context) {
	ticker := r.Clock.NewTicker(repairInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			if err := errors.Join(r.checkAll(ctx, false), r.checkPorts(ctx)); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Cannot repair the allocation of cluster IPs and node ports")
			}
		}
	}
}

// check looks at one service or address: first in the caches, and where that
// finds something, as etcd has it, since the caches of two kinds are never equally old.
func (r *Repair) check(ctx context.Context, key repairKey) (again time.Duration, err error) {
	for _, fresh := range [...]bool{false, true} {
		defects, again, err := r.look(ctx, key, fresh)
		if err != nil || len(defects) == 0 {
			return again, err
		}
		if fresh {
			return 0, r.mendAll(ctx, defects)
		}
	}
	return 0, nil
}

// look judges one service or address by what the store says.
func (r *Repair) look(ctx context.Context, key repairKey, fresh bool) (defects []Defect, again time.Duration, err error) {
	cidrs, err := r.Source.ServiceCIDRs(ctx, fresh)
	if err != nil {
		return nil, 0, err
	}
	// What could not be read must not look as if it did not exist.
	var failed error
	view := View{
		CIDRs: cidrs,
		Address: func(name string) *networkingv1.IPAddress {
			ip, err := r.Source.IPAddress(ctx, name, fresh)
			failed = errors.Join(failed, err)
			return ip
		},
		Service: func(namespace, name string) *corev1.Service {
			svc, err := r.Source.Service(ctx, namespace, name, fresh)
			failed = errors.Join(failed, err)
			return svc
		},
	}
	if key.namespace == "" {
		if record := view.Address(key.name); record != nil {
			var defect *Defect
			if defect, again = CheckAddress(record, view, r.Clock.Now()); defect != nil {
				defects = []Defect{*defect}
			}
		}
	} else if svc := view.Service(key.namespace, key.name); svc != nil {
		defects = CheckService(svc, view)
	}
	if failed != nil {
		return nil, 0, failed
	}
	return defects, again, nil
}

func (r *Repair) checkAll(ctx context.Context, fresh bool) error {
	services, err := r.Source.Services(ctx, fresh)
	if err != nil {
		return fmt.Errorf("services that hold cluster IPs: %w", err)
	}
	records, err := r.Source.IPAddresses(ctx, fresh)
	if err != nil {
		return fmt.Errorf("records of cluster IPs: %w", err)
	}
	keys := make([]repairKey, 0, len(services)+len(records))
	for _, s := range services {
		keys = append(keys, repairKey{s.Namespace, s.Name})
	}
	for _, ip := range records {
		keys = append(keys, repairKey{"", ip.Name})
	}
	var errs []error
	for _, key := range keys {
		if _, err := r.check(ctx, key); err != nil {
			r.Metrics.failed(false)
			errs = append(errs, err)
		}
	}
	r.count(ctx)
	return errors.Join(errs...)
}

// count sets the gauges, which allocations and releases only move.
func (r *Repair) count(ctx context.Context) {
	records, err := r.Source.IPAddresses(ctx, false)
	if err != nil {
		return
	}
	if cidrs, err := r.Source.ServiceCIDRs(ctx, false); err == nil {
		r.Metrics.counted(cidrs, records)
	}
}

func (r *Repair) mendAll(ctx context.Context, defects []Defect) error {
	var errs []error
	for _, d := range defects {
		r.Metrics.ipRepaired(d.Type)
		if d.Message != "" {
			klog.FromContext(ctx).Info("Cluster IP", "reason", d.Reason, "problem", d.Message)
			if r.IPEvents != nil {
				r.IPEvents.Eventf(d.About, nil, corev1.EventTypeWarning, d.Reason, d.Action, "%s", d.Message)
			}
		}
		errs = append(errs, r.mend(ctx, d))
	}
	return errors.Join(errs...)
}

func (r *Repair) mend(ctx context.Context, d Defect) error {
	if d.Delete != nil {
		// Only the very object that was judged.
		err := r.Writer.Delete(ctx, d.Delete.Name, *metav1.NewPreconditionDeleteOptions(string(d.Delete.UID)))
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	if d.Create == nil {
		return nil
	}
	_, err := r.Writer.Create(ctx, d.Create, metav1.CreateOptions{})
	return err
}

// checkPorts compares the record of node ports with the services.
func (r *Repair) checkPorts(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			r.Metrics.failed(true)
		}
	}()
	if r.leaks == nil {
		r.leaks = map[int32]int{}
	}
	var leaks map[int32]int
	var defects []Defect
	err = r.Ports.Rebuild(ctx, func(stored *PortSet, ports net.PortRange) (*PortSet, error) {
		// After the record was read, and not from the cache: what holds a port by then is there.
		services, err := r.Source.Services(ctx, true)
		if err != nil {
			return nil, fmt.Errorf("services that hold node ports: %w", err)
		}
		var rebuilt *PortSet
		leaks = maps.Clone(r.leaks)
		rebuilt, defects = RebuildPorts(services, stored, ports, leaks)
		return rebuilt, nil
	})
	if err != nil {
		return err
	}
	r.leaks = leaks
	for _, d := range defects {
		r.Metrics.portRepaired(d.Type)
		klog.FromContext(ctx).Info("Node port", "reason", d.Reason, "problem", d.Message)
		if d.About != nil && r.PortEvents != nil {
			r.PortEvents.Eventf(d.About, nil, corev1.EventTypeWarning, d.Reason, d.Action, "%s", d.Message)
		}
	}
	return nil
}
