package authentication

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// selfSubjectReview tells the user who they are (kubectl auth whoami).
func selfSubjectReview() *kind.Virtual {
	return &kind.Virtual{
		GVK:       authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"),
		Resource:  "selfsubjectreviews",
		Prototype: &authenticationv1.SelfSubjectReview{},
		New: func(d *kind.Deps) (rest.Storage, error) {
			return &review[*authenticationv1.SelfSubjectReview]{
				singular: "selfsubjectreview",
				new:      func() *authenticationv1.SelfSubjectReview { return &authenticationv1.SelfSubjectReview{} },
				answer: func(ctx context.Context, _ *authenticationv1.SelfSubjectReview) (runtime.Object, error) {
					u, ok := request.UserFrom(ctx)
					if !ok {
						return nil, apierrors.NewBadRequest("no user present on request")
					}
					return &authenticationv1.SelfSubjectReview{
						ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(d.Clock.Now())},
						Status:     authenticationv1.SelfSubjectReviewStatus{UserInfo: userInfo(u)},
					}, nil
				},
			}, nil
		},
	}
}
