package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubelettypes "k8s.io/kubelet/pkg/types"
)

func TestWhoMayDoWhat(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.SystemLogs = t.TempDir() })
	for _, tc := range []struct {
		as, method, path string
		want             int
	}{
		{"", "GET", "/healthz", 401},
		{"broken", "GET", "/healthz", 401},
		{"error", "GET", "/healthz", 500},
		{"somebody", "GET", "/healthz", 403},
		{"healthz", "GET", "/healthz", 200},
		{"proxy", "GET", "/healthz", 200},
		{"pods", "GET", "/pods", 200},
		{"pods", "GET", "/runningpods/", 200},
		{"proxy", "GET", "/pods", 200},
		{"configz", "GET", "/configz", 200},
		{"stats", "GET", "/stats/summary", 200},
		{"proxy", "GET", "/stats/summary", 403},
		{"metrics", "GET", "/metrics", 200},
		{"metrics", "GET", "/metrics/resource", 200},
		{"metrics", "GET", "/metrics/cadvisor", 200},
		{"metrics", "GET", "/metrics/probes", 200},
		{"log", "GET", "/logs/", 200},
		{"metrics", "GET", "/metricsandmore", 403},
		{"stats", "POST", "/exec/ns/web/c?command=x&output=1", 403},
		// What only looks like statistics is not served as something else.
		{"stats", "GET", "/stats/../pods", 307},
		{"stats", "POST", "/stats/../run/ns/web/c?cmd=x", 307},
		{"stats", "POST", "/stats/%2e%2e/run/ns/web/c?cmd=x", 404},
		{"admin", "GET", "/nothing", 404},
		{"admin", "GET", "/run/ns/web/c?cmd=x", 405},
	} {
		if got, body := f.do(t, tc.as, tc.method, tc.path); got != tc.want {
			t.Errorf("%s %s as %q: %d %q, want %d", tc.method, tc.path, tc.as, got, body, tc.want)
		}
	}
	if _, body := f.do(t, "somebody", "GET", "/pods"); body != "Forbidden (user=somebody, verb=get, resource=nodes, subresource(s)=[pods proxy])\n" {
		t.Errorf("got %q", body)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("a server without a certificate was made")
	}
}

func TestDelegatedAsksTheAPI(t *testing.T) {
	authn, authz, err := Delegated(fake.NewClientset(), nil)
	if err != nil || authn == nil || authz == nil {
		t.Fatalf("got %v, %v, %v", authn, authz, err)
	}
	// Without a token there is nobody to ask about.
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := authn.AuthenticateRequest(r); ok || err != nil {
		t.Errorf("nobody was let in: %v, %v", ok, err)
	}
}

func TestHealthAndConfig(t *testing.T) {
	var sick error
	f := newFixture(t, func(o *Options) {
		o.Healthy = func() error { return sick }
		o.Config = map[string]string{"podLogsDir": "/x"}
	})
	if code, body := f.do(t, "admin", "GET", "/healthz/ping"); code != 200 || body != "ok" {
		t.Errorf("got %d %q", code, body)
	}
	sick = errors.New("the sync loop stands still")
	if code, body := f.do(t, "admin", "GET", "/healthz"); code != 500 || !strings.Contains(body, "stands still") {
		t.Errorf("got %d %q", code, body)
	}
	if _, body := f.do(t, "admin", "GET", "/configz"); body != `{"kubeletconfig":{"podLogsDir":"/x"}}` {
		t.Errorf("got %q", body)
	}
}

func TestPods(t *testing.T) {
	f := newFixture(t)
	var list v1.PodList
	_, body := f.do(t, "admin", "GET", "/pods")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	if list.Kind != "PodList" || list.APIVersion != "v1" || len(list.Items) != 1 || list.Items[0].Name != "web" {
		t.Errorf("got %s", body)
	}
	labels := func(ns, pod, uid, container string) map[string]string {
		return map[string]string{kubelettypes.KubernetesPodNamespaceLabel: ns, kubelettypes.KubernetesPodNameLabel: pod, kubelettypes.KubernetesPodUIDLabel: uid, kubelettypes.KubernetesContainerNameLabel: container}
	}
	f.runtime.containers = []*runtimeapi.Container{
		{Labels: labels("ns", "web", "1", "b"), Image: &runtimeapi.ImageSpec{Image: "app:1"}}, {Labels: labels("ns", "web", "1", "a")}, {Labels: labels("kube-system", "dns", "2", "d")}, {},
	}
	want := &v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []v1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "dns", UID: "2"}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "d"}}}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: types.UID("1")}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "a"}, {Name: "b", Image: "app:1"}}}},
	}}
	list = v1.PodList{}
	_, body = f.do(t, "admin", "GET", "/runningpods/")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &list); diff != "" {
		t.Error(diff)
	}
}

func TestRun(t *testing.T) {
	f := newFixture(t)
	for path, want := range map[string]string{
		"/run/ns/web/c?cmd=ls+-l":       "id-c: ls|-l!",
		"/run/ns/web/uid-1/c?cmd=ls":    "id-c: ls!",
		"/run/ns/web/other/c?cmd=ls":    "pod does not exist",
		"/run/ns/none/c?cmd=ls":         "pod does not exist",
		"/run/ns/web/waiting?cmd=ls":    `container not found ("waiting")`,
		"/run/ns/web/c":                 `query parameter "cmd" is required`,
		"/run/ns/web/uid-1/none?cmd=ls": `container not found ("none")`,
	} {
		if _, body := f.do(t, "admin", "POST", path); body != want {
			t.Errorf("%s: got %q, want %q", path, body, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry, probes := prometheus.NewRegistry(), prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "of_the_agent"}, func() float64 { return 1 }))
	probes.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "of_probes"}, func() float64 { return 2 }))
	f := newFixture(t, func(o *Options) { o.Metrics, o.ProbeMetrics = registry, probes })
	if _, body := f.do(t, "admin", "GET", "/metrics"); !strings.Contains(body, "of_the_agent 1\n") || strings.Contains(body, "of_probes") {
		t.Errorf("got %s", body)
	}
	if _, body := f.do(t, "admin", "GET", "/metrics/probes"); !strings.Contains(body, "of_probes 2\n") {
		t.Errorf("got %s", body)
	}
}
