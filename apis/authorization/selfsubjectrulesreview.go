package authorization

import (
	"context"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// selfSubjectRulesReview lists what the user may do in a namespace (kubectl auth can-i --list).
func selfSubjectRulesReview() *kind.Virtual {
	return &kind.Virtual{
		GVK:       authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectRulesReview"),
		Resource:  "selfsubjectrulesreviews",
		Prototype: &authorizationv1.SelfSubjectRulesReview{},
		New: func(d *kind.Deps) (rest.Storage, error) {
			return &review[*authorizationv1.SelfSubjectRulesReview]{
				singular: "selfsubjectrulesreview",
				new:      func() *authorizationv1.SelfSubjectRulesReview { return &authorizationv1.SelfSubjectRulesReview{} },
				check: func(ctx context.Context, r *authorizationv1.SelfSubjectRulesReview) error {
					if _, ok := request.UserFrom(ctx); !ok {
						return apierrors.NewBadRequest("no user present on request")
					}
					if r.Spec.Namespace == "" {
						return apierrors.NewBadRequest("no namespace on request")
					}
					return nil
				},
				answer: func(ctx context.Context, r *authorizationv1.SelfSubjectRulesReview) (runtime.Object, error) {
					u, _ := request.UserFrom(ctx)
					resources, urls, incomplete, err := d.RuleResolver.RulesFor(ctx, u, r.Spec.Namespace)
					out := &authorizationv1.SelfSubjectRulesReview{Status: authorizationv1.SubjectRulesReviewStatus{
						ResourceRules:    []authorizationv1.ResourceRule{},
						NonResourceRules: []authorizationv1.NonResourceRule{},
						Incomplete:       incomplete,
					}}
					for _, x := range resources {
						out.Status.ResourceRules = append(out.Status.ResourceRules, authorizationv1.ResourceRule{Verbs: x.GetVerbs(), APIGroups: x.GetAPIGroups(), Resources: x.GetResources(), ResourceNames: x.GetResourceNames()})
					}
					for _, x := range urls {
						out.Status.NonResourceRules = append(out.Status.NonResourceRules, authorizationv1.NonResourceRule{Verbs: x.GetVerbs(), NonResourceURLs: x.GetNonResourceURLs()})
					}
					if err != nil {
						out.Status.EvaluationError = err.Error()
					}
					return out, nil
				},
			}, nil
		},
	}
}
