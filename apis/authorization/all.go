// Package authorization holds the kinds of authorization.k8s.io/v1: questions
// about what a subject may do, which are answered and not stored.
package authorization

import "proa/apis/kind"

// Kinds lists the kinds of authorization.k8s.io.
func Kinds() []kind.Any {
	return []kind.Any{subjectAccessReview(), localSubjectAccessReview(), selfSubjectAccessReview(), selfSubjectRulesReview()}
}
