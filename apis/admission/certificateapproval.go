package admission

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// certificateApproval demands the permission "approve" on the request's signer of
// whoever writes /approval.
type certificateApproval struct {
	*admission.Handler
	authorizer authorizer.UnconditionalAuthorizer
}

func newCertificateApproval(a authorizer.UnconditionalAuthorizer) *certificateApproval {
	return &certificateApproval{admission.NewHandler(admission.Update), a}
}

// Validate implements admission.ValidationInterface.
func (c *certificateApproval) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	_, old, ok := csrOf(a, "approval")
	if !ok {
		return nil
	}
	if old == nil {
		return admission.NewForbidden(a, fmt.Errorf("expected type CertificateSigningRequest, got: %T", a.GetOldObject()))
	}
	if !maySigner(ctx, c.authorizer, a.GetUserInfo(), "approve", old.Spec.SignerName) {
		return admission.NewForbidden(a, fmt.Errorf("user not permitted to approve requests with signerName %q", old.Spec.SignerName))
	}
	return nil
}
