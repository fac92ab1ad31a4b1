package resource

import (
	"context"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// allocatedClaim has one device.
func allocatedClaim() claim {
	c := ResourceClaim().New()
	c.Spec.Devices.Requests = []resourcev1.DeviceRequest{{Name: "one"}}
	c.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{
		Results: []resourcev1.DeviceRequestAllocationResult{{Request: "one", Driver: "d.example.com", Pool: "p", Device: "x"}}}}
	return c
}

func TestClaimStatus(t *testing.T) {
	device := resourcev1.AllocatedDeviceStatus{Driver: "d.example.com", Pool: "p", Device: "x"}
	pod := resourcev1.ResourceClaimConsumerReference{Resource: "pods", Name: "a", UID: "u"}
	for _, c := range []struct {
		name   string
		change func(now, old claim)
		want   string
	}{
		{"allocated", func(now, old claim) { old.Status = resourcev1.ResourceClaimStatus{} }, ""},
		{"reserved and reported", func(now, _ claim) {
			now.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{pod}
			now.Status.Devices = []resourcev1.AllocatedDeviceStatus{device}
		}, ""},
		{"reserved without allocation", func(now, old claim) {
			now.Status = resourcev1.ResourceClaimStatus{ReservedFor: []resourcev1.ResourceClaimConsumerReference{pod}}
		}, "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"},
		{"reserved while deleted", func(now, _ claim) {
			now.DeletionTimestamp = &metav1.Time{}
			now.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{pod}
		}, "status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"},
		{"another device", func(now, _ claim) {
			other := device
			other.Device, other.Data = "y", &runtime.RawExtension{Raw: []byte("[]")}
			now.Status.Devices = []resourcev1.AllocatedDeviceStatus{other}
		}, "[status.devices[0]: Invalid value: \"d.example.com/p/y\": must be an allocated device in the claim, status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object]"},
		{"unknown request", func(now, old claim) {
			old.Status = resourcev1.ResourceClaimStatus{}
			now.Status.Allocation.Devices.Results[0].Request = "two"
		}, "status.allocation.devices.results[0].request: Invalid value: \"two\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, old := allocatedClaim(), allocatedClaim()
			c.change(now, old)
			got := ""
			if err := ResourceClaim().Status.Validate(context.Background(), now, old).ToAggregate(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestDeallocatedDevicesLoseTheirStatus(t *testing.T) {
	now, old := allocatedClaim(), allocatedClaim()
	now.Status.Allocation = nil
	now.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "d.example.com", Pool: "p", Device: "x"}}
	ResourceClaim().Status.Prepare(context.Background(), now, old)
	if now.Status.Devices != nil {
		t.Errorf("status of a device that the claim no longer has: %v", now.Status.Devices)
	}
}
