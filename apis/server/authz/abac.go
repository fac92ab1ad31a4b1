package authz

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// abacVersion is the one version with a name; lines without apiVersion and kind
// are of version 0, which had no groups of APIs.
const abacVersion = "abac.authorization.kubernetes.io/v1beta1"

// ABAC authorizes by the policies of a file, one JSON object on each line. It
// allows or has no opinion.
type ABAC struct{ policies []abacPolicy }

var _ resolving = &ABAC{}

// abacPolicy is one line. Empty User and Group match nobody, "*" in a field
// matches all.
type abacPolicy struct {
	User            string `json:"user"`
	Group           string `json:"group"`
	Readonly        bool   `json:"readonly"`
	APIGroup        string `json:"apiGroup"`
	Resource        string `json:"resource"`
	Namespace       string `json:"namespace"`
	NonResourcePath string `json:"nonResourcePath"`
}

// ReadABAC reads a policy file; empty lines and those that begin with # are skipped.
func ReadABAC(path string) (*ABAC, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a, err := parseABAC(data)
	if err != nil {
		return nil, fmt.Errorf("error reading policy file %s, %w", path, err)
	}
	return a, nil
}

func parseABAC(data []byte) (*ABAC, error) {
	a := &ABAC{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		p, err := parseABACPolicy(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", n, line, err)
		}
		a.policies = append(a.policies, p)
	}
	return a, lines.Err()
}

func parseABACPolicy(line []byte) (abacPolicy, error) {
	var o struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		abacPolicy
		Spec abacPolicy `json:"spec"`
	}
	if err := json.Unmarshal(line, &o); err != nil {
		return abacPolicy{}, err
	}
	switch {
	case o.APIVersion == abacVersion && o.Kind == "Policy":
		p := o.Spec
		if p.User == "*" || p.Group == "*" {
			p.User, p.Group = "", user.AllAuthenticated
		}
		return p, nil
	case o.APIVersion != "":
		return abacPolicy{}, fmt.Errorf("must be of apiVersion %s and kind Policy", abacVersion)
	}
	p := abacPolicy{User: o.User, Group: o.Group, Readonly: o.Readonly, Namespace: o.Namespace, Resource: o.Resource, APIGroup: "*"}
	if p.User == "*" || p.Group == "*" || p.User == "" && p.Group == "" {
		p.User, p.Group = "", user.AllAuthenticated
	}
	if p.Namespace == "" && p.Resource == "" {
		p.NonResourcePath = "*"
	}
	if p.Namespace == "" {
		p.Namespace = "*"
	}
	if p.Resource == "" {
		p.Resource = "*"
	}
	return p, nil
}

// is says whether the policy is about the user.
func (p *abacPolicy) is(u user.Info) bool {
	if u == nil || p.User == "" && p.Group == "" {
		return false
	}
	if p.User != "" && p.User != "*" && p.User != u.GetName() {
		return false
	}
	return p.Group == "" || p.Group == "*" || slices.Contains(u.GetGroups(), p.Group)
}

// covers says whether the policy is about what is asked for.
func (p *abacPolicy) covers(a authorizer.Attributes) bool {
	if p.Readonly && !a.IsReadOnly() {
		return false
	}
	if !a.IsResourceRequest() {
		path := p.NonResourcePath
		return path == a.GetPath() || strings.HasSuffix(path, "*") && strings.HasPrefix(a.GetPath(), strings.TrimRight(path, "*"))
	}
	matches := func(pattern, value string) bool { return pattern == "*" || pattern == value }
	return matches(p.Namespace, a.GetNamespace()) && matches(p.Resource, a.GetResource()) && matches(p.APIGroup, a.GetAPIGroup())
}

// Authorize implements authorizer.Authorizer.
func (a *ABAC) Authorize(_ context.Context, attrs authorizer.Attributes) (authorizer.Decision, string, error) {
	for i := range a.policies {
		if p := &a.policies[i]; p.is(attrs.GetUser()) && p.covers(attrs) {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "No policy matched.", nil
}

// ConditionsAwareAuthorize implements authorizer.Authorizer; there are no conditions.
func (a *ABAC) ConditionsAwareAuthorize(ctx context.Context, attrs authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attrs))
}

// EvaluateConditions implements authorizer.Authorizer.
func (*ABAC) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// RulesFor implements authorizer.RuleResolver.
func (a *ABAC) RulesFor(_ context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	var resources []authorizer.ResourceRuleInfo
	var urls []authorizer.NonResourceRuleInfo
	for i := range a.policies {
		p := &a.policies[i]
		if !p.is(u) || p.Namespace != "*" && p.Namespace != namespace {
			continue
		}
		verbs := []string{"*"}
		if p.Readonly {
			verbs = []string{"get", "list", "watch"}
		}
		if p.Resource != "" {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{Verbs: verbs, APIGroups: []string{p.APIGroup}, Resources: []string{p.Resource}})
		}
		if p.NonResourcePath != "" {
			urls = append(urls, &authorizer.DefaultNonResourceRuleInfo{Verbs: verbs, NonResourceURLs: []string{p.NonResourcePath}})
		}
	}
	return resources, urls, false, nil
}
