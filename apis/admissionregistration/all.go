// Package admissionregistration holds the kinds of admissionregistration.k8s.io/v1:
// webhooks and CEL policies that judge other requests. What calls them is the
// library's admission plugins (proa/apis/admission).
package admissionregistration

import "proa/apis/kind"

// Kinds lists the kinds of the group; those of alpha and beta versions are off by
// default.
func Kinds() []kind.Any {
	policy, binding := MutatingAdmissionPolicy(), MutatingAdmissionPolicyBinding()
	return []kind.Any{
		ValidatingWebhookConfiguration(), MutatingWebhookConfiguration(),
		ValidatingAdmissionPolicy(), ValidatingAdmissionPolicyBinding(),
		policy, binding,
		policy.In("v1beta1"), binding.In("v1beta1"), policy.In("v1alpha1"), binding.In("v1alpha1"),
	}
}
