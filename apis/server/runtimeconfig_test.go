package server

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"proa/apis/kind"
)

func TestRuntimeConfig(t *testing.T) {
	kinds := []kind.Any{
		&kind.Virtual{GVK: corev1.SchemeGroupVersion.WithKind("Binding"), Resource: "bindings"},
		&kind.Virtual{GVK: appsv1.SchemeGroupVersion.WithKind("Deployment"), Resource: "deployments"},
		&kind.Virtual{GVK: appsv1.SchemeGroupVersion.WithKind("DaemonSet"), Resource: "daemonsets"},
		&kind.Virtual{GVK: schema.GroupVersionKind{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "FlowSchema"}, Resource: "flowschemas"},
	}
	scheme := runtime.NewScheme()
	for _, g := range groups() {
		if err := g.add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	for given, want := range map[string]string{
		"":                                      "bindings deployments daemonsets flowschemas",
		"api/all=true":                          "bindings deployments daemonsets flowschemas",
		"api/beta=true,api/alpha=true":          "bindings deployments daemonsets flowschemas",
		"apps/v1=false":                         "bindings flowschemas",
		"apps/v1/daemonsets=false":              "bindings deployments flowschemas",
		"api/all=false,v1=true":                 "bindings",
		"api/v1=false":                          "deployments daemonsets flowschemas",
		"networking.k8s.io/v1beta1=true":        "bindings deployments daemonsets flowschemas",
		"nosuch.example/v1=true":                "error: group versions nosuch.example/v1",
		"apps/v9=true":                          "error: group versions apps/v9",
		"api/all=false":                         "error: invalid runtime-config",
		"api/all=maybe":                         "error: invalid value",
		"flowcontrol.apiserver.k8s.io/v1=false": "error: conflicts with --enable-priority-and-fairness",
	} {
		overrides := map[string]string{}
		for _, pair := range strings.Split(given, ",") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				overrides[k] = v
			}
		}
		enabled, err := enabledAPIs(overrides, kinds, scheme, true)
		if message, bad := strings.CutPrefix(want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(message, "group versions ")) {
				t.Errorf("%q: %v, want %q", given, err, message)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", given, err)
			continue
		}
		var names []string
		for _, k := range enabledKinds(kinds, enabled) {
			names = append(names, k.Description().Resource)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %s, want %s", given, got, want)
		}
	}
}
