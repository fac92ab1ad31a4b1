package admission

import (
	"context"
	"errors"

	"k8s.io/apiserver/pkg/admission"
)

// alwaysAdmit admits everything (AlwaysAdmit), alwaysDeny nothing (AlwaysDeny).
// Both are old and mean nothing else.
type (
	alwaysAdmit struct{}
	alwaysDeny  struct{}
)

// Handles implements admission.Interface.
func (alwaysAdmit) Handles(admission.Operation) bool { return true }

// Handles implements admission.Interface.
func (alwaysDeny) Handles(admission.Operation) bool { return true }

// Admit implements admission.MutationInterface.
func (alwaysDeny) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	return admission.NewForbidden(a, errors.New("admission control is denying all modifications"))
}

// Validate implements admission.ValidationInterface.
func (d alwaysDeny) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	return d.Admit(ctx, a, o)
}
