package core

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	metadatafake "k8s.io/client-go/metadata/fake"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
	"proa/controllers/control/controltest"
)

func want(t *testing.T, got, want string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(got), "\n")); d != "" {
		t.Errorf("transcript differs (-want +got):\n%s", d)
	}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}},
		Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
	}
}

func TestServiceAccountAndRootCA(t *testing.T) {
	w := controltest.New(t, namespace("a"))
	terminating := namespace("gone")
	terminating.Status.Phase = corev1.NamespaceTerminating
	w.Do(func() {
		if err := w.Client.Create(t.Context(), terminating); err != nil {
			t.Fatal(err)
		}
	})
	sa := &ServiceAccount{Client: w.Client}
	ca := &RootCA{Client: w.Client, Live: w.Client, CA: []byte("PEM")}
	both := func(ns string) string {
		for _, r := range []reconcile.Reconciler{sa, ca} {
			if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: ns}}); err != nil {
				t.Fatal(err)
			}
		}
		return w.Log()
	}
	want(t, both("a"), `
create ServiceAccount default
create ConfigMap kube-root-ca.crt`)
	want(t, both("a"), "")
	want(t, both("gone"), "")
	want(t, both("never was"), "")
	controltest.Update(w, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: RootCAConfigMap}}, func(cm *corev1.ConfigMap) { cm.Data["ca.crt"] = "forged" })
	want(t, both("a"), `update ConfigMap kube-root-ca.crt: data.ca.crt="PEM"`)
}

// discoverable are the resources of the namespace tests.
func discoverable() ([]*metav1.APIResourceList, error) {
	all := metav1.Verbs{"list", "delete", "deletecollection"}
	return []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "configmaps", Kind: "ConfigMap", Namespaced: true, Verbs: all},
		{Name: "pods", Kind: "Pod", Namespaced: true, Verbs: all},
		{Name: "bindings", Kind: "Binding", Namespaced: true, Verbs: metav1.Verbs{"create"}},
	}}}, nil
}

func partialOf(kind, name string, finalizers ...string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, Finalizers: finalizers},
	}
}

// deletion sets up a namespace that was deleted at the world's start, with content.
func deletion(t *testing.T, objs ...runtime.Object) (*controltest.World, *Namespace, *metadatafake.FakeMetadataClient) {
	ns := namespace("a")
	ns.Finalizers = []string{"test/keep"}
	w := controltest.New(t, ns)
	w.Delete(namespace("a"))
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	content := metadatafake.NewSimpleMetadataClient(scheme, objs...)
	r := &Namespace{
		Client: w.Client, Live: w.Client, Metadata: content, Resources: discoverable, Clock: w.Clock,
		Finalize: func(ctx context.Context, ns *corev1.Namespace) error { return w.Client.Update(ctx, ns) },
	}
	w.Watch(&corev1.Namespace{}, &handler.EnqueueRequestForObject{})
	// The fake server stamps deletions with the real time.
	deleted := controltest.Get(w, "", "a", &corev1.Namespace{}).DeletionTimestamp
	w.Clock.SetTime(deleted.Add(time.Second))
	w.Queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: "a"}})
	return w, r, content
}

func TestNamespaceEmptied(t *testing.T) {
	w, r, _ := deletion(t, partialOf("ConfigMap", "c"), partialOf("Pod", "p"))
	// The fake knows no deletecollection.
	r.Resources = func() ([]*metav1.APIResourceList, error) {
		lists, err := discoverable()
		for i := range lists[0].APIResources {
			if lists[0].APIResources[i].Name != "bindings" {
				lists[0].APIResources[i].Verbs = metav1.Verbs{"list", "delete"}
			}
		}
		return lists, err
	}
	want(t, w.Run(r), `
status Namespace a: status.phase="Terminating"
status Namespace a: status.conditions[NamespaceContentRemaining]="False/ContentRemoved/All content successfully removed" status.conditions[NamespaceDeletionContentFailure]="False/ContentDeleted/All content successfully deleted, may be waiting on finalization" status.conditions[NamespaceDeletionDiscoveryFailure]="False/ResourcesDiscovered/All resources successfully discovered" status.conditions[NamespaceDeletionGroupVersionParsingFailure]="False/ParsedGroupVersions/All legacy kube types successfully parsed" status.conditions[NamespaceFinalizersRemaining]="False/ContentHasNoFinalizers/All content-preserving finalizers finished"
update Namespace a: spec.finalizers=-`)
}

func TestNamespaceConditions(t *testing.T) {
	at := metav1.NewTime(controltest.Start)
	later := metav1.NewTime(controltest.Start.Add(time.Hour))
	first, changed := namespaceConditions(nil, deletionFindings{
		contentErrs: []error{fmt.Errorf("b"), fmt.Errorf("a")},
		remaining:   map[string]int{"pods.": 2, "jobs.batch": 1},
		finalizers:  map[string]int{"x/y": 1},
	}, at)
	if !changed {
		t.Error("no change from nothing")
	}
	var got []string
	for _, c := range first {
		got = append(got, fmt.Sprintf("%s %s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	want(t, strings.Join(got, "\n"), `
NamespaceDeletionDiscoveryFailure False ResourcesDiscovered: All resources successfully discovered
NamespaceDeletionGroupVersionParsingFailure False ParsedGroupVersions: All legacy kube types successfully parsed
NamespaceDeletionContentFailure True ContentDeletionFailed: Failed to delete all resource types, 2 remaining: a, b
NamespaceContentRemaining True SomeResourcesRemain: Some resources are remaining: jobs.batch has 1 resource instances, pods. has 2 resource instances
NamespaceFinalizersRemaining True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: x/y in 1 resource instances`)
	if _, changed := namespaceConditions(first, deletionFindings{
		contentErrs: []error{fmt.Errorf("a"), fmt.Errorf("b")},
		remaining:   map[string]int{"pods.": 2, "jobs.batch": 1},
		finalizers:  map[string]int{"x/y": 1},
	}, later); changed {
		t.Error("the same findings change the conditions")
	}
	done, changed := namespaceConditions(first, deletionFindings{}, later)
	if !changed || done[3].LastTransitionTime != later || done[0].LastTransitionTime != at {
		t.Errorf("times do not move with the status: %v", done)
	}
}

func endpointPod(name, ip string, ready bool) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{NodeName: "n", RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{
			Name: "c", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}},
	}
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return p
}

func printSubsets(subsets []corev1.EndpointSubset) string {
	var out []string
	for _, s := range subsets {
		var ready, not, ports []string
		for _, a := range s.Addresses {
			ready = append(ready, a.IP)
		}
		for _, a := range s.NotReadyAddresses {
			not = append(not, a.IP)
		}
		for _, p := range s.Ports {
			ports = append(ports, fmt.Sprintf("%s:%d", p.Name, p.Port))
		}
		out = append(out, fmt.Sprintf("ready%v notReady%v ports%v", ready, not, ports))
	}
	return strings.Join(out, "\n")
}

func TestEndpointSubsets(t *testing.T) {
	service := func(change func(*corev1.Service)) *corev1.Service {
		s := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"},
			Spec: corev1.ServiceSpec{
				ClusterIP: "10.0.0.1", Selector: map[string]string{"app": "web"},
				Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}, {Name: "metrics", Port: 9090, TargetPort: intstr.FromInt32(9090)}},
			},
		}
		if change != nil {
			change(s)
		}
		return s
	}
	other := endpointPod("other", "10.1.0.3", true)
	other.Spec.Containers[0].Ports[0].ContainerPort = 8081
	pods := []*corev1.Pod{endpointPod("b", "10.1.0.2", true), endpointPod("a", "10.1.0.1", false), other}
	for name, tc := range map[string]struct {
		svc  *corev1.Service
		pods []*corev1.Pod
		want string
	}{
		"named ports split, common ports share": {service(nil), pods, `
ready[10.1.0.2] notReady[10.1.0.1] ports[http:8080]
ready[10.1.0.3] notReady[] ports[http:8081]
ready[10.1.0.2 10.1.0.3] notReady[10.1.0.1] ports[metrics:9090]`},
		"same addresses share a subset": {service(nil), pods[:2], `ready[10.1.0.2] notReady[10.1.0.1] ports[http:8080 metrics:9090]`},
		"not ready addresses published": {service(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }), pods[:2],
			`ready[10.1.0.1 10.1.0.2] notReady[] ports[http:8080 metrics:9090]`},
		"headless without ports": {service(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone; s.Spec.Ports = nil }), pods[:1],
			`ready[10.1.0.2] notReady[] ports[]`},
		"no pods": {service(nil), nil, ""},
	} {
		t.Run(name, func(t *testing.T) { want(t, printSubsets(endpointSubsets(tc.svc, tc.pods)), tc.want) })
	}
}

func TestTruncateEndpoints(t *testing.T) {
	addresses := func(n int) []corev1.EndpointAddress { return make([]corev1.EndpointAddress, n) }
	for name, tc := range map[string]struct {
		subsets []corev1.EndpointSubset
		want    string
	}{
		"fits":           {[]corev1.EndpointSubset{{Addresses: addresses(6), NotReadyAddresses: addresses(4)}}, "false 6/4"},
		"ready first":    {[]corev1.EndpointSubset{{Addresses: addresses(6), NotReadyAddresses: addresses(9)}}, "true 6/4"},
		"only ready":     {[]corev1.EndpointSubset{{Addresses: addresses(12), NotReadyAddresses: addresses(9)}}, "true 10/0"},
		"in proportion":  {[]corev1.EndpointSubset{{Addresses: addresses(15)}, {Addresses: addresses(5)}}, "true 8/0 2/0"},
		"rest not ready": {[]corev1.EndpointSubset{{Addresses: addresses(4)}, {NotReadyAddresses: addresses(20)}}, "true 4/0 0/6"},
	} {
		t.Run(name, func(t *testing.T) {
			out := []string{fmt.Sprint(truncate(tc.subsets, 10))}
			for _, s := range tc.subsets {
				out = append(out, fmt.Sprintf("%d/%d", len(s.Addresses), len(s.NotReadyAddresses)))
			}
			if got := strings.Join(out, " "); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestEndpointsFollowPods(t *testing.T) {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web", Labels: map[string]string{"l": "v"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	w := controltest.New(t)
	r := NewEndpoints(w.Client, w.Recorder(), w.Clock)
	w.WatchSelf(&corev1.Service{})
	w.Watch(&corev1.Pod{}, control.ServicesOfPods(w.Client))
	w.Do(func() {
		if err := w.Client.Create(t.Context(), svc); err != nil {
			t.Fatal(err)
		}
	})
	want(t, w.Run(r), `create Endpoints web`)
	e := controltest.Get(w, "a", "web", &corev1.Endpoints{}) //nolint:staticcheck // Endpoints are what is tested
	if d := cmp.Diff(map[string]string{"l": "v", endpointsManagedBy: endpointsManager, corev1.IsHeadlessService: ""}, e.Labels); d != "" {
		t.Error(d)
	}
	w.Do(func() {
		if err := w.Client.Create(t.Context(), endpointPod("p", "10.1.0.1", true)); err != nil {
			t.Fatal(err)
		}
	})
	if got := w.Run(r); !strings.Contains(got, `update Endpoints web: `) || !strings.Contains(got, `"ip":"10.1.0.1"`) {
		t.Errorf("the pod's address is missing: %s", got)
	}
	w.Delete(svc)
	want(t, w.Run(r), `delete Endpoints web: (gone)`)
}
