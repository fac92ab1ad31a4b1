package admission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// onDemand has a library's policy plugin run only while there are policies and
// bindings: it compiles on tickers and polls the OpenAPI documents, which would
// cost an idle server more than all else it does. The informers' events decide,
// so a policy takes effect as soon as one that the running plugin hears of.
type onDemand struct {
	*admission.Handler
	ctx context.Context
	// start makes the plugin and its background work, which ends with ctx.
	start func(ctx context.Context) (admission.Interface, error)
	// caches are those of policies and of bindings; loaded says that all that
	// was there at first has been seen.
	caches []cache.Store
	loaded []cache.InformerSynced

	mu      sync.Mutex // guards the change from one state to the other
	stop    context.CancelFunc
	current atomic.Pointer[demanded]
}

// demanded is the plugin while it runs, or why it does not.
type demanded struct {
	plugin admission.Interface
	err    error
}

func newOnDemand(o Options, start func(context.Context) (admission.Interface, error), watched ...cache.SharedIndexInformer) (*onDemand, error) {
	d := &onDemand{ctx: o.Context, start: start}
	for _, i := range watched {
		d.caches = append(d.caches, i.GetStore())
	}
	for _, i := range watched {
		registration, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { d.adjust() },
			DeleteFunc: func(any) { d.adjust() },
		})
		if err != nil {
			return nil, err
		}
		d.loaded = append(d.loaded, registration.HasSynced)
	}
	return d, nil
}

// adjust starts or stops the plugin as there are policies and bindings or not.
func (d *onDemand) adjust() {
	d.mu.Lock()
	defer d.mu.Unlock()
	wanted := d.ctx.Err() == nil
	for _, c := range d.caches {
		wanted = wanted && len(c.ListKeys()) > 0
	}
	switch {
	case wanted == (d.current.Load() != nil):
	case wanted:
		ctx, cancel := context.WithCancel(d.ctx)
		plugin, err := d.start(ctx)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Policies cannot be evaluated; requests will be refused")
		}
		d.stop = cancel
		d.current.Store(&demanded{plugin, err})
	default:
		d.current.Store(nil)
		d.stop()
	}
}

// plugin is the running plugin; nil if no policy is bound.
func (d *onDemand) plugin(a admission.Attributes) (admission.Interface, error) {
	p := d.current.Load()
	if p == nil && !d.isLoaded() {
		// A policy may be among what is not there yet.
		h := *d.Handler
		h.SetReadyFunc(d.isLoaded)
		if !h.WaitForReady() {
			return nil, admission.NewForbidden(a, errors.New("not yet ready to handle request"))
		}
		p = d.current.Load()
	}
	switch {
	case p == nil:
		return nil, nil
	case p.err != nil:
		return nil, admission.NewForbidden(a, fmt.Errorf("policies cannot be evaluated: %w", p.err))
	}
	return p.plugin, nil
}

func (d *onDemand) isLoaded() bool {
	for _, loaded := range d.loaded {
		if !loaded() {
			return false
		}
	}
	return true
}

type onDemandMutation struct{ *onDemand }

// Admit implements admission.MutationInterface.
func (d onDemandMutation) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	p, err := d.plugin(a)
	if m, ok := p.(admission.MutationInterface); ok && err == nil {
		return m.Admit(ctx, a, o)
	}
	return err
}

type onDemandValidation struct{ *onDemand }

// Validate implements admission.ValidationInterface.
func (d onDemandValidation) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	p, err := d.plugin(a)
	if v, ok := p.(admission.ValidationInterface); ok && err == nil {
		return v.Validate(ctx, a, o)
	}
	return err
}

// reread keeps a plugin's configuration for each time that the plugin is made.
func reread(config io.Reader) (func() io.Reader, error) {
	if config == nil {
		return func() io.Reader { return nil }, nil
	}
	all, err := io.ReadAll(config)
	return func() io.Reader { return bytes.NewReader(all) }, err
}
