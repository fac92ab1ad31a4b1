package admission

import (
	"context"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
)

// certificateSubject refuses requests for client certificates of system:masters.
type certificateSubject struct{ *admission.Handler }

func newCertificateSubject() *certificateSubject {
	return &certificateSubject{admission.NewHandler(admission.Create)}
}

// Validate implements admission.ValidationInterface.
func (*certificateSubject) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	obj, _, ok := csrOf(a, "")
	if !ok {
		return nil
	}
	if obj == nil {
		return admission.NewForbidden(a, fmt.Errorf("expected type CertificateSigningRequest, got: %T", a.GetObject()))
	}
	if obj.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return nil
	}
	r, err := parseRequest(obj.Spec.Request)
	if err != nil {
		return admission.NewForbidden(a, fmt.Errorf("failed to parse CSR: %w", err))
	}
	if slices.Contains(r.Subject.Organization, user.SystemPrivilegedGroup) {
		return admission.NewForbidden(a, fmt.Errorf("use of %s signer with system:masters group is not allowed", certificatesv1.KubeAPIServerClientSignerName))
	}
	return nil
}
