package authorization

import (
	"context"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// selfSubjectAccessReview tells the user whether they may do something (kubectl auth can-i).
func selfSubjectAccessReview() *kind.Virtual {
	return &kind.Virtual{
		GVK:       authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"),
		Resource:  "selfsubjectaccessreviews",
		Prototype: &authorizationv1.SelfSubjectAccessReview{},
		New: func(d *kind.Deps) (rest.Storage, error) {
			return &review[*authorizationv1.SelfSubjectAccessReview]{
				singular: "selfsubjectaccessreview",
				new:      func() *authorizationv1.SelfSubjectAccessReview { return &authorizationv1.SelfSubjectAccessReview{} },
				check: func(ctx context.Context, r *authorizationv1.SelfSubjectAccessReview) error {
					errs := validateAttributes(r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
					if !emptyMeta(r.ObjectMeta, false) {
						errs = append(errs, field.Invalid(field.NewPath("metadata"), r.ObjectMeta, "must be empty"))
					}
					if err := invalid(errs); err != nil {
						return err
					}
					if _, ok := request.UserFrom(ctx); !ok {
						return apierrors.NewBadRequest("no user present on request")
					}
					return nil
				},
				answer: func(ctx context.Context, r *authorizationv1.SelfSubjectAccessReview) (runtime.Object, error) {
					u, _ := request.UserFrom(ctx)
					r.Status = decide(ctx, d.Authorizer, attributes(u, r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes))
					return r, nil
				},
			}, nil
		},
	}
}
