package admission

import (
	"bytes"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// certificateSigning demands the permission "sign" on the request's signer of
// whoever writes a certificate or conditions to /status.
type certificateSigning struct {
	*admission.Handler
	authorizer authorizer.UnconditionalAuthorizer
}

func newCertificateSigning(a authorizer.UnconditionalAuthorizer) *certificateSigning {
	return &certificateSigning{admission.NewHandler(admission.Update), a}
}

// Validate implements admission.ValidationInterface.
func (c *certificateSigning) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	obj, old, ok := csrOf(a, "status")
	if !ok {
		return nil
	}
	if obj == nil || old == nil {
		return admission.NewForbidden(a, fmt.Errorf("expected type CertificateSigningRequest, got: %T", a.GetObject()))
	}
	if bytes.Equal(old.Status.Certificate, obj.Status.Certificate) && equality.Semantic.DeepEqual(old.Status.Conditions, obj.Status.Conditions) {
		return nil
	}
	if !maySigner(ctx, c.authorizer, a.GetUserInfo(), "sign", old.Spec.SignerName) {
		return admission.NewForbidden(a, fmt.Errorf("user not permitted to sign requests with signerName %q", old.Spec.SignerName))
	}
	return nil
}
