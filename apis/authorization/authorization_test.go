package authorization

import (
	"context"
	"errors"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/kind"
)

// rules resolves one rule of each sort, and an error.
type rules struct{}

func (rules) RulesFor(context.Context, user.Info, string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	return []authorizer.ResourceRuleInfo{&authorizer.DefaultResourceRuleInfo{Verbs: []string{"get"}, Resources: []string{"pods"}}},
		[]authorizer.NonResourceRuleInfo{&authorizer.DefaultNonResourceRuleInfo{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}}}, true, errors.New("some were not found")
}

// create asks a review kind; ann may get pods whose field selector names node n.
func create(t *testing.T, v *kind.Virtual, ctx context.Context, obj runtime.Object) (runtime.Object, error) {
	t.Helper()
	storage, err := v.Build(&kind.Deps{RuleResolver: rules{}, Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetUser().GetName() != "ann" || a.GetVerb() == "delete" {
			return authorizer.DecisionDeny, "no", nil
		}
		if a.IsResourceRequest() && a.GetVerb() == "list" {
			reqs, _ := a.GetFieldSelector()
			if len(reqs) != 1 || reqs[0].Value != "n" {
				return authorizer.DecisionNoOpinion, "", nil
			}
		}
		return authorizer.DecisionAllow, "because", nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	c, ok := storage[v.Resource].(rest.Creater)
	if !ok {
		t.Fatalf("%s cannot be created", v.Resource)
	}
	return c.Create(ctx, obj, nil, nil)
}

func TestSubjectAccessReview(t *testing.T) {
	res := func(verb string, sel *authorizationv1.FieldSelectorAttributes) *authorizationv1.ResourceAttributes {
		return &authorizationv1.ResourceAttributes{Verb: verb, Resource: "pods", FieldSelector: sel}
	}
	req := func(op metav1.FieldSelectorOperator, values ...string) *authorizationv1.FieldSelectorAttributes {
		return &authorizationv1.FieldSelectorAttributes{Requirements: []metav1.FieldSelectorRequirement{{Key: "spec.nodeName", Operator: op, Values: values}}}
	}
	tests := map[string]struct {
		spec            authorizationv1.SubjectAccessReviewSpec
		meta            metav1.ObjectMeta
		allowed, denied bool
		evaluation, err string
	}{
		"allowed":      {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: res("get", nil)}, allowed: true},
		"denied":       {spec: authorizationv1.SubjectAccessReviewSpec{User: "bob", ResourceAttributes: res("get", nil)}, denied: true},
		"url":          {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/x", Verb: "get"}}, allowed: true},
		"selector":     {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: res("list", req(metav1.FieldSelectorOpIn, "n"))}, allowed: true},
		"raw selector": {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: res("list", &authorizationv1.FieldSelectorAttributes{RawSelector: "spec.nodeName=n"})}, allowed: true},
		"unsupported selector": {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: res("list", req(metav1.FieldSelectorOpIn, "n", "m"))},
			evaluation: "spec.resourceAttributes.fieldSelector ignored due to parse error"},
		"nobody":        {spec: authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: res("get", nil)}, err: "at least one of user or group must be specified"},
		"nothing":       {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann"}, err: "exactly one of nonResourceAttributes or resourceAttributes must be specified"},
		"both":          {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: res("get", nil), NonResourceAttributes: &authorizationv1.NonResourceAttributes{}}, err: "cannot be specified in combination with resourceAttributes"},
		"metadata":      {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: res("get", nil)}, meta: metav1.ObjectMeta{Name: "x"}, err: "must be empty"},
		"two selectors": {spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: res("get", &authorizationv1.FieldSelectorAttributes{RawSelector: "a=b", Requirements: req(metav1.FieldSelectorOpIn, "n").Requirements})}, err: "may not specified at the same time as requirements"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := create(t, subjectAccessReview(), context.Background(), &authorizationv1.SubjectAccessReview{ObjectMeta: tc.meta, Spec: tc.spec})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := out.(*authorizationv1.SubjectAccessReview).Status; s.Allowed != tc.allowed || s.Denied != tc.denied || s.EvaluationError != tc.evaluation {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestLocalSubjectAccessReview(t *testing.T) {
	ctx := apirequest.WithNamespace(context.Background(), "ns")
	obj := func(ns, attr string) *authorizationv1.LocalSubjectAccessReview {
		return &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: ns}, Spec: authorizationv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: attr, Verb: "get", Resource: "pods"}}}
	}
	out, err := create(t, localSubjectAccessReview(), ctx, obj("ns", "ns"))
	if err != nil || !out.(*authorizationv1.LocalSubjectAccessReview).Status.Allowed {
		t.Errorf("%v, %v", out, err)
	}
	if _, err := create(t, localSubjectAccessReview(), ctx, obj("ns", "other")); err == nil || !strings.Contains(err.Error(), "must match metadata.namespace") {
		t.Errorf("got %v", err)
	}
	if _, err := create(t, localSubjectAccessReview(), ctx, obj("other", "other")); err == nil || !strings.Contains(err.Error(), "must match namespace: ns") {
		t.Errorf("got %v", err)
	}
}

func TestSelf(t *testing.T) {
	ctx := apirequest.WithUser(context.Background(), &user.DefaultInfo{Name: "ann"})
	ask := func(verb string) *authorizationv1.SelfSubjectAccessReview {
		return &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Resource: "pods"}}}
	}
	for verb, want := range map[string]bool{"get": true, "delete": false} {
		out, err := create(t, selfSubjectAccessReview(), ctx, ask(verb))
		if err != nil || out.(*authorizationv1.SelfSubjectAccessReview).Status.Allowed != want {
			t.Errorf("%s: %v, %v", verb, out, err)
		}
	}
	if _, err := create(t, selfSubjectAccessReview(), context.Background(), ask("get")); err == nil {
		t.Error("without a user there is no self")
	}
	out, err := create(t, selfSubjectRulesReview(), ctx, &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "ns"}})
	if err != nil {
		t.Fatal(err)
	}
	s := out.(*authorizationv1.SelfSubjectRulesReview).Status
	if len(s.ResourceRules) != 1 || len(s.NonResourceRules) != 1 || !s.Incomplete || s.EvaluationError != "some were not found" {
		t.Errorf("%+v", s)
	}
	if _, err := create(t, selfSubjectRulesReview(), ctx, &authorizationv1.SelfSubjectRulesReview{}); err == nil || err.Error() != "no namespace on request" {
		t.Errorf("got %v", err)
	}
}
