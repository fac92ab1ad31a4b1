package admission

import (
	"context"
	"errors"
	"time"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// deferred sets a library's policy plugin up only when what it watches is there:
// it looks at its informers at once and then once a second, which would make
// the first writes after a start wait that second.
type deferred struct {
	plugin admission.Interface
	ready  chan struct{}
}

// patience is how long a request waits for a plugin that is not set up.
const patience = 10 * time.Second

// deferSetup returns the plugin behind deferred, keeping whether it mutates.
func deferSetup(ctx context.Context, name string, plugin admission.Interface, synced ...cache.InformerSynced) admission.Interface {
	d := &deferred{plugin: plugin, ready: make(chan struct{})}
	go func() {
		if !cache.WaitForCacheSync(ctx.Done(), synced...) {
			return
		}
		if v, ok := plugin.(admission.InitializationValidator); ok {
			if err := v.ValidateInitialization(); err != nil {
				klog.FromContext(ctx).Error(err, "Admission plugin cannot be set up; requests will be refused", "plugin", name)
				return
			}
		}
		close(d.ready)
	}()
	if _, ok := plugin.(admission.MutationInterface); ok {
		return deferredMutation{d}
	}
	return deferredValidation{d}
}

func (d *deferred) Handles(operation admission.Operation) bool { return d.plugin.Handles(operation) }

// wait returns an error if the plugin does not become ready in time.
func (d *deferred) wait(ctx context.Context, a admission.Attributes) error {
	select {
	case <-d.ready:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-d.ready:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
}

type deferredMutation struct{ *deferred }

// Admit implements admission.MutationInterface.
func (d deferredMutation) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if err := d.wait(ctx, a); err != nil {
		return err
	}
	return d.plugin.(admission.MutationInterface).Admit(ctx, a, o)
}

type deferredValidation struct{ *deferred }

// Validate implements admission.ValidationInterface.
func (d deferredValidation) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if err := d.wait(ctx, a); err != nil {
		return err
	}
	return d.plugin.(admission.ValidationInterface).Validate(ctx, a, o)
}
