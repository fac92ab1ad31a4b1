// Package authentication holds the kinds of authentication.k8s.io/v1: reviews,
// which are answered and not stored, and the TokenRequest subresource of service
// accounts.
package authentication

import "proa/apis/kind"

// Kinds lists the kinds of authentication.k8s.io.
func Kinds() []kind.Any {
	return []kind.Any{tokenReview(), selfSubjectReview()}
}
