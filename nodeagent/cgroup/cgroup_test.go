package cgroup

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

func TestPath(t *testing.T) {
	m, err := New("/proa-1/")
	if err != nil {
		t.Fatal(err)
	}
	for qos, want := range map[v1.PodQOSClass]string{
		v1.PodQOSGuaranteed: "/proa-1/podu", v1.PodQOSBurstable: "/proa-1/burstable/podu", v1.PodQOSBestEffort: "/proa-1/besteffort/podu",
	} {
		if got := m.Path("u", qos); got != want {
			t.Errorf("%s: %s, want %s", qos, got, want)
		}
	}
	for _, bad := range []string{"", "/", "proa", "/a/.."} {
		if _, err := New(bad); err == nil {
			t.Errorf("New(%q) was accepted", bad)
		}
	}
}

func TestUIDCannotLeaveTheParent(t *testing.T) {
	m, _ := New("/proa-1")
	for _, uid := range []string{"", "../x", "a/b"} {
		p := &v1.Pod{}
		p.UID = types.UID(uid)
		if err := m.Create(t.Context(), p, v1.PodQOSGuaranteed); err == nil {
			t.Errorf("UID %q was accepted", uid)
		}
	}
}

func TestLimitsOf(t *testing.T) {
	list := func(cpu, mem string) v1.ResourceList {
		l := v1.ResourceList{}
		if cpu != "" {
			l[v1.ResourceCPU] = resource.MustParse(cpu)
		}
		if mem != "" {
			l[v1.ResourceMemory] = resource.MustParse(mem)
		}
		return l
	}
	for _, tc := range []struct {
		name string
		qos  v1.PodQOSClass
		res  []v1.ResourceRequirements
		want Limits
	}{
		{"best effort", v1.PodQOSBestEffort, []v1.ResourceRequirements{{}}, Limits{Shares: 2}},
		{"guaranteed", v1.PodQOSGuaranteed, []v1.ResourceRequirements{{Requests: list("1", "1Gi"), Limits: list("1", "1Gi")}}, Limits{Shares: 1024, Quota: 100000, Memory: 1 << 30}},
		{"sums", v1.PodQOSBurstable, []v1.ResourceRequirements{{Requests: list("100m", ""), Limits: list("1", "1Gi")}, {Requests: list("100m", ""), Limits: list("1", "1Gi")}}, Limits{Shares: 204, Quota: 200000, Memory: 2 << 30}},
		{"one without limits", v1.PodQOSBurstable, []v1.ResourceRequirements{{Requests: list("100m", ""), Limits: list("1", "1Gi")}, {}}, Limits{Shares: 102}},
	} {
		p := &v1.Pod{}
		for _, r := range tc.res {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: r})
		}
		if got := LimitsOf(p, tc.qos); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestLoosestAllowsBoth(t *testing.T) {
	a, b := Limits{Shares: 10, Quota: 2000, Memory: 5}, Limits{Shares: 20, Quota: 1000}
	want := Limits{Shares: 20, Quota: 2000}
	if got := loosest(a, b); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := want.explicit(); got != (Limits{Shares: 20, Quota: 2000, Memory: -1}) {
		t.Errorf("%+v", got)
	}
}
