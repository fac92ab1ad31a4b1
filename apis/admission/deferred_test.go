package admission

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"k8s.io/apiserver/pkg/admission"
)

// refusing is a validating plugin that counts its set-ups and refuses all.
type refusing struct {
	*admission.Handler
	setUp atomic.Int32
}

var errRefused = errors.New("refused")

func (r *refusing) ValidateInitialization() error { r.setUp.Add(1); return nil }

func (r *refusing) Validate(context.Context, admission.Attributes, admission.ObjectInterfaces) error {
	if r.setUp.Load() != 1 {
		return errors.New("asked before it was set up")
	}
	return errRefused
}

func TestDeferredPluginIsAskedOnceSetUp(t *testing.T) {
	var synced atomic.Bool
	r := &refusing{Handler: admission.NewHandler(admission.Create)}
	p := deferSetup(t.Context(), "Refusing", r, synced.Load)
	if _, mutates := p.(admission.MutationInterface); mutates {
		t.Error("a validating plugin became a mutating one")
	}
	if r.setUp.Load() != 0 {
		t.Error("set up before its caches were there")
	}
	synced.Store(true)
	if err := p.(admission.ValidationInterface).Validate(t.Context(), nil, nil); !errors.Is(err, errRefused) {
		t.Errorf("the plugin's verdict is lost: %v", err)
	}
}
