package core

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"proa/controllers/control/controltest"
	"proa/quota"
)

func quotaWorld(t *testing.T, objs ...client.Object) (*controltest.World, *ResourceQuota, map[string]func(string)) {
	w := controltest.New(t)
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	for _, kind := range []string{"Pod", "Service", "PersistentVolumeClaim", "ConfigMap", "Secret", "ResourceQuota"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	changed := map[string]func(string){}
	r := &ResourceQuota{
		Client: w.Client, Clock: w.Clock, Mapper: mapper, Scheme: clientgoscheme.Scheme,
		Typed: map[schema.GroupVersionResource]client.Object{
			corev1.SchemeGroupVersion.WithResource("pods"):                   &corev1.Pod{},
			corev1.SchemeGroupVersion.WithResource("services"):               &corev1.Service{},
			corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"): &corev1.PersistentVolumeClaim{},
		},
		Watch: func(_ context.Context, obj client.Object, fn func(string)) error {
			changed[obj.GetObjectKind().GroupVersionKind().Kind] = fn
			return nil
		},
		queue: w.Queue,
	}
	w.WatchSelf(&corev1.ResourceQuota{})
	w.Watch(&corev1.Pod{}, r.events("pods"))
	w.Watch(&corev1.Service{}, r.events("services"))
	w.Do(func() {
		for _, obj := range objs {
			obj.SetNamespace("default")
			if err := w.Client.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
		}
	})
	return w, r, changed
}

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func quotaPod(name, cpu string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	if cpu != "" {
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list("cpu", cpu, "x.io/gpu", "1"), Limits: list("cpu", "1", "x.io/gpu", "1")}
	}
	return p
}

func TestResourceQuota(t *testing.T) {
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: list(
		"pods", "5", "requests.cpu", "2", "limits.cpu", "4", "requests.x.io/gpu", "3", "services", "2", "services.nodeports", "2",
		"configmaps", "3", "count/secrets", "3", "count/widgets.x.io", "1", "resourcequotas", "1")}}
	a, b := quotaPod("a", "500m"), quotaPod("b", "250m")
	np := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "np"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 1, Name: "a"}, {Port: 2, Name: "b"}}}}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm"}}
	w, r, changed := quotaWorld(t, q, a, b, np, cm)
	want(t, w.Run(r), `status ResourceQuota q: status.hard.configmaps="3" status.hard.count/secrets="3" status.hard.count/widgets.x.io="1" status.hard.limits.cpu="4" status.hard.pods="5" status.hard.requests.cpu="2" status.hard.requests.x.io/gpu="3" status.hard.resourcequotas="1" status.hard.services.nodeports="2" status.hard.services="2" status.used.configmaps="1" status.used.count/secrets="0" status.used.limits.cpu="2" status.used.pods="2" status.used.requests.cpu="750m" status.used.requests.x.io/gpu="2" status.used.resourcequotas="1" status.used.services.nodeports="2" status.used.services="1"`)
	w.SetPhase(a, corev1.PodSucceeded)
	want(t, w.Run(r), `status ResourceQuota q: status.used.limits.cpu="1" status.used.pods="1" status.used.requests.cpu="250m" status.used.requests.x.io/gpu="1"`)
	controltest.Update(w, np, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
	want(t, w.Run(r), `status ResourceQuota q: status.used.services.nodeports="0"`)
	w.Delete(cm)
	changed["ConfigMap"]("default")
	want(t, w.Run(r), `status ResourceQuota q: status.used.configmaps="0"`)
	controltest.Update(w, q, func(q *corev1.ResourceQuota) { q.Spec.Hard = list("pods", "9") })
	want(t, w.Run(r), `status ResourceQuota q: status.hard.configmaps=- status.hard.count/secrets=- status.hard.count/widgets.x.io=- status.hard.limits.cpu=- status.hard.pods="9" status.hard.requests.cpu=- status.hard.requests.x.io/gpu=- status.hard.resourcequotas=- status.hard.services.nodeports=- status.hard.services=- status.used.configmaps=- status.used.count/secrets=- status.used.limits.cpu=- status.used.requests.cpu=- status.used.requests.x.io/gpu=- status.used.resourcequotas=- status.used.services.nodeports=- status.used.services=-`)
	// What admission charged stays, though the object is not there yet.
	charged, fewer := q.DeepCopy(), q.DeepCopy()
	charged.Status.Used = list("pods", "2")
	fewer.Spec.Hard = list("pods", "3")
	for name, c := range map[string]struct {
		now  *corev1.ResourceQuota
		want bool
	}{"charged": {charged, false}, "limits": {fewer, true}} {
		if got := limitsChanged().Update(event.UpdateEvent{ObjectOld: q, ObjectNew: c.now}); got != c.want {
			t.Errorf("%s: counted %v", name, got)
		}
	}
}

func TestResourceQuotaScopes(t *testing.T) {
	effort, plain := quotaPod("best-effort", ""), quotaPod("plain", "1")
	deadline := quotaPod("deadline", "1")
	deadline.Spec.ActiveDeadlineSeconds = ptr.To(int64(5))
	high := quotaPod("high", "1")
	high.Spec.PriorityClassName = "high"
	cross := quotaPod("cross", "1")
	cross.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
		{PodAffinityTerm: corev1.PodAffinityTerm{Namespaces: []string{"other"}}}}}}
	pods := []*corev1.Pod{effort, plain, deadline, high, cross}
	class := func(op corev1.ScopeSelectorOperator, values ...string) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{
			{ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: op, Values: values}}}}
	}
	scope := func(s ...corev1.ResourceQuotaScope) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{Scopes: s}
	}
	for _, c := range []struct {
		spec corev1.ResourceQuotaSpec
		want string
	}{
		{scope(), "best-effort plain deadline high cross "},
		{scope(corev1.ResourceQuotaScopeBestEffort), "best-effort "},
		{scope(corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating), "deadline "},
		{scope(corev1.ResourceQuotaScopeNotTerminating), "best-effort plain high cross "},
		{scope(corev1.ResourceQuotaScopePriorityClass), "high "},
		{class(corev1.ScopeSelectorOpIn, "high", "low"), "high "},
		{class(corev1.ScopeSelectorOpNotIn, "high"), "best-effort plain deadline cross "},
		{class(corev1.ScopeSelectorOpDoesNotExist), "best-effort plain deadline cross "},
		{scope(corev1.ResourceQuotaScopeCrossNamespacePodAffinity), "cross "},
	} {
		got := ""
		scopes := quota.Scopes(&corev1.ResourceQuota{Spec: c.spec})
		for _, p := range pods {
			if quota.InScopes(scopes, p) {
				got += p.Name + " "
			}
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", scopes, got, c.want)
		}
	}
}

func TestQuotaUsage(t *testing.T) {
	now := controltest.Start
	late := quotaPod("late", "1")
	late.DeletionTimestamp = ptr.To(metav1.NewTime(now.Add(-time.Minute)))
	late.DeletionGracePeriodSeconds = ptr.To(int64(30))
	claim := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: ptr.To("gold"),
		Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "1Gi")}}}
	claim.Status.AllocatedResources = list("storage", "2Gi")
	lb := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: ptr.To(false), Ports: []corev1.ServicePort{{Port: 1, NodePort: 30000}, {Port: 2}}}}
	for _, c := range []struct {
		measured string
		obj      client.Object
		want     corev1.ResourceList
	}{
		{"pods", late, list("count/pods", "1")},
		{"persistentvolumeclaims", claim, list("count/persistentvolumeclaims", "1", "persistentvolumeclaims", "1", "requests.storage", "2Gi",
			"gold.storageclass.storage.k8s.io/persistentvolumeclaims", "1", "gold.storageclass.storage.k8s.io/requests.storage", "2Gi")},
		{"services", lb, list("count/services", "1", "services", "1", "services.loadbalancers", "1", "services.nodeports", "1")},
		{"secrets", &metav1.PartialObjectMetadata{}, list("count/secrets", "1", "secrets", "1")},
	} {
		got := quota.Usage(c.measured, c.obj, now)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.measured, got, c.want)
		}
		for name, n := range c.want {
			if g := got[name]; g.Cmp(n) != 0 {
				t.Errorf("%s: %s is %s, want %s", c.measured, name, g.String(), n.String())
			}
		}
	}
}
