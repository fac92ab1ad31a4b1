package resource

import (
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
)

// deviceID names an allocated device, or a share of one.
type deviceID struct{ driver, pool, device, share string }

// MarshalText makes error messages show it as upstream's do.
func (d deviceID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d deviceID) String() string {
	s := d.driver + "/" + d.pool + "/" + d.device
	if d.share != "" {
		s += "/" + d.share
	}
	return s
}

func statusID(d *resourcev1.AllocatedDeviceStatus) deviceID {
	return deviceID{d.Driver, d.Pool, d.Device, ptr.Deref(d.ShareID, "")}
}

func allocated(a *resourcev1.AllocationResult) map[deviceID]bool {
	ids := map[deviceID]bool{}
	if a != nil {
		for _, r := range a.Devices.Results {
			ids[deviceID{r.Driver, r.Pool, r.Device, string(ptr.Deref(r.ShareID, ""))}] = true
		}
	}
	return ids
}

// dropDeallocated drops the state of devices that the claim had and has no more.
func dropDeallocated(now, old *resourcev1.ResourceClaimStatus) {
	had, has := allocated(old.Allocation), allocated(now.Allocation)
	now.Devices = slices.DeleteFunc(now.Devices, func(d resourcev1.AllocatedDeviceStatus) bool {
		id := statusID(&d)
		return had[id] && !has[id]
	})
	if len(now.Devices) == 0 {
		now.Devices = nil
	}
}

func validateClaimStatus(c claim, old *resourcev1.ResourceClaimStatus, path *field.Path) (errs field.ErrorList) {
	s := &c.Status
	reserved := path.Child("reservedFor")
	errs = append(errs, set(s.ReservedFor, resourcev1.ResourceClaimReservedForMaxSize, reserved,
		func(r *resourcev1.ResourceClaimConsumerReference) types.UID { return r.UID }, validateConsumer)...)
	has := allocated(s.Allocation)
	errs = append(errs, set(s.Devices, -1, path.Child("devices"), statusID,
		func(d *resourcev1.AllocatedDeviceStatus, path *field.Path) field.ErrorList {
			return validateDeviceStatus(d, has, path)
		})...)
	if len(s.ReservedFor) > 0 {
		if s.Allocation == nil {
			errs = append(errs, field.Forbidden(reserved, "may not be specified when `allocated` is not set"))
		} else if c.DeletionTimestamp != nil && slices.ContainsFunc(s.ReservedFor, func(r resourcev1.ResourceClaimConsumerReference) bool {
			return !slices.Contains(old.ReservedFor, r)
		}) {
			errs = append(errs, field.Forbidden(reserved, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"))
		}
	}
	switch {
	case s.Allocation == nil:
	case old.Allocation != nil:
		errs = append(errs, core.ValidateImmutable(s.Allocation, old.Allocation, path.Child("allocation"))...)
	default:
		errs = append(errs, validateAllocation(s.Allocation, namesOf(&c.Spec.Devices), path.Child("allocation"))...)
	}
	return errs
}

func validateConsumer(r *resourcev1.ResourceClaimConsumerReference, path *field.Path) (errs field.ErrorList) {
	for _, f := range []struct{ name, value string }{{"resource", r.Resource}, {"name", r.Name}, {"uid", string(r.UID)}} {
		if f.value == "" {
			errs = append(errs, field.Required(path.Child(f.name), ""))
		}
	}
	return errs
}

func validateAllocation(a *resourcev1.AllocationResult, names requestNames, path *field.Path) field.ErrorList {
	at := path.Child("devices")
	errs := list(a.Devices.Results, resourcev1.AllocationResultsMaxSize, at.Child("results"),
		func(r *resourcev1.DeviceRequestAllocationResult, path *field.Path) field.ErrorList {
			errs := names.validateRef(&r.Request, path.Child("request"))
			errs = append(errs, validateDriver(r.Driver, path.Child("driver"))...)
			errs = append(errs, validatePool(r.Pool, path.Child("pool"))...)
			errs = append(errs, core.ValidateDNSLabel(r.Device, path.Child("device"))...)
			errs = append(errs, validateBinding(r.BindingConditions, r.BindingFailureConditions, path)...)
			if r.ShareID != nil {
				errs = append(errs, validateUID(string(*r.ShareID), path.Child("shareID"))...)
			}
			return errs
		})
	// From the class and from the claim.
	errs = append(errs, list(a.Devices.Config, 2*resourcev1.DeviceConfigMaxSize, at.Child("config"),
		func(c *resourcev1.DeviceAllocationConfiguration, path *field.Path) (errs field.ErrorList) {
			sources := []resourcev1.AllocationConfigSource{resourcev1.AllocationConfigSourceClaim, resourcev1.AllocationConfigSourceClass}
			if c.Source == "" {
				errs = append(errs, field.Required(path.Child("source"), ""))
			} else if !slices.Contains(sources, c.Source) {
				errs = append(errs, field.NotSupported(path.Child("source"), c.Source, sources))
			}
			errs = append(errs, names.validateRefs(c.Requests, path.Child("requests"))...)
			return append(errs, validateConfiguration(&c.DeviceConfiguration, false, path)...)
		})...)
	if a.NodeSelector != nil {
		errs = append(errs, core.ValidateNodeSelector(a.NodeSelector, path.Child("nodeSelector"))...)
	}
	return errs
}

func validateDeviceStatus(d *resourcev1.AllocatedDeviceStatus, has map[deviceID]bool, path *field.Path) field.ErrorList {
	errs := validateDriver(d.Driver, path.Child("driver"))
	errs = append(errs, validatePool(d.Pool, path.Child("pool"))...)
	errs = append(errs, core.ValidateDNSLabel(d.Device, path.Child("device"))...)
	if d.ShareID != nil {
		errs = append(errs, validateUID(*d.ShareID, path.Child("shareID"))...)
	}
	if id := statusID(d); !has[id] {
		errs = append(errs, field.Invalid(path, id, "must be an allocated device in the claim"))
	}
	const maxConditions = resourcev1.AllocatedDeviceStatusMaxConditions
	conditions := path.Child("conditions")
	if n := len(d.Conditions); n > maxConditions {
		errs = append(errs, field.TooMany(conditions, n, maxConditions))
	}
	errs = append(errs, metav1validation.ValidateConditions(d.Conditions, conditions)...)
	if d.Data != nil && len(d.Data.Raw) > 0 {
		errs = append(errs, validateObject(*d.Data, false, resourcev1.AllocatedDeviceStatusDataMaxLength, path.Child("data"))...)
	}
	n := d.NetworkData
	if n == nil {
		return errs
	}
	at := path.Child("networkData")
	if limit := resourcev1.NetworkDeviceDataInterfaceNameMaxLength; len(n.InterfaceName) > limit {
		errs = append(errs, field.TooLong(at.Child("interfaceName"), "", limit))
	}
	if limit := resourcev1.NetworkDeviceDataHardwareAddressMaxLength; len(n.HardwareAddress) > limit {
		errs = append(errs, field.TooLong(at.Child("hardwareAddress"), "", limit))
	}
	const maxIPs = resourcev1.NetworkDeviceDataMaxIPs
	return append(errs, set(n.IPs, maxIPs, at.Child("ips"), itself, func(ip *string, path *field.Path) field.ErrorList {
		return validation.IsValidInterfaceAddress(path, *ip)
	})...)
}
