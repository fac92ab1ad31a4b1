package certificates

import (
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"

	"proa/apis/kind/kindtest"
)

func TestCertificateSigningRequest(t *testing.T) {
	kindtest.Run(t, certificateSigningRequest(), "testdata/certificatesigningrequest")
}

func TestSubresourceUpdates(t *testing.T) {
	with := func(cert string, types ...certificatesv1.RequestConditionType) *csr {
		o := &csr{Spec: certificatesv1.CertificateSigningRequestSpec{Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth}}}
		for _, c := range types {
			o.Status.Conditions = append(o.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: c, Status: corev1.ConditionTrue})
		}
		o.Status.Certificate = []byte(cert)
		return o
	}
	approved, denied, failed := certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed
	tests := []struct {
		name     string
		obj, old *csr
		w        writer
		want     string
	}{
		{"approve", with("", approved), with(""), writer{decisions: true}, ""},
		{"approve through status", with("", approved), with(""), writer{certificate: true}, `status.conditions: Forbidden: updates may not add a condition of type "Approved"`},
		{"take approval back", with(""), with("", approved), writer{decisions: true}, `status.conditions: Forbidden: updates may not remove a condition of type "Approved"`},
		{"approve and deny", with("", approved, denied), with(""), writer{decisions: true}, `status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive`},
		{"fail", with("", failed), with(""), writer{certificate: true}, ""},
		{"certificate through approval", with("x", approved), with("", approved), writer{decisions: true}, "status.certificate: Forbidden: updates may not set certificate content"},
		{"no certificate", with("x", approved), with("", approved), writer{certificate: true}, "must contain at least one CERTIFICATE PEM block"},
		{"another certificate", with("y", approved), with("x", approved), writer{certificate: true}, "status.certificate: Forbidden: updates may not modify existing certificate content"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, e := range validateUpdate(tc.obj, tc.old, tc.w) {
				if e.Field != "spec.request" { // these have none
					got = append(got, e.Error())
				}
			}
			found := tc.want == "" && len(got) == 0
			for _, g := range got {
				found = found || (tc.want != "" && strings.Contains(g, tc.want))
			}
			if !found {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
