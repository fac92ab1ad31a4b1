package authz

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// webhookServer answers reviews: ann may all, bob is denied, of others it has no opinion.
func webhookServer(t *testing.T) (kubeconfig string, asked func() int) {
	t.Helper()
	questions := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		questions <- struct{}{}
		var review authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: review.Spec.User == "ann", Denied: review.Spec.User == "bob", Reason: "asked"}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(s.Close)
	return kubeconfigFor(t, s.URL), func() int { return len(questions) }
}

func kubeconfigFor(t *testing.T, url string) string {
	t.Helper()
	return file(t, fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n", url))
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func start(t *testing.T, o Options) (*Authorization, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	o.Informers = informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	o.Served = func(schema.GroupVersionResource) bool { return true }
	o.WebhookBackoff = wait.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 1}
	return New(ctx, o)
}

func decide(t *testing.T, a authorizer.Authorizer, name, namespace string) string {
	t.Helper()
	d, _, _ := a.Authorize(context.Background(), authorizer.AttributesRecord{User: &user.DefaultInfo{Name: name}, Verb: "get", Resource: "pods", Namespace: namespace, ResourceRequest: true})
	return map[authorizer.Decision]string{authorizer.DecisionAllow: "allow", authorizer.DecisionDeny: "deny", authorizer.DecisionNoOpinion: "none"}[d]
}

func TestFromFlags(t *testing.T) {
	tests := map[string]struct {
		flags Flags
		err   string
	}{
		"node and RBAC":          {flags: Flags{Modes: []string{"Node", "RBAC"}}},
		"all but files":          {flags: Flags{Modes: []string{"AlwaysDeny", "AlwaysAllow"}}},
		"none":                   {err: "at least one authorization-mode must be passed"},
		"unknown":                {flags: Flags{Modes: []string{"Magic"}}, err: `authorization-mode "Magic" is not a valid mode`},
		"twice":                  {flags: Flags{Modes: []string{"RBAC", "RBAC"}}, err: "has mode specified more than once"},
		"ABAC without a file":    {flags: Flags{Modes: []string{"ABAC"}}, err: "give --authorization-policy-file"},
		"webhook without a file": {flags: Flags{Modes: []string{"Webhook"}}, err: "give --authorization-webhook-config-file"},
		"file without ABAC":      {flags: Flags{Modes: []string{"RBAC"}, PolicyFile: "x"}, err: "without mode ABAC"},
		"file without webhook":   {flags: Flags{Modes: []string{"RBAC"}, WebhookConfigFile: "x"}, err: "without mode Webhook"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := FromFlags(tc.flags)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || len(c.Authorizers) != len(tc.flags.Modes) {
				t.Fatalf("%v, %v", c, err)
			}
			if _, err := start(t, Options{Configuration: c}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWebhookByFlags(t *testing.T) {
	kubeconfig, asked := webhookServer(t)
	for _, version := range []string{"v1", "v1beta1"} {
		c, err := FromFlags(Flags{Modes: []string{"Webhook"}, WebhookConfigFile: kubeconfig, WebhookVersion: version, AuthorizedTTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		a, err := start(t, Options{Configuration: c})
		if err != nil {
			t.Fatal(err)
		}
		before := asked()
		for name, want := range map[string]string{"ann": "allow", "bob": "deny", "cid": "none"} {
			for range 2 {
				if got := decide(t, a, name, "ns"); got != want {
					t.Errorf("%s: %s is %s", version, name, got)
				}
			}
		}
		if n := asked() - before; n != 5 { // only that ann is allowed was remembered
			t.Errorf("%s: asked %d times", version, n)
		}
	}
}

func TestConfigurationReload(t *testing.T) {
	kubeconfig, asked := webhookServer(t)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	text := func(kubeconfig, policy string, more string) string {
		return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: hook
  webhook:
    authorizedTTL: 0s
    unauthorizedTTL: 0s
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: %s
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
    matchConditions:
    - expression: has(request.resourceAttributes) && request.resourceAttributes.namespace == "asked"
%s`, policy, kubeconfig, more)
	}
	allow := "- {type: AlwaysAllow, name: alwaysallow}\n"
	path := file(t, text(kubeconfig, "Deny", allow))
	c, data, err := LoadConfiguration(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := start(t, Options{Configuration: c, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	a.o.ReloadFile = path
	check := func(when, name, namespace, want string) {
		t.Helper()
		if got := decide(t, a, name, namespace); got != want {
			t.Errorf("%s: %s in %s is %s", when, name, namespace, got)
		}
	}
	reload := func(text string, changed bool, wrong string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := a.reload()
		if got != changed || (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("reload: %v, %v", got, err)
		}
	}
	check("start", "bob", "asked", "deny")
	check("start", "bob", "other", "allow") // the condition does not match, the next one answers
	if asked() != 1 {
		t.Errorf("asked %d times", asked())
	}
	reload(text(kubeconfig, "Deny", allow), false, "")
	reload(text(kubeconfig, "Perhaps", allow), false, "failurePolicy")
	check("after a wrong file", "bob", "asked", "deny")
	reload(text(kubeconfig, "Deny", ""), false, "missing required types: [AlwaysAllow]")
	reload(text(kubeconfig, "Deny", allow+"- {type: RBAC, name: rbac}\n"), false, "not allowed if it was not enabled at initial server startup")
	reload(text(kubeconfig, "Deny", "- {type: AlwaysAllow, name: all}\n"), false, "expected name alwaysallow")
	reload(text(kubeconfigFor(t, down.URL), "NoOpinion", allow), true, "")
	check("webhook gone, no opinion", "bob", "asked", "allow")
	reload(text(kubeconfigFor(t, down.URL), "Deny", allow), true, "")
	check("webhook gone, denied", "bob", "asked", "deny")
}
