package server

import (
	"context"

	"k8s.io/apiserver/pkg/admission"
)

// reinvoking runs a chain's mutating plugins a second time if one of them asked
// for it (reinvocationPolicy IfNeeded): a webhook then sees what others changed
// after it. In-tree plugins run again too, so they must be idempotent.
type reinvoking struct{ chain chain }

// chain is what admission.NewChainHandler makes.
type chain interface {
	admission.MutationInterface
	admission.ValidationInterface
}

func (r reinvoking) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if err := r.chain.Admit(ctx, a, o); err != nil {
		return err
	}
	again := a.GetReinvocationContext()
	if !again.ShouldReinvoke() {
		return nil
	}
	again.SetIsReinvoke()
	return r.chain.Admit(ctx, a, o)
}

func (r reinvoking) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	return r.chain.Validate(ctx, a, o)
}

func (r reinvoking) Handles(operation admission.Operation) bool { return r.chain.Handles(operation) }
