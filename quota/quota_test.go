package quota

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiquota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/utils/ptr"
)

func gpuClass(name, extended string, age time.Duration) *resourcev1.DeviceClass {
	c := &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))}}
	if extended != "" {
		c.Spec.ExtendedResourceName = &extended
	}
	return c
}

func TestMeasured(t *testing.T) {
	classes := NewDeviceClasses([]*resourcev1.DeviceClass{gpuClass("old", "x.io/gpu", time.Hour), gpuClass("gpu", "x.io/gpu", 0), gpuClass("nic", "", 0)})
	for name, want := range map[string]string{
		"pods": "pods", "cpu": "pods", "limits.memory": "pods", "hugepages-2Mi": "pods", "requests.hugepages-2Mi": "pods",
		"requests.x.io/fpga": "pods", "requests.x.io/gpu": "pods resourceclaims.resource.k8s.io", "requests.kubernetes.io/x": "",
		"requests.deviceclass.resource.kubernetes.io/nic":   "pods resourceclaims.resource.k8s.io",
		"requests.deviceclass.resource.kubernetes.io/other": "pods",
		"gpu.deviceclass.resource.k8s.io/devices":           "resourceclaims.resource.k8s.io",
		"gold.storageclass.storage.k8s.io/requests.storage": "persistentvolumeclaims",
		"services.nodeports":                                "services", "secrets": "secrets", "count/jobs.batch": "jobs.batch", "nonsense": "",
	} {
		if got := strings.Join(Measured(corev1.ResourceName(name), classes), " "); got != want {
			t.Errorf("%s is measured by %q, want %q", name, got, want)
		}
	}
	if got := classes.Class("x.io/gpu"); got != "gpu" {
		t.Errorf("the newest class stands for a resource, got %q", got)
	}
}

func TestDeviceUsage(t *testing.T) {
	classes := NewDeviceClasses([]*resourcev1.DeviceClass{gpuClass("gpu", "x.io/gpu", 0)})
	claim := &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
		{Name: "a", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 2}},
		{Name: "b", FirstAvailable: []resourcev1.DeviceSubRequest{
			{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1},
			{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 3},
			{DeviceClassName: "nic", AllocationMode: resourcev1.DeviceAllocationModeAll}}},
		{Name: "c", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AllocationMode: "Unheard"}},
	}}}}
	pod := corev1.ResourceList{"requests.x.io/gpu": resource.MustParse("2")}
	want := corev1.ResourceList{
		"gpu.deviceclass.resource.k8s.io/devices":         resource.MustParse("5"),
		"requests.deviceclass.resource.kubernetes.io/gpu": resource.MustParse("5"),
		"requests.x.io/gpu":                               resource.MustParse("3"),
		"nic.deviceclass.resource.k8s.io/devices":         resource.MustParse("32"),
		"requests.deviceclass.resource.kubernetes.io/nic": resource.MustParse("32"),
	}
	if got := DeviceUsage(claim, classes, pod); !apiquota.Equals(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestChargedWithPod(t *testing.T) {
	made := func(name string, age time.Duration, owner string) *resourcev1.ResourceClaim {
		c := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))}}
		if owner != "" {
			c.Annotations = map[string]string{resourcev1.ExtendedResourceClaimAnnotation: "true"}
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u", Controller: ptr.To(true)}}
		}
		return c
	}
	first, second, own := made("a", time.Hour, "p"), made("b", 0, "p"), made("c", 0, "")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}}
	all := []*resourcev1.ResourceClaim{second, own, first}
	for _, c := range all {
		if got, want := ChargedWithPod(c, pod, all), c == first; got != want {
			t.Errorf("%s: %v", c.Name, got)
		}
	}
	pod.Status.ExtendedResourceClaimStatus = &corev1.PodExtendedResourceClaimStatus{ResourceClaimName: "b"}
	if !ChargedWithPod(second, pod, all) || ChargedWithPod(first, pod, all) {
		t.Error("the claim that the pod names is the one")
	}
}
