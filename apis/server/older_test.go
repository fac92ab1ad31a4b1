package server

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	resourcev1 "k8s.io/api/resource/v1"
	resourcev1beta2 "k8s.io/api/resource/v1beta2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"proa/apis/kind"
)

// TestOlderTypesHaveTheStableOnesFields compares names, numbers and wire types of
// all fields, since they are converted by their wire format.
func TestOlderTypesHaveTheStableOnesFields(t *testing.T) {
	for _, o := range olderTypes() {
		for _, d := range differences(reflect.TypeOf(o.object), reflect.TypeOf(o.stable), "", map[reflect.Type]bool{}) {
			t.Errorf("%T: %s", o.object, d)
		}
	}
}

func differences(a, b reflect.Type, path string, seen map[reflect.Type]bool) (out []string) {
	if a == b || seen[a] {
		return nil
	}
	if a.Kind() != b.Kind() {
		return []string{fmt.Sprintf("%s: %s, %s", path, a, b)}
	}
	switch a.Kind() {
	case reflect.Map:
		out = differences(a.Key(), b.Key(), path+"{}", seen)
		return append(out, differences(a.Elem(), b.Elem(), path+"{}", seen)...)
	case reflect.Pointer, reflect.Slice:
		return differences(a.Elem(), b.Elem(), path, seen)
	case reflect.Struct:
		seen[a] = true
	default:
		return nil
	}
	if a.NumField() != b.NumField() {
		return []string{fmt.Sprintf("%s: %d fields, %d fields", path, a.NumField(), b.NumField())}
	}
	for i := range a.NumField() {
		f, g := a.Field(i), b.Field(i)
		wire := func(f reflect.StructField) string {
			tag, _, _ := strings.Cut(f.Tag.Get("protobuf"), ",casttype=")
			json, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return f.Name + " " + tag + " " + json
		}
		if wire(f) != wire(g) {
			out = append(out, fmt.Sprintf("%s: %s, %s", path, wire(f), wire(g)))
		}
		out = append(out, differences(f.Type, g.Type, path+"."+f.Name, seen)...)
	}
	return out
}

func TestOlderTypesConvert(t *testing.T) {
	slice := &kind.Kind[*resourcev1.ResourceSlice]{
		GVK: resourcev1.SchemeGroupVersion.WithKind("ResourceSlice"), Resource: "resourceslices",
		New:     func() *resourcev1.ResourceSlice { return &resourcev1.ResourceSlice{} },
		NewList: func() runtime.Object { return &resourcev1.ResourceSliceList{} },
		Default: func(s *resourcev1.ResourceSlice) { s.Spec.Driver = "default" },
	}
	scheme, err := NewScheme([]kind.Any{slice, slice.In("v1beta2")})
	if err != nil {
		t.Fatal(err)
	}
	codecs := NewCodecs(scheme)
	given := `{"apiVersion":"resource.k8s.io/v1beta2","kind":"ResourceSlice","metadata":{"name":"s"},"spec":{"pool":{"name":"p"}}}`
	hub := schema.GroupVersion{Group: resourcev1.GroupName, Version: runtime.APIVersionInternal}
	obj, _, err := codecs.DecoderToVersion(codecs.UniversalDeserializer(), hub).Decode([]byte(given), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	stable, ok := obj.(*resourcev1.ResourceSlice)
	if !ok || stable.Spec.Pool.Name != "p" || stable.Spec.Driver != "default" {
		t.Fatalf("decoded %T %+v", obj, obj)
	}
	back, err := scheme.ConvertToVersion(stable, resourcev1beta2.SchemeGroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := back.(*resourcev1beta2.ResourceSlice); !ok || s.APIVersion != "resource.k8s.io/v1beta2" || s.Spec.Driver != "default" {
		t.Errorf("converted to %T %+v", back, back)
	}
	list, err := scheme.ConvertToVersion(&resourcev1.ResourceSliceList{Items: []resourcev1.ResourceSlice{}}, resourcev1beta2.SchemeGroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := list.(*resourcev1beta2.ResourceSliceList); !ok || l.Items == nil {
		t.Errorf("an empty list became %T %+v", list, list)
	}
}

func TestPreviewsAreOffByDefault(t *testing.T) {
	beta := &kind.Virtual{GVK: schema.GroupVersionKind{Group: networkingv1.GroupName, Version: "v1beta1", Kind: "IPAddress"}, Resource: "ipaddresses"}
	alpha := &kind.Virtual{GVK: schema.GroupVersionKind{Group: "admissionregistration.k8s.io", Version: "v1alpha1", Kind: "MutatingAdmissionPolicy"}, Resource: "mutatingadmissionpolicies"}
	stable := &kind.Virtual{GVK: networkingv1.SchemeGroupVersion.WithKind("IPAddress"), Resource: "ipaddresses"}
	kinds := []kind.Any{stable, beta, alpha}
	scheme, err := NewScheme(nil)
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"":                                      "v1",
		"api/all":                               "v1 v1beta1 v1alpha1",
		"api/beta":                              "v1 v1beta1",
		"api/alpha":                             "v1 v1alpha1",
		"networking.k8s.io/v1beta1":             "v1 v1beta1",
		"networking.k8s.io/v1beta1/ipaddresses": "v1 v1beta1",
		"admissionregistration.k8s.io/v1alpha1": "v1 v1alpha1",
	} {
		overrides := map[string]string{}
		if given != "" {
			overrides[given] = "true"
		}
		enabled, err := enabledAPIs(overrides, kinds, scheme, true)
		if err != nil {
			t.Errorf("%q: %v", given, err)
			continue
		}
		var versions []string
		for _, k := range enabledKinds(kinds, enabled) {
			versions = append(versions, k.Description().GVK.Version)
		}
		if got := strings.Join(versions, " "); got != want {
			t.Errorf("%q: %s, want %s", given, got, want)
		}
	}
}
