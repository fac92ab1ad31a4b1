package admission

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// csrOf returns the old (or, on create, the new) object of a request for
// certificatesigningrequests or the given subresource of it.
func csrOf(a admission.Attributes, subresource string) (obj, old *certificatesv1.CertificateSigningRequest, ok bool) {
	if a.GetResource().GroupResource() != certificatesv1.Resource("certificatesigningrequests") || a.GetSubresource() != subresource {
		return nil, nil, false
	}
	obj, _ = a.GetObject().(*certificatesv1.CertificateSigningRequest)
	old, _ = a.GetOldObject().(*certificatesv1.CertificateSigningRequest)
	return obj, old, true
}

// maySigner says whether a user may approve or sign for a signer: by its name, or
// for all signers of its domain.
func maySigner(ctx context.Context, a authorizer.UnconditionalAuthorizer, u user.Info, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		decision, _, err := a.Authorize(ctx, authorizer.AttributesRecord{
			User: u, Verb: verb, Name: name, APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", ResourceRequest: true,
		})
		if err == nil && decision == authorizer.DecisionAllow {
			return true
		}
	}
	return false
}

func parseRequest(data []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}
