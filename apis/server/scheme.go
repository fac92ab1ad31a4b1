package server

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"proa/apis/kind"
)

// group is one served API group version whose types are also the group's hub.
type group struct {
	gv  schema.GroupVersion
	add func(*runtime.Scheme) error
	// hubs replaces, by kind, the type that serves as hub (events.k8s.io events
	// are stored as core events).
	hubs map[string]runtime.Object
}

func groups() []group {
	return []group{
		{gv: corev1.SchemeGroupVersion, add: corev1.AddToScheme},
		{gv: eventsv1.SchemeGroupVersion, add: eventsv1.AddToScheme, hubs: map[string]runtime.Object{
			"Event": &corev1.Event{}, "EventList": &corev1.EventList{}}},
		{gv: authenticationv1.SchemeGroupVersion, add: authenticationv1.AddToScheme},
		{gv: authorizationv1.SchemeGroupVersion, add: authorizationv1.AddToScheme},
		// The last version of a group is the preferred one, which is stored.
		{gv: autoscalingv1.SchemeGroupVersion, add: autoscalingv1.AddToScheme, hubs: map[string]runtime.Object{
			"HorizontalPodAutoscaler": &autoscalingv2.HorizontalPodAutoscaler{}, "HorizontalPodAutoscalerList": &autoscalingv2.HorizontalPodAutoscalerList{}}},
		{gv: autoscalingv2.SchemeGroupVersion, add: autoscalingv2.AddToScheme},
		{gv: batchv1.SchemeGroupVersion, add: batchv1.AddToScheme},
		{gv: certificatesv1.SchemeGroupVersion, add: certificatesv1.AddToScheme},
		{gv: coordinationv1.SchemeGroupVersion, add: coordinationv1.AddToScheme},
		{gv: discoveryv1.SchemeGroupVersion, add: discoveryv1.AddToScheme},
		{gv: flowcontrolv1.SchemeGroupVersion, add: flowcontrolv1.AddToScheme},
		{gv: networkingv1.SchemeGroupVersion, add: networkingv1.AddToScheme},
		{gv: nodev1.SchemeGroupVersion, add: nodev1.AddToScheme},
		{gv: policyv1.SchemeGroupVersion, add: policyv1.AddToScheme},
		{gv: rbacv1.SchemeGroupVersion, add: rbacv1.AddToScheme},
		{gv: resourcev1.SchemeGroupVersion, add: resourcev1.AddToScheme},
		{gv: schedulingv1.SchemeGroupVersion, add: schedulingv1.AddToScheme},
		{gv: storagev1.SchemeGroupVersion, add: storagev1.AddToScheme},
		{gv: admissionregistrationv1.SchemeGroupVersion, add: admissionregistrationv1.AddToScheme},
		{gv: appsv1.SchemeGroupVersion, add: appsv1.AddToScheme},
	}
}

// NewScheme registers every served type under its version and, as the same Go
// type, under its group's internal version: so conversion to and from the hub
// only sets TypeMeta. Kinds add their defaulting and field labels.
func NewScheme(kinds []kind.Any, conversions ...func(*runtime.Scheme) error) (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	for _, g := range groups() {
		if err := g.add(scheme); err != nil {
			return nil, fmt.Errorf("register %s: %w", g.gv, err)
		}
		hub := schema.GroupVersion{Group: g.gv.Group, Version: runtime.APIVersionInternal}
		for name, typ := range scheme.KnownTypes(g.gv) {
			if strings.HasPrefix(typ.PkgPath(), "k8s.io/apimachinery/") {
				continue
			}
			obj := reflect.New(typ).Interface().(runtime.Object)
			if other, ok := g.hubs[name]; ok {
				obj = other
			}
			scheme.AddKnownTypeWithName(hub.WithKind(name), obj)
			// Webhooks and policies see versioned copies of the hub's objects.
			if err := scheme.AddConversionFunc(obj, obj, convertSame); err != nil {
				return nil, err
			}
		}
		if err := scheme.SetVersionPriority(g.gv); err != nil {
			return nil, err
		}
	}
	for _, o := range olderTypes() {
		if err := o.register(scheme); err != nil {
			return nil, fmt.Errorf("register %T: %w", o.object, err)
		}
	}
	unversioned := schema.GroupVersion{Version: "v1"}
	scheme.AddUnversionedTypes(unversioned, &metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
	for _, o := range []runtime.Object{&corev1.PodExecOptions{}, &corev1.PodAttachOptions{}, &corev1.PodPortForwardOptions{},
		&corev1.PodLogOptions{}, &corev1.PodProxyOptions{}, &corev1.ServiceProxyOptions{}, &corev1.NodeProxyOptions{}} {
		if err := scheme.AddConversionFunc((*url.Values)(nil), o, decodeQuery); err != nil {
			return nil, err
		}
	}
	for _, add := range conversions {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	for _, k := range kinds {
		if err := k.Register(scheme); err != nil {
			return nil, fmt.Errorf("register %s: %w", k.Description().GVK, err)
		}
	}
	return scheme, nil
}

// convertSame copies an object to another of its Go type, shallowly as generated
// conversions do; which version out is of stays its own matter.
func convertSame(in, out any, _ conversion.Scope) error {
	o, ok := out.(runtime.Object)
	if !ok {
		return fmt.Errorf("convert %T: not an API object", out)
	}
	gvk := o.GetObjectKind().GroupVersionKind()
	reflect.ValueOf(out).Elem().Set(reflect.ValueOf(in).Elem())
	o.GetObjectKind().SetGroupVersionKind(gvk)
	return nil
}

// NewCodecs returns the codecs of the scheme: JSON, YAML and protobuf.
func NewCodecs(scheme *runtime.Scheme) serializer.CodecFactory {
	return serializer.NewCodecFactory(scheme)
}

// decodeQuery fills an options struct (PodLogOptions, ...) from URL query
// parameters by its JSON names.
func decodeQuery(in, out any, _ conversion.Scope) error {
	values := *in.(*url.Values)
	v := reflect.ValueOf(out).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		given, ok := values[name]
		if name == "" || !ok || len(given) == 0 {
			continue
		}
		if err := setQuery(v.Field(i), given); err != nil {
			return fmt.Errorf("query parameter %q: %w", name, err)
		}
	}
	return nil
}

func setQuery(f reflect.Value, given []string) error {
	if t, ok := f.Addr().Interface().(**metav1.Time); ok {
		if given[0] == "" {
			return nil
		}
		*t = &metav1.Time{}
		return (*t).UnmarshalQueryParameter(given[0])
	}
	switch f.Kind() {
	case reflect.Pointer:
		if given[0] == "" {
			return nil
		}
		p := reflect.New(f.Type().Elem())
		if err := setQuery(p.Elem(), given); err != nil {
			return err
		}
		f.Set(p)
	case reflect.String:
		f.SetString(given[0])
	case reflect.Bool: // upstream's rule: any value but "false" and "0" is true
		f.SetBool(!strings.EqualFold(given[0], "false") && given[0] != "0")
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(given[0], 10, f.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not an integer", given[0])
		}
		f.SetInt(n)
	case reflect.Slice:
		out := reflect.MakeSlice(f.Type(), len(given), len(given))
		for i := range given {
			if err := setQuery(out.Index(i), given[i:i+1]); err != nil {
				return err
			}
		}
		f.Set(out)
	default:
		return fmt.Errorf("cannot be given in a query")
	}
	return nil
}
