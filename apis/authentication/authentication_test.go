package authentication

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	testclock "k8s.io/utils/clock/testing"

	"proa/apis/kind"
)

// deps authenticates one token, "good", for audience "api".
func deps() *kind.Deps {
	return &kind.Deps{
		Clock:        testclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		APIAudiences: authenticator.Audiences{"api"},
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			if r.Header.Get("Authorization") != "Bearer good" {
				return nil, false, errors.New("unknown token")
			}
			wanted, _ := authenticator.AudiencesFrom(r.Context())
			return &authenticator.Response{Audiences: wanted.Intersect(authenticator.Audiences{"api"}), User: &user.DefaultInfo{
				Name: "ann", UID: "7", Groups: []string{"devs"}, Extra: map[string][]string{"k": {"v"}},
			}}, true, nil
		}),
	}
}

func create(t *testing.T, v *kind.Virtual, ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc) (runtime.Object, error) {
	t.Helper()
	storage, err := v.Build(deps())
	if err != nil {
		t.Fatal(err)
	}
	c, ok := storage[v.Resource].(rest.Creater)
	if !ok {
		t.Fatalf("%s cannot be created", v.Resource)
	}
	return c.Create(ctx, obj, validate, nil)
}

func TestTokenReview(t *testing.T) {
	tests := map[string]struct {
		spec          authenticationv1.TokenReviewSpec
		ctx           context.Context
		authenticated bool
		err           string
	}{
		"good":           {spec: authenticationv1.TokenReviewSpec{Token: "good"}, authenticated: true},
		"good, audience": {spec: authenticationv1.TokenReviewSpec{Token: "good", Audiences: []string{"api", "x"}}, authenticated: true},
		"bad":            {spec: authenticationv1.TokenReviewSpec{Token: "bad"}},
		"no token":       {err: "token is required for TokenReview in authentication"},
		"namespace":      {spec: authenticationv1.TokenReviewSpec{Token: "good"}, ctx: apirequest.WithNamespace(context.Background(), "ns"), err: "namespace is not allowed on this type: ns"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.ctx == nil {
				tc.ctx = context.Background()
			}
			out, err := create(t, tokenReview(), tc.ctx, &authenticationv1.TokenReview{Spec: tc.spec}, nil)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := out.(*authenticationv1.TokenReview).Status
			if s.Authenticated != tc.authenticated || (s.User.Username == "ann") != tc.authenticated || (s.Error == "") != tc.authenticated {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestSelfSubjectReview(t *testing.T) {
	ctx := apirequest.WithUser(context.Background(), &user.DefaultInfo{Name: "ann", Groups: []string{"devs"}})
	out, err := create(t, selfSubjectReview(), ctx, &authenticationv1.SelfSubjectReview{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := out.(*authenticationv1.SelfSubjectReview)
	if r.Status.UserInfo.Username != "ann" || r.CreationTimestamp.Year() != 2026 {
		t.Errorf("%+v", r)
	}
	if _, err := create(t, selfSubjectReview(), ctx, &authenticationv1.SelfSubjectReview{}, func(context.Context, runtime.Object) error { return errors.New("refused") }); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("admission must be asked: %v", err)
	}
	if _, err := create(t, selfSubjectReview(), ctx, &authenticationv1.TokenReview{}, nil); err == nil {
		t.Error("another kind must be refused")
	}
}

func TestTokenRequestChecks(t *testing.T) {
	ctx := apirequest.WithNamespace(context.Background(), "ns")
	r := NewTokenREST(deps()).(*tokenREST)
	for name, tc := range map[string]struct {
		ctx  context.Context
		obj  runtime.Object
		want string
	}{
		"other kind":      {ctx, &authenticationv1.TokenReview{}, "not a TokenRequest"},
		"no namespace":    {context.Background(), &authenticationv1.TokenRequest{}, "namespace is required"},
		"other name":      {ctx, named("x", ""), "must match the service account name if specified"},
		"other namespace": {ctx, named("", "x"), "must match the service account namespace if specified"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := r.Create(tc.ctx, "sa", tc.obj, nil, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if got := r.GroupVersionKind(authenticationv1.SchemeGroupVersion).String(); got != "authentication.k8s.io/v1, Kind=TokenRequest" {
		t.Error(got)
	}
}

func named(name, namespace string) *authenticationv1.TokenRequest {
	o := &authenticationv1.TokenRequest{}
	o.Name, o.Namespace = name, namespace
	return o
}
