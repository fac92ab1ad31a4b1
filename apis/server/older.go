package server

import (
	"fmt"
	"reflect"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	admissionregistrationv1beta1 "k8s.io/api/admissionregistration/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	storagev1 "k8s.io/api/storage/v1"
	storagev1beta1 "k8s.io/api/storage/v1beta1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// older is a type that upstream's releases before this one store, while it serves a
// newer version too: snapshots of their etcd have it. The newer one has the same
// fields under the same numbers.
type older struct {
	version       schema.GroupVersion
	stored, newer protobufObject
}

// protobufObject is any k8s.io/api type.
type protobufObject interface {
	runtime.Object
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

func olderTypes() []older {
	admission, network, storage := admissionregistrationv1beta1.SchemeGroupVersion, networkingv1beta1.SchemeGroupVersion, storagev1beta1.SchemeGroupVersion
	return []older{
		{admission, &admissionregistrationv1beta1.MutatingAdmissionPolicy{}, &admissionregistrationv1.MutatingAdmissionPolicy{}},
		{admission, &admissionregistrationv1beta1.MutatingAdmissionPolicyBinding{}, &admissionregistrationv1.MutatingAdmissionPolicyBinding{}},
		{network, &networkingv1beta1.IPAddress{}, &networkingv1.IPAddress{}},
		{network, &networkingv1beta1.ServiceCIDR{}, &networkingv1.ServiceCIDR{}},
		{storage, &storagev1beta1.VolumeAttributesClass{}, &storagev1.VolumeAttributesClass{}},
	}
}

// register adds the older type and its conversions to and from the hub's.
func (o older) register(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(o.version, o.stored)
	if err := scheme.AddConversionFunc(o.stored, o.newer, convertWire); err != nil {
		return err
	}
	return scheme.AddConversionFunc(o.newer, o.stored, convertWire)
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
