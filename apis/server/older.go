package server

import (
	"fmt"
	"reflect"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	admissionregistrationv1alpha1 "k8s.io/api/admissionregistration/v1alpha1"
	admissionregistrationv1beta1 "k8s.io/api/admissionregistration/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	resourcev1 "k8s.io/api/resource/v1"
	resourcev1beta2 "k8s.io/api/resource/v1beta2"
	storagev1 "k8s.io/api/storage/v1"
	storagev1beta1 "k8s.io/api/storage/v1beta1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// older is a type of a version before the stable one, which has the same fields
// under the same numbers. Upstream's earlier releases store some of them, so that
// snapshots of their etcd have them, and --runtime-config may serve them.
type older struct {
	version          schema.GroupVersion
	object, stable   protobufObject
	list, stableList protobufObject
}

// protobufObject is any k8s.io/api type.
type protobufObject interface {
	runtime.Object
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

func olderTypes() []older {
	alpha, beta := admissionregistrationv1alpha1.SchemeGroupVersion, admissionregistrationv1beta1.SchemeGroupVersion
	network, storage, resource := networkingv1beta1.SchemeGroupVersion, storagev1beta1.SchemeGroupVersion, resourcev1beta2.SchemeGroupVersion
	return []older{
		{alpha, &admissionregistrationv1alpha1.MutatingAdmissionPolicy{}, &admissionregistrationv1.MutatingAdmissionPolicy{},
			&admissionregistrationv1alpha1.MutatingAdmissionPolicyList{}, &admissionregistrationv1.MutatingAdmissionPolicyList{}},
		{alpha, &admissionregistrationv1alpha1.MutatingAdmissionPolicyBinding{}, &admissionregistrationv1.MutatingAdmissionPolicyBinding{},
			&admissionregistrationv1alpha1.MutatingAdmissionPolicyBindingList{}, &admissionregistrationv1.MutatingAdmissionPolicyBindingList{}},
		{beta, &admissionregistrationv1beta1.MutatingAdmissionPolicy{}, &admissionregistrationv1.MutatingAdmissionPolicy{},
			&admissionregistrationv1beta1.MutatingAdmissionPolicyList{}, &admissionregistrationv1.MutatingAdmissionPolicyList{}},
		{beta, &admissionregistrationv1beta1.MutatingAdmissionPolicyBinding{}, &admissionregistrationv1.MutatingAdmissionPolicyBinding{},
			&admissionregistrationv1beta1.MutatingAdmissionPolicyBindingList{}, &admissionregistrationv1.MutatingAdmissionPolicyBindingList{}},
		{network, &networkingv1beta1.IPAddress{}, &networkingv1.IPAddress{}, &networkingv1beta1.IPAddressList{}, &networkingv1.IPAddressList{}},
		{network, &networkingv1beta1.ServiceCIDR{}, &networkingv1.ServiceCIDR{}, &networkingv1beta1.ServiceCIDRList{}, &networkingv1.ServiceCIDRList{}},
		{resource, &resourcev1beta2.DeviceClass{}, &resourcev1.DeviceClass{}, &resourcev1beta2.DeviceClassList{}, &resourcev1.DeviceClassList{}},
		{resource, &resourcev1beta2.ResourceClaim{}, &resourcev1.ResourceClaim{}, &resourcev1beta2.ResourceClaimList{}, &resourcev1.ResourceClaimList{}},
		{resource, &resourcev1beta2.ResourceClaimTemplate{}, &resourcev1.ResourceClaimTemplate{},
			&resourcev1beta2.ResourceClaimTemplateList{}, &resourcev1.ResourceClaimTemplateList{}},
		{resource, &resourcev1beta2.ResourceSlice{}, &resourcev1.ResourceSlice{}, &resourcev1beta2.ResourceSliceList{}, &resourcev1.ResourceSliceList{}},
		{storage, &storagev1beta1.VolumeAttributesClass{}, &storagev1.VolumeAttributesClass{},
			&storagev1beta1.VolumeAttributesClassList{}, &storagev1.VolumeAttributesClassList{}},
	}
}

// register adds the older type, its list, and their conversions to and from the hub's.
func (o older) register(scheme *runtime.Scheme) error {
	if !scheme.IsVersionRegistered(o.version) {
		metav1.AddToGroupVersion(scheme, o.version)
	}
	scheme.AddKnownTypes(o.version, o.object, o.list)
	// Defaults are the hub's.
	toHub := func(in, out any, s conversion.Scope) error {
		if err := convertWire(in, out, s); err != nil {
			return err
		}
		scheme.Default(out.(runtime.Object))
		return nil
	}
	for _, c := range []struct {
		from, to protobufObject
		convert  conversion.ConversionFunc
	}{
		{o.object, o.stable, toHub}, {o.stable, o.object, convertWire},
		{o.list, o.stableList, convertWireList}, {o.stableList, o.list, convertWireList},
	} {
		if err := scheme.AddConversionFunc(c.from, c.to, c.convert); err != nil {
			return err
		}
	}
	return nil
}

// convertWire converts between types of one wire format.
func convertWire(in, out any, _ conversion.Scope) error {
	from, ok := in.(protobufObject)
	to, ok2 := out.(protobufObject)
	if !ok || !ok2 {
		return fmt.Errorf("convert %T to %T: not API types", in, out)
	}
	data, err := from.Marshal()
	if err != nil {
		return err
	}
	reflect.ValueOf(out).Elem().SetZero()
	return to.Unmarshal(data)
}

// convertWireList keeps an empty list from becoming none, which JSON shows.
func convertWireList(in, out any, s conversion.Scope) error {
	if err := convertWire(in, out, s); err != nil {
		return err
	}
	if list := out.(runtime.Object); meta.LenList(list) == 0 {
		return meta.SetList(list, nil)
	}
	return nil
}
