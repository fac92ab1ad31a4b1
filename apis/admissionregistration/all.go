// Package admissionregistration holds the kinds of admissionregistration.k8s.io/v1:
// webhooks and CEL policies that judge other requests. What calls them is the
// library's admission plugins (proa/apis/admission).
package admissionregistration

import "proa/apis/kind"

// Kinds lists the kinds of the group.
func Kinds() []kind.Any {
	return []kind.Any{
		ValidatingWebhookConfiguration(), MutatingWebhookConfiguration(),
		ValidatingAdmissionPolicy(), ValidatingAdmissionPolicyBinding(),
		MutatingAdmissionPolicy(), MutatingAdmissionPolicyBinding(),
	}
}
