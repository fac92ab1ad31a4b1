package admissionregistration

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestValidatingWebhookConfiguration(t *testing.T) {
	kindtest.Run(t, ValidatingWebhookConfiguration(), "testdata/validatingwebhookconfiguration")
}

func TestMutatingWebhookConfiguration(t *testing.T) {
	kindtest.Run(t, MutatingWebhookConfiguration(), "testdata/mutatingwebhookconfiguration")
}

func TestValidatingAdmissionPolicy(t *testing.T) {
	kindtest.Run(t, ValidatingAdmissionPolicy(), "testdata/validatingadmissionpolicy")
}

func TestValidatingAdmissionPolicyBinding(t *testing.T) {
	kindtest.Run(t, ValidatingAdmissionPolicyBinding(), "testdata/validatingadmissionpolicybinding")
}

func TestMutatingAdmissionPolicy(t *testing.T) {
	kindtest.Run(t, MutatingAdmissionPolicy(), "testdata/mutatingadmissionpolicy")
}

func TestMutatingAdmissionPolicyBinding(t *testing.T) {
	kindtest.Run(t, MutatingAdmissionPolicyBinding(), "testdata/mutatingadmissionpolicybinding")
}
