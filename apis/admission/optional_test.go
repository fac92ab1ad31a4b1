package admission

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"
)

// TestOptionalPlugins: those that are off by default.
func TestOptionalPlugins(t *testing.T) {
	w := newWorld(t, nil,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", Annotations: map[string]string{nodeSelectorAnnotation: "disk=ssd", defaultTolerations: `[{"key":"a","operator":"Exists"}]`}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "strict"}})
	pod := func(change func(*corev1.PodSpec)) *corev1.Pod {
		return newPod(func(p *corev1.Pod) {
			if change != nil {
				change(&p.Spec)
			}
		})
	}
	service := func(ips ...string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{ExternalIPs: ips}}
	}
	wide := pod(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "zone"}}}}
	})
	for _, c := range []struct {
		plugin string
		c      call
		want   string
	}{
		{"AlwaysAdmit", call{resource: "pods", namespace: "ns", obj: pod(nil)}, ""},
		{"AlwaysDeny", call{resource: "pods", namespace: "ns", obj: pod(nil)}, "admission control is denying all modifications"},
		{"LimitPodHardAntiAffinityTopology", call{resource: "pods", namespace: "ns", obj: wide}, "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed"},
		{"DenyServiceExternalIPs", call{resource: "services", namespace: "ns", obj: service("1.2.3.4")}, "Use of external IPs is denied by admission control"},
		{"DenyServiceExternalIPs", call{resource: "services", namespace: "ns", op: admission.Update, obj: service("1.2.3.4"), old: service("1.2.3.4", "5.6.7.8")}, ""},
		{"NamespaceExists", call{resource: "pods", namespace: "gone", obj: pod(nil)}, `namespaces "gone" not found`},
		{"NamespaceExists", call{resource: "pods", namespace: "ns", obj: pod(nil)}, ""},
		{"PodNodeSelector", call{resource: "pods", namespace: "ns", obj: pod(func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "hdd"} })}, "pod node label selector conflicts with its namespace node label selector"},
		{"PodNodeSelector", call{resource: "pods", namespace: "strict", obj: pod(func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"x": "y"} })}, "pod node label selector labels conflict with its namespace whitelist"},
		{"PodTolerationRestriction", call{resource: "pods", namespace: "strict", obj: pod(func(s *corev1.PodSpec) {
			s.Tolerations = []corev1.Toleration{{Key: "b", Operator: corev1.TolerationOpExists}}
		})}, "conflict with its cluster whitelist"},
	} {
		t.Run(c.plugin, func(t *testing.T) { expect(t, w.do(t, c.plugin, c.c), c.want) })
	}
	t.Run("changes", func(t *testing.T) {
		p := pod(func(s *corev1.PodSpec) { s.Containers[0].Resources.Requests = resources("x.io/gpu", "1") })
		for _, plugin := range []string{"AlwaysPullImages", "ExtendedResourceToleration", "PodNodeSelector", "PodTolerationRestriction"} {
			if plugin == "PodTolerationRestriction" {
				p.Spec.Tolerations = nil
			}
			expect(t, w.do(t, plugin, call{resource: "pods", namespace: "ns", obj: p}), "")
			switch plugin {
			case "ExtendedResourceToleration":
				if len(p.Spec.Tolerations) != 1 || p.Spec.Tolerations[0].Key != "x.io/gpu" {
					t.Errorf("tolerations %v", p.Spec.Tolerations)
				}
			case "PodTolerationRestriction":
				if len(p.Spec.Tolerations) != 1 || p.Spec.Tolerations[0].Key != "a" {
					t.Errorf("tolerations %v", p.Spec.Tolerations)
				}
			}
		}
		if p.Spec.Containers[0].ImagePullPolicy != corev1.PullAlways || p.Spec.InitContainers[0].ImagePullPolicy != corev1.PullAlways || p.Spec.NodeSelector["disk"] != "ssd" {
			t.Errorf("%+v", p.Spec)
		}
	})
	t.Run("NamespaceAutoProvision", func(t *testing.T) {
		expect(t, w.do(t, "NamespaceAutoProvision", call{resource: "pods", namespace: "fresh", obj: pod(nil)}), "")
		if _, err := w.client.CoreV1().Namespaces().Get(t.Context(), "fresh", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("EventRateLimit", func(t *testing.T) {
		for i, want := range []string{"", "", "limit reached on type Namespace for key ns"} {
			if got := w.do(t, "EventRateLimit", call{resource: "events", namespace: "ns", obj: &corev1.Event{}}); (got == "") != (want == "") {
				t.Errorf("event %d: %q, want %q", i, got, want)
			}
		}
	})
}

func TestOwnerReferences(t *testing.T) {
	w := newWorld(t, func(a authorizer.Attributes) bool { return a.GetVerb() == "delete" && a.GetName() == "mine" })
	owned := func(block bool) *corev1.Pod {
		return newPod(func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "u", BlockOwnerDeletion: ptr.To(block)}}
		})
	}
	for _, c := range []struct {
		name string
		c    call
		want string
	}{
		{"may delete", call{op: admission.Update, name: "mine", obj: owned(false), old: newPod(nil)}, ""},
		{"may not", call{op: admission.Update, name: "other", obj: owned(false), old: newPod(nil)}, "cannot set an ownerRef on a resource you can't delete"},
		{"unchanged", call{op: admission.Update, name: "other", obj: owned(true), old: owned(true)}, ""},
		{"status", call{op: admission.Update, sub: "status", name: "other", obj: owned(false), old: newPod(nil)}, ""},
		{"blocks", call{name: "mine", obj: owned(true)}, "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion v1 Kind Node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.c.resource, c.c.namespace = "pods", "ns"
			expect(t, w.do(t, "OwnerReferencesPermissionEnforcement", c.c), c.want)
		})
	}
}

func TestReadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: [{name: EventRateLimit, configuration: {limits: []}}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.ConfigFor("EventRateLimit")
	if err != nil || r == nil {
		t.Fatalf("%v, %v", r, err)
	}
	if _, err := newEventRateLimit(Options{}, r); err == nil {
		t.Error("a configuration without limits must be refused")
	}
	if CheckNames([]string{"ResourceQuota", "JobValidation"}) != nil || CheckNames([]string{"NoSuch"}) == nil {
		t.Error("names")
	}
}
