// Package certificates holds the kinds of certificates.k8s.io/v1.
package certificates

import "proa/apis/kind"

// Kinds lists the kinds of certificates.k8s.io.
func Kinds() []kind.Any {
	return []kind.Any{certificateSigningRequest()}
}
