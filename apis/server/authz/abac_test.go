package authz

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func TestABAC(t *testing.T) {
	a, err := parseABAC([]byte(`
# comments and empty lines are skipped
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"group": "system:authenticated", "nonResourcePath": "/logs/*", "readonly": true}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "admin", "namespace": "*", "resource": "*", "apiGroup": "*"}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "ann", "group": "dev", "namespace": "ns", "resource": "pods", "readonly": true}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "*", "namespace": "all", "resource": "services"}}
{"user": "old", "namespace": "legacy"}
`))
	if err != nil {
		t.Fatal(err)
	}
	who := func(name string, groups ...string) user.Info {
		return &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}
	}
	res := func(u user.Info, verb, namespace, group, resource string) authorizer.Attributes {
		return authorizer.AttributesRecord{User: u, Verb: verb, Namespace: namespace, APIGroup: group, Resource: resource, ResourceRequest: true}
	}
	path := func(u user.Info, verb, path string) authorizer.Attributes {
		return authorizer.AttributesRecord{User: u, Verb: verb, Path: path}
	}
	tests := map[string]struct {
		a     authorizer.Attributes
		allow bool
	}{
		"admin writes":                {res(who("admin"), "delete", "x", "apps", "deployments"), true},
		"user and group, reads":       {res(who("ann", "dev"), "list", "ns", "", "pods"), true},
		"user without the group":      {res(who("ann"), "list", "ns", "", "pods"), false},
		"read-only":                   {res(who("ann", "dev"), "create", "ns", "", "pods"), false},
		"another namespace":           {res(who("ann", "dev"), "get", "x", "", "pods"), false},
		"another group of APIs":       {res(who("ann", "dev"), "get", "ns", "apps", "pods"), false},
		"everybody":                   {res(who("bob"), "create", "all", "", "services"), true},
		"everybody, but no stranger":  {res(&user.DefaultInfo{Name: "system:anonymous"}, "create", "all", "", "services"), false},
		"path":                        {path(who("bob"), "get", "/logs/x"), true},
		"path, write":                 {path(who("bob"), "post", "/logs/x"), false},
		"another path":                {path(who("bob"), "get", "/metrics"), false},
		"version 0 has all groups":    {res(who("old"), "create", "legacy", "apps", "deployments"), true},
		"version 0, no path by space": {path(who("old"), "get", "/metrics"), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, _, err := a.Authorize(context.Background(), tc.a)
			if err != nil || (got == authorizer.DecisionAllow) != tc.allow || got == authorizer.DecisionDeny {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	resources, urls, incomplete, err := a.RulesFor(context.Background(), who("ann", "dev"), "ns")
	if err != nil || incomplete || len(resources) != 1 || len(urls) != 0 || resources[0].GetResources()[0] != "pods" || resources[0].GetVerbs()[0] != "get" {
		t.Errorf("%v, %v, %v, %v", resources, urls, incomplete, err)
	}
	for line, want := range map[string]string{
		`{"user": 1}`: "line 1",
		`{"apiVersion": "abac.authorization.kubernetes.io/v9", "kind": "Policy"}`: "must be of apiVersion",
	} {
		if _, err := parseABAC([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
