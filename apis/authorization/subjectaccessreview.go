package authorization

import (
	"context"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// subjectAccessReview tells whether any user may do something.
func subjectAccessReview() *kind.Virtual {
	return &kind.Virtual{
		GVK:       authorizationv1.SchemeGroupVersion.WithKind("SubjectAccessReview"),
		Resource:  "subjectaccessreviews",
		Prototype: &authorizationv1.SubjectAccessReview{},
		New: func(d *kind.Deps) (rest.Storage, error) {
			return &review[*authorizationv1.SubjectAccessReview]{
				singular: "subjectaccessreview",
				new:      func() *authorizationv1.SubjectAccessReview { return &authorizationv1.SubjectAccessReview{} },
				check: func(_ context.Context, r *authorizationv1.SubjectAccessReview) error {
					errs := validateSpec(r.Spec)
					if !emptyMeta(r.ObjectMeta, false) {
						errs = append(errs, field.Invalid(field.NewPath("metadata"), r.ObjectMeta, "must be empty"))
					}
					return invalid(errs)
				},
				answer: func(ctx context.Context, r *authorizationv1.SubjectAccessReview) (runtime.Object, error) {
					r.Status = decide(ctx, d.Authorizer, attributes(subject(r.Spec), r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes))
					return r, nil
				},
			}, nil
		},
	}
}

// invalid is a refusal that names no kind, as upstream's do.
func invalid(errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(authorizationv1.SchemeGroupVersion.WithKind("").GroupKind(), "", errs)
}
