package admission

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
)

func resources(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

// quotaOf is a counted quota: hard limits, of which some is used.
func quotaOf(hard, used corev1.ResourceList, scopes ...corev1.ResourceQuotaScope) *corev1.ResourceQuota {
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: hard, Scopes: scopes}}
	if used != nil {
		q.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: used}
		for name := range hard {
			if _, ok := used[name]; !ok {
				used[name] = resource.MustParse("0")
			}
		}
	}
	return q
}

func TestResourceQuota(t *testing.T) {
	pod := newPod(func(p *corev1.Pod) {
		p.Spec.InitContainers = nil
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: resources("cpu", "500m", "x.io/gpu", "2"), Limits: resources("cpu", "1", "x.io/gpu", "2")}
	})
	small := pod.DeepCopy()
	small.ResourceVersion = "7"
	small.Spec.Containers[0].Resources.Requests = resources("cpu", "100m", "x.io/gpu", "2")
	balancer := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 1}, {Port: 2}}}}
	cluster := balancer.DeepCopy()
	cluster.ResourceVersion, cluster.Spec.Type = "7", corev1.ServiceTypeClusterIP
	claim := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: ptr.To("gold"), Resources: corev1.VolumeResourceRequirements{Requests: resources("storage", "2Gi")}}}
	devices := &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
		{Name: "r", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 3}}}}}}
	gpu := &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "gpu"}, Spec: resourcev1.DeviceClassSpec{ExtendedResourceName: ptr.To("x.io/gpu")}}
	for _, c := range []struct {
		name   string
		quota  *corev1.ResourceQuota
		c      call
		want   string
		usedBy string // the resource and usage written
	}{
		{"room", quotaOf(resources("requests.cpu", "1", "pods", "2"), resources("requests.cpu", "250m", "pods", "1")), call{resource: "pods", obj: pod}, "", "requests.cpu=750m"},
		{"no room", quotaOf(resources("requests.cpu", "1", "pods", "2"), resources("requests.cpu", "600m", "pods", "2")), call{resource: "pods", obj: pod},
			`pods "p" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=2,requests.cpu=600m, limited: pods=2,requests.cpu=1`, ""},
		{"must say", quotaOf(resources("cpu", "1", "limits.memory", "1"), resources()), call{resource: "pods", obj: newPod(nil)}, "failed quota: q: must specify cpu for: c,i; limits.memory for: c,i", ""},
		{"not counted yet", quotaOf(resources("pods", "1"), nil), call{resource: "pods", obj: pod}, "", ""},
		{"half counted", &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "q"}, Status: corev1.ResourceQuotaStatus{Hard: resources("pods", "1")}}, call{resource: "pods", obj: pod}, "status unknown for quota: q, resources: pods", ""},
		{"other scope", quotaOf(resources("pods", "0"), resources(), corev1.ResourceQuotaScopeBestEffort), call{resource: "pods", obj: pod}, "", ""},
		{"scope", quotaOf(resources("pods", "0"), resources(), corev1.ResourceQuotaScopeNotBestEffort), call{resource: "pods", obj: pod}, "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", ""},
		{"resize", quotaOf(resources("requests.cpu", "1"), resources("requests.cpu", "800m")), call{resource: "pods", sub: "resize", op: admission.Update, obj: pod, old: small}, "exceeded quota: q, requested: requests.cpu=400m, used: requests.cpu=800m, limited: requests.cpu=1", ""},
		{"update of a pod", quotaOf(resources("requests.cpu", "0"), resources()), call{resource: "pods", op: admission.Update, obj: pod, old: small}, "", ""},
		{"status", quotaOf(resources("pods", "0"), resources()), call{resource: "pods", sub: "status", op: admission.Update, obj: pod, old: small}, "", ""},
		{"extended resource", quotaOf(resources("requests.x.io/gpu", "3"), resources("requests.x.io/gpu", "2")), call{resource: "pods", obj: pod}, "exceeded quota: q, requested: requests.x.io/gpu=2, used: requests.x.io/gpu=2, limited: requests.x.io/gpu=3", ""},
		{"service changes", quotaOf(resources("services.nodeports", "1", "services.loadbalancers", "1"), resources()), call{resource: "services", op: admission.Update, obj: balancer, old: cluster}, "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1", ""},
		{"claim", quotaOf(resources("gold.storageclass.storage.k8s.io/requests.storage", "1Gi"), resources()), call{resource: "persistentvolumeclaims", obj: claim}, "requested: gold.storageclass.storage.k8s.io/requests.storage=2Gi", ""},
		{"configmap", quotaOf(resources("configmaps", "1", "count/configmaps", "5"), resources()), call{resource: "configmaps", obj: &corev1.ConfigMap{}}, "", "count/configmaps=1"},
		{"custom resource", quotaOf(resources("count/widgets.x.io", "1"), resources("count/widgets.x.io", "1")), call{group: "x.io", resource: "widgets", obj: &corev1.ConfigMap{}}, "exceeded quota: q, requested: count/widgets.x.io=1, used: count/widgets.x.io=1, limited: count/widgets.x.io=1", ""},
		{"devices", quotaOf(resources("gpu.deviceclass.resource.k8s.io/devices", "2"), resources()), call{group: "resource.k8s.io", resource: "resourceclaims", obj: devices}, "requested: gpu.deviceclass.resource.k8s.io/devices=3", ""},
		{"devices by the extended resource", quotaOf(resources("requests.x.io/gpu", "2"), resources()), call{group: "resource.k8s.io", resource: "resourceclaims", obj: devices}, "requested: requests.x.io/gpu=3", ""},
		{"event", quotaOf(resources("count/events", "0"), resources()), call{resource: "events", obj: &corev1.Event{}}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil, c.quota, gpu)
			c.c.namespace, c.c.name = "ns", "p"
			expect(t, w.do(t, "ResourceQuota", c.c), c.want)
			if c.usedBy != "" {
				q, err := w.client.CoreV1().ResourceQuotas("ns").Get(t.Context(), "q", metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				name, want, _ := strings.Cut(c.usedBy, "=")
				if n := q.Status.Used[corev1.ResourceName(name)]; n.String() != want {
					t.Errorf("charged %s, want %s", n.String(), want)
				}
			}
		})
	}
}

func TestQuotaPluginIsLast(t *testing.T) {
	names := Names()
	if names[len(names)-1] != "ResourceQuota" && names[len(names)-2] != "ResourceQuota" {
		t.Errorf("what quota charged must not be refused by another: %v", names)
	}
}

func TestStoragePlugins(t *testing.T) {
	class := func(name string, age time.Duration, isDefault, grows bool) *storagev1.StorageClass {
		c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))}, AllowVolumeExpansion: &grows}
		if isDefault {
			c.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
		}
		return c
	}
	w := newWorld(t, nil, class("z", 0, true, true), class("b", 0, true, false), class("a", time.Hour, true, true), class("newer", -time.Hour, false, true))
	claim := func(class *string, size string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: class, Resources: corev1.VolumeResourceRequirements{Requests: resources("storage", size)}}, Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
	}
	for _, c := range []struct{ class, want *string }{{nil, ptr.To("b")}, {ptr.To(""), ptr.To("")}, {ptr.To("a"), ptr.To("a")}} {
		o := claim(c.class, "1Gi", "")
		expect(t, w.do(t, "DefaultStorageClass", call{resource: "persistentvolumeclaims", namespace: "ns", obj: o}), "")
		if *o.Spec.StorageClassName != *c.want {
			t.Errorf("class %q, want %q", *o.Spec.StorageClassName, *c.want)
		}
		for range 2 {
			expect(t, w.do(t, "StorageObjectInUseProtection", call{resource: "persistentvolumeclaims", namespace: "ns", obj: o}), "")
		}
		if strings.Join(o.Finalizers, ",") != "kubernetes.io/pvc-protection" {
			t.Errorf("finalizers %v", o.Finalizers)
		}
	}
	for _, c := range []struct {
		class string
		phase corev1.PersistentVolumeClaimPhase
		size  string
		want  string
	}{
		{"z", corev1.ClaimBound, "2Gi", ""},
		{"z", corev1.ClaimPending, "2Gi", "Only bound persistent volume claims can be expanded"},
		{"z", corev1.ClaimPending, "1Gi", ""},
		{"b", corev1.ClaimBound, "2Gi", "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"},
		{"gone", corev1.ClaimBound, "2Gi", "only dynamically provisioned pvc can be resized"},
	} {
		expect(t, w.do(t, "PersistentVolumeClaimResize", call{resource: "persistentvolumeclaims", namespace: "ns", op: admission.Update,
			obj: claim(&c.class, c.size, c.phase), old: claim(&c.class, "1Gi", c.phase)}), c.want)
	}
}

func TestDefaultIngressClass(t *testing.T) {
	w := newWorld(t, nil, &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}}})
	for annotation, want := range map[string]string{"": "web", "kubernetes.io/ingress.class": ""} {
		i := &networkingv1.Ingress{}
		if annotation != "" {
			i.Annotations = map[string]string{annotation: "x"}
		}
		expect(t, w.do(t, "DefaultIngressClass", call{group: "networking.k8s.io", resource: "ingresses", namespace: "ns", obj: i}), "")
		if got := ptr.Deref(i.Spec.IngressClassName, ""); got != want {
			t.Errorf("class %q, want %q", got, want)
		}
	}
}

func TestPodTopologyLabels(t *testing.T) {
	w := newWorld(t, nil, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{corev1.LabelTopologyZone: "z1", "other": "x"}}})
	p := newPod(func(p *corev1.Pod) {
		p.Spec.NodeName = "n"
		p.Labels = map[string]string{corev1.LabelTopologyZone: "mine"}
	})
	expect(t, w.do(t, "PodTopologyLabels", call{resource: "pods", namespace: "ns", obj: p}), "")
	b := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}
	expect(t, w.do(t, "PodTopologyLabels", call{resource: "pods", sub: "binding", namespace: "ns", obj: b}), "")
	for _, labels := range []map[string]string{p.Labels, b.Labels} {
		if got, _ := json.Marshal(labels); string(got) != `{"topology.kubernetes.io/zone":"z1"}` {
			t.Errorf("%s", got)
		}
	}
	expect(t, w.do(t, "PodTopologyLabels", call{resource: "pods", sub: "binding", namespace: "ns", obj: &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "gone"}}}), "")
}

// TestLimitRangerLooksLive: a range that the cache does not have yet counts, and
// the answer is kept for a while.
func TestLimitRangerLooksLive(t *testing.T) {
	client := fake.NewClientset(&corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "l"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypeContainer, DefaultRequest: resources("cpu", "100m")}}}})
	clock := clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))
	// The informers never start: the cache knows nothing.
	l := newLimitRanger(Options{Client: client, Informers: informers.NewSharedInformerFactory(client, 0), Clock: clock})
	l.SetReadyFunc(func() bool { return true })
	admit := func() *corev1.Pod {
		p := newPod(nil)
		if err := l.Admit(context.Background(), call{resource: "pods", namespace: "ns", obj: p}.attributes(), nil); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for range 2 {
		if got := admit().Spec.Containers[0].Resources.Requests.Cpu().String(); got != "100m" {
			t.Errorf("request %s", got)
		}
	}
	if n := len(client.Actions()); n != 1 {
		t.Errorf("%d calls for two pods", n)
	}
	clock.SetTime(clock.Now().Add(liveAnswerTTL))
	admit()
	if n := len(client.Actions()); n != 2 {
		t.Errorf("%d calls once the answer is old", n)
	}
}
