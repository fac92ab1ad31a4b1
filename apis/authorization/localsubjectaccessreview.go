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

// localSubjectAccessReview tells whether any user may do something in its namespace.
func localSubjectAccessReview() *kind.Virtual {
	return &kind.Virtual{
		GVK:       authorizationv1.SchemeGroupVersion.WithKind("LocalSubjectAccessReview"),
		Resource:  "localsubjectaccessreviews",
		Prototype: &authorizationv1.LocalSubjectAccessReview{},
		New: func(d *kind.Deps) (rest.Storage, error) {
			return &review[*authorizationv1.LocalSubjectAccessReview]{
				singular:   "localsubjectaccessreview",
				namespaced: true,
				new:        func() *authorizationv1.LocalSubjectAccessReview { return &authorizationv1.LocalSubjectAccessReview{} },
				check:      checkLocal,
				answer: func(ctx context.Context, r *authorizationv1.LocalSubjectAccessReview) (runtime.Object, error) {
					r.Status = decide(ctx, d.Authorizer, attributes(subject(r.Spec), r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes))
					return r, nil
				},
			}, nil
		},
	}
}

func checkLocal(ctx context.Context, r *authorizationv1.LocalSubjectAccessReview) error {
	errs := validateSpec(r.Spec)
	if !emptyMeta(r.ObjectMeta, true) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), r.ObjectMeta, "must be empty except for namespace"))
	}
	if a := r.Spec.ResourceAttributes; a != nil && a.Namespace != r.Namespace {
		errs = append(errs, field.Invalid(field.NewPath("spec.resourceAttributes.namespace"), a.Namespace, "must match metadata.namespace"))
	}
	if a := r.Spec.NonResourceAttributes; a != nil {
		errs = append(errs, field.Invalid(field.NewPath("spec.nonResourceAttributes"), a, "disallowed on this kind of request"))
	}
	if err := invalid(errs); err != nil {
		return err
	}
	switch ns := request.NamespaceValue(ctx); {
	case ns == "":
		return apierrors.NewBadRequest("namespace is required on this type: ")
	case ns != r.Namespace:
		return apierrors.NewBadRequest("spec.resourceAttributes.namespace must match namespace: " + ns)
	}
	return nil
}
