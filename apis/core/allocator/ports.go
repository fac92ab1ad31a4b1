package allocator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	storeerr "k8s.io/apiserver/pkg/storage/errors"
)

// Upstream's name and key of the record of node ports.
const (
	portsResource = "servicenodeportallocations"
	portsKey      = "/ranges/servicenodeports"
)

// Ports is the record of node ports in etcd.
type Ports struct {
	storage storage.Interface
	ports   net.PortRange
	metrics *Metrics

	mu sync.Mutex
	// last is the record as last seen: a first guess that saves a read.
	last *corev1.RangeAllocation
}

// NewPorts connects to the store.
func NewPorts(options generic.RESTOptionsGetter, ports net.PortRange, m *Metrics) (*Ports, error) {
	resource := schema.GroupResource{Resource: portsResource}
	o, err := options.GetRESTOptions(resource, &corev1.RangeAllocation{})
	if err != nil {
		return nil, fmt.Errorf("storage of node ports: %w", err)
	}
	s, _, err := generic.NewRawStorage(o.StorageConfig, func() runtime.Object { return &corev1.RangeAllocation{} }, nil, portsKey)
	if err != nil {
		return nil, fmt.Errorf("storage of node ports: %w", err)
	}
	return &Ports{storage: s, ports: ports, metrics: m}, nil
}

// Update changes the record. change may be called more than once, each time with
// the record as it is; if it fails, nothing is written and its error is returned.
func (p *Ports) Update(ctx context.Context, change func(*PortSet) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set *PortSet
	var cached runtime.Object
	if p.last != nil {
		cached = p.last.DeepCopy() // the storage hands it to the update
	}
	out := &corev1.RangeAllocation{}
	err := p.storage.GuaranteedUpdate(ctx, portsKey, out, true, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		record := in.(*corev1.RangeAllocation)
		if record.ResourceVersion == "" {
			return nil, fmt.Errorf("cannot allocate resources of type %s at this time", portsResource)
		}
		if record.Range != p.ports.String() {
			return nil, errors.New("the provided range does not match the current range")
		}
		set = NewPortSet(p.ports, record.Data)
		if err := change(set); err != nil {
			return nil, err
		}
		record.Data = set.Data()
		return record, nil
	}), cached)
	if err == nil {
		p.last = out
		p.metrics.portsAllocated(set.taken, nil)
		p.metrics.portsHeld(set.Used(), p.ports.Size)
	} else if errors.Is(err, ErrFull) || errors.Is(err, ErrPortAllocated) {
		p.metrics.portsAllocated(scopes{}, err)
		return err
	}
	return storeerr.InterpretUpdateError(err, schema.GroupResource{Resource: portsResource}, "")
}

// View returns a copy of the record; changing it changes nothing.
func (p *Ports) View(ctx context.Context) (*PortSet, error) {
	record, err := p.record(ctx)
	if err != nil {
		return nil, err
	}
	return NewPortSet(p.ports, record.Data), nil
}

// record is empty, without a resource version, before the first repair.
func (p *Ports) record(ctx context.Context) (*corev1.RangeAllocation, error) {
	out := &corev1.RangeAllocation{}
	if err := p.storage.Get(ctx, portsKey, storage.GetOptions{IgnoreNotFound: true}, out); err != nil {
		return nil, storeerr.InterpretGetError(err, schema.GroupResource{Resource: portsResource}, "")
	}
	return out, nil
}

// Rebuild replaces the record by what rebuild makes of the stored one. rebuild
// may be called more than once: others may allocate meanwhile.
func (p *Ports) Rebuild(ctx context.Context, rebuild func(stored *PortSet, ports net.PortRange) (*PortSet, error)) error {
	var err error
	for range 5 {
		var seen *corev1.RangeAllocation
		if seen, err = p.record(ctx); err != nil {
			return err
		}
		stored := NewPortSet(p.ports, seen.Data)
		if was, parseErr := net.ParsePortRange(seen.Range); seen.Range != "" && parseErr == nil {
			stored = NewPortSet(*was, seen.Data) // the flag was another one
		}
		var set *PortSet
		if set, err = rebuild(stored, p.ports); err != nil {
			return err
		}
		if err = p.replace(ctx, seen, set); !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
}

// replace writes a record made anew from seen; it is a conflict if the stored one
// is not seen any more.
func (p *Ports) replace(ctx context.Context, seen *corev1.RangeAllocation, set *PortSet) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := &corev1.RangeAllocation{}
	resource := schema.GroupResource{Resource: portsResource}
	err := p.storage.GuaranteedUpdate(ctx, portsKey, out, true, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		record := in.(*corev1.RangeAllocation)
		if record.ResourceVersion != seen.ResourceVersion {
			return nil, apierrors.NewConflict(resource, "", errors.New("the node ports changed meanwhile"))
		}
		record.Range, record.Data = p.ports.String(), set.Data()
		return record, nil
	}), nil)
	if err != nil {
		return storeerr.InterpretUpdateError(err, resource, "")
	}
	p.last = out
	p.metrics.portsHeld(set.Used(), p.ports.Size)
	return nil
}
