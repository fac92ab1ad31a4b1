package authentication

import (
	"context"
	"errors"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// tokenReview tells whose a bearer token is.
func tokenReview() *kind.Virtual {
	return &kind.Virtual{
		GVK:       authenticationv1.SchemeGroupVersion.WithKind("TokenReview"),
		Resource:  "tokenreviews",
		Prototype: &authenticationv1.TokenReview{},
		New: func(d *kind.Deps) (rest.Storage, error) {
			return &review[*authenticationv1.TokenReview]{
				singular: "tokenreview",
				new:      func() *authenticationv1.TokenReview { return &authenticationv1.TokenReview{} },
				check: func(ctx context.Context, t *authenticationv1.TokenReview) error {
					if ns := request.NamespaceValue(ctx); ns != "" {
						return apierrors.NewBadRequest("namespace is not allowed on this type: " + ns)
					}
					if t.Spec.Token == "" {
						return apierrors.NewBadRequest("token is required for TokenReview in authentication")
					}
					return nil
				},
				answer: func(_ context.Context, t *authenticationv1.TokenReview) (runtime.Object, error) {
					return reviewToken(d, t)
				},
			}, nil
		},
	}
}

func reviewToken(d *kind.Deps, t *authenticationv1.TokenReview) (runtime.Object, error) {
	// A request that holds nothing but the token.
	req := &http.Request{Header: http.Header{"Authorization": {"Bearer " + t.Spec.Token}}}
	audiences := authenticator.Audiences(t.Spec.Audiences)
	if len(audiences) == 0 {
		audiences = d.APIAudiences
	}
	if len(audiences) > 0 {
		req = req.WithContext(authenticator.WithAudiences(req.Context(), audiences))
	}
	resp, ok, err := d.Authenticator.AuthenticateRequest(req)
	t.Status.Authenticated = ok
	if err != nil {
		t.Status.Error = err.Error()
	}
	if !ok || resp == nil {
		return t, nil
	}
	if len(audiences) > 0 && len(audiences.Intersect(resp.Audiences)) == 0 {
		return nil, apierrors.NewInternalError(errors.New("error validating audiences"))
	}
	if resp.User != nil {
		t.Status.User = userInfo(resp.User)
		t.Status.Audiences = resp.Audiences
	}
	return t, nil
}
