package env

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"VAR_A": "A", "VAR_B": "B", "VAR_C": "C", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": ""}
	for in, want := range map[string]string{
		"":                              "",
		"no reference":                  "no reference",
		"$(VAR_A)":                      "A",
		"___$(VAR_B)___":                "___B___",
		"___$(VAR_C)":                   "___C",
		"$(VAR_A)$(VAR_B)":              "AB",
		"$(VAR_A)-1":                    "A-1",
		"f$(VAR_EMPTY)o":                "fo",
		"$(VAR_REF)":                    "$(VAR_A)",
		"$$(VAR_A)":                     "$(VAR_A)",
		"$$$(VAR_A)":                    "$A",
		"$$$$(VAR_A)":                   "$$(VAR_A)",
		"$(VAR_DNE)":                    "$(VAR_DNE)",
		"foo$(VAR_DNE)bar":              "foo$(VAR_DNE)bar",
		"$(VAR_A":                       "$(VAR_A",
		"$VAR_A)":                       "$VAR_A)",
		"${VAR_A}":                      "${VAR_A}",
		"$(()":                          "$(()",
		"$":                             "$",
		"$$":                            "$",
		"$)":                            "$)",
		"trailing $":                    "trailing $",
		"$(VAR_A)(VAR_B)":               "A(VAR_B)",
		"$€$(VAR_A)":                    "$€A",
		"foo$(VAR_A":                    "foo$(VAR_A",
		"$(VAR_A)_$(VAR_B)_$(VAR_NONE)": "A_B_$(VAR_NONE)",
		"$\\(VAR_A)":                    "$\\(VAR_A)",
		"$()":                           "$()",
	} {
		if got := Expand(in, Lookup(vars)); got != want {
			t.Errorf("Expand(%q) = %q, want %q", in, got, want)
		}
	}
}

// objects is a Source of fixed objects in namespace "ns".
type objects struct {
	configMaps map[string]map[string]string
	secrets    map[string]map[string]string
}

func (o objects) ConfigMap(_ context.Context, ns, name string) (*v1.ConfigMap, error) {
	data, ok := o.configMaps[name]
	if !ok || ns != "ns" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmap"}, name)
	}
	return &v1.ConfigMap{Data: data}, nil
}

func (o objects) Secret(_ context.Context, ns, name string) (*v1.Secret, error) {
	data, ok := o.secrets[name]
	if !ok || ns != "ns" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secret"}, name)
	}
	s := &v1.Secret{Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s, nil
}

func configKey(name, key string, optional bool) *v1.EnvVarSource {
	return &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: name}, Key: key, Optional: &optional}}
}

func secretKey(name, key string, optional bool) *v1.EnvVarSource {
	return &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: name}, Key: key, Optional: &optional}}
}

func fromConfig(name, prefix string, optional bool) v1.EnvFromSource {
	return v1.EnvFromSource{Prefix: prefix, ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: name}, Optional: &optional}}
}

func fromSecret(name, prefix string, optional bool) v1.EnvFromSource {
	return v1.EnvFromSource{Prefix: prefix, SecretRef: &v1.SecretEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: name}, Optional: &optional}}
}

func field(path string) *v1.EnvVarSource {
	return &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}
}

func TestMap(t *testing.T) {
	source := objects{
		configMaps: map[string]map[string]string{"cm": {"a": "1", "b": "2"}},
		secrets:    map[string]map[string]string{"s": {"b": "3", "k": "v"}},
	}
	for name, tc := range map[string]struct {
		from []v1.EnvFromSource
		env  []v1.EnvVar
		want map[string]string
		err  string
	}{
		"references see what stands above only": {
			env: []v1.EnvVar{
				{Name: "EARLY", Value: "$(LATE)"}, {Name: "LATE", Value: "x"}, {Name: "SEES", Value: "$(LATE)$$(LATE)"}, {Name: "EMPTY"},
			},
			want: map[string]string{"EARLY": "$(LATE)", "LATE": "x", "SEES": "x$(LATE)", "EMPTY": ""},
		},
		"envFrom: later wins, prefix, env wins over all": {
			from: []v1.EnvFromSource{fromConfig("cm", "", false), fromSecret("s", "", false), fromConfig("cm", "P_", false)},
			env:  []v1.EnvVar{{Name: "a", Value: "own $(P_b)"}},
			want: map[string]string{"a": "own 2", "b": "3", "k": "v", "P_a": "1", "P_b": "2"},
		},
		"optional things may be missing": {
			from: []v1.EnvFromSource{fromConfig("none", "", true), fromSecret("none", "", true)},
			env: []v1.EnvVar{
				{Name: "A", ValueFrom: configKey("none", "k", true)}, {Name: "B", ValueFrom: configKey("cm", "none", true)},
				{Name: "C", ValueFrom: secretKey("none", "k", true)}, {Name: "D", ValueFrom: secretKey("s", "none", true)},
			},
			want: map[string]string{},
		},
		"keys": {
			env:  []v1.EnvVar{{Name: "A", ValueFrom: configKey("cm", "a", false)}, {Name: "B", ValueFrom: secretKey("s", "k", false)}, {Name: "C", Value: "$(A)$(B)"}},
			want: map[string]string{"A": "1", "B": "v", "C": "1v"},
		},
		"missing config map":          {env: []v1.EnvVar{{Name: "A", ValueFrom: configKey("none", "a", false)}}, err: `configmap "none" not found`},
		"missing secret":              {env: []v1.EnvVar{{Name: "A", ValueFrom: secretKey("none", "a", false)}}, err: `secret "none" not found`},
		"missing config map, envFrom": {from: []v1.EnvFromSource{fromConfig("none", "", false)}, err: `configmap "none" not found`},
		"missing secret, envFrom":     {from: []v1.EnvFromSource{fromSecret("none", "", false)}, err: `secret "none" not found`},
		"missing config key":          {env: []v1.EnvVar{{Name: "A", ValueFrom: configKey("cm", "none", false)}}, err: `couldn't find key none in ConfigMap ns/cm`},
		"missing secret key":          {env: []v1.EnvVar{{Name: "A", ValueFrom: secretKey("s", "none", false)}}, err: `couldn't find key none in Secret ns/s`},
		"fields": {
			env: []v1.EnvVar{
				{Name: "NAME", ValueFrom: field("metadata.name")}, {Name: "NS", ValueFrom: field("metadata.namespace")}, {Name: "UID", ValueFrom: field("metadata.uid")},
				{Name: "LABELS", ValueFrom: field("metadata.labels")}, {Name: "LABEL", ValueFrom: field("metadata.labels['x']")}, {Name: "ANN", ValueFrom: field("metadata.annotations['ann.io/Key']")},
				{Name: "NODE", ValueFrom: field("spec.nodeName")}, {Name: "SA", ValueFrom: field("spec.serviceAccountName")},
				{Name: "HOST", ValueFrom: field("status.hostIP")}, {Name: "HOSTS", ValueFrom: field("status.hostIPs")},
				{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "IPS", ValueFrom: field("status.podIPs")},
			},
			want: map[string]string{
				"NAME": "pod", "NS": "ns", "UID": "u", "LABELS": "x=\"y\"\nz=\"a\\nb\"", "LABEL": "y", "ANN": "av", "NODE": "node", "SA": "sa",
				"HOST": "192.0.2.1", "HOSTS": "192.0.2.1,2001:db8::1", "IP": "10.0.0.2", "IPS": "10.0.0.2,fd00::2",
			},
		},
		"unknown field": {env: []v1.EnvVar{{Name: "A", ValueFrom: field("status.phase")}}, err: "unsupported fieldPath: status.phase"},
		"file key": {
			env: []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{FileKeyRef: &v1.FileKeySelector{Key: "k"}}}},
			err: "valueFrom.fileKeyRef is not supported by this node: use a configMapKeyRef or a secretKeyRef",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &v1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "ns", UID: "u", Labels: map[string]string{"x": "y", "z": "a\nb"}, Annotations: map[string]string{"ann.io/Key": "av"}},
				Spec:       v1.PodSpec{NodeName: "node", ServiceAccountName: "sa"},
			}
			in := Inputs{Objects: source, PodFields: PodFields{PodIPs: []string{"10.0.0.2", "fd00::2"}, HostIPs: []string{"192.0.2.1", "2001:db8::1"}}}
			got, err := Map(context.Background(), pod, &v1.Container{EnvFrom: tc.from, Env: tc.env}, in)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolveIsSorted(t *testing.T) {
	c := &v1.Container{Env: []v1.EnvVar{{Name: "C", Value: "3"}, {Name: "A", Value: "1"}, {Name: "B", Value: "2"}}}
	got, err := Resolve(context.Background(), &v1.Pod{}, c, Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	var text string
	for _, kv := range got {
		text += kv.Key + "=" + string(kv.Value) + " "
	}
	if want := "A=1 B=2 C=3 "; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

func TestResourceValue(t *testing.T) {
	own := &v1.Container{Name: "own", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("100Mi")},
		Limits:   v1.ResourceList{"cpu": resource.MustParse("1500m"), "hugepages-2Mi": resource.MustParse("4Mi")},
	}}
	pod := &v1.Pod{Spec: v1.PodSpec{
		Containers:     []v1.Container{*own, {Name: "other", Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"memory": resource.MustParse("1Gi")}}}},
		InitContainers: []v1.Container{{Name: "init", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{"ephemeral-storage": resource.MustParse("3")}}}},
	}}
	allocatable := v1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("8Gi"), "ephemeral-storage": resource.MustParse("10Gi")}
	for _, tc := range []struct{ container, resource, divisor, want, err string }{
		{resource: "limits.cpu", want: "2"},
		{resource: "limits.cpu", divisor: "1m", want: "1500"},
		{resource: "requests.cpu", want: "1"},
		{resource: "requests.memory", divisor: "1Mi", want: "100"},
		{resource: "requests.memory", want: "104857600"},
		{resource: "limits.memory", divisor: "1Gi", want: "8"},
		{resource: "limits.ephemeral-storage", divisor: "1Gi", want: "10"},
		{resource: "limits.hugepages-2Mi", divisor: "1Mi", want: "4"},
		{resource: "limits.hugepages-1Gi", want: "0"},
		{container: "other", resource: "limits.memory", divisor: "1Mi", want: "1024"},
		{container: "other", resource: "limits.cpu", want: "4"},
		{container: "init", resource: "requests.ephemeral-storage", want: "3"},
		{container: "none", resource: "limits.cpu", err: "container none not found"},
		{resource: "limits.gpu", err: "unsupported container resource : limits.gpu"},
		{resource: "cpu", err: "unsupported container resource : cpu"},
	} {
		ref := &v1.ResourceFieldSelector{ContainerName: tc.container, Resource: tc.resource}
		if tc.divisor != "" {
			ref.Divisor = resource.MustParse(tc.divisor)
		}
		got, err := ResourceValue(ref, pod, own, allocatable)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%+v: error %v", tc, err)
			}
			continue
		}
		if err != nil || got != tc.want {
			t.Errorf("%+v: got %q, %v", tc, got, err)
		}
	}
}

func TestServiceLinks(t *testing.T) {
	service := func(ns, name, ip string, ports ...v1.ServicePort) *v1.Service {
		return &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: v1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	all := map[string][]*v1.Service{
		"default": {
			service("default", "kubernetes", "10.43.0.1", v1.ServicePort{Name: "https", Port: 443, Protocol: v1.ProtocolTCP}),
			service("default", "elsewhere", "10.43.0.9", v1.ServicePort{Port: 1}),
		},
		"ns": {
			service("ns", "my-web", "10.43.0.2", v1.ServicePort{Port: 80}, v1.ServicePort{Name: "dns-udp", Port: 53, Protocol: v1.ProtocolUDP}),
			service("ns", "headless", "None", v1.ServicePort{Port: 80}),
			service("ns", "external", ""),
		},
	}
	services := ServicesFunc(func(ns string) ([]*v1.Service, error) { return all[ns], nil })
	api := map[string]string{
		"KUBERNETES_SERVICE_HOST": "10.43.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"KUBERNETES_PORT": "tcp://10.43.0.1:443", "KUBERNETES_PORT_443_TCP": "tcp://10.43.0.1:443",
		"KUBERNETES_PORT_443_TCP_PROTO": "tcp", "KUBERNETES_PORT_443_TCP_PORT": "443", "KUBERNETES_PORT_443_TCP_ADDR": "10.43.0.1",
	}
	linked := maps.Clone(api)
	maps.Copy(linked, map[string]string{
		"MY_WEB_SERVICE_HOST": "10.43.0.2", "MY_WEB_SERVICE_PORT": "80", "MY_WEB_SERVICE_PORT_DNS_UDP": "53", "MY_WEB_PORT": "tcp://10.43.0.2:80",
		"MY_WEB_PORT_80_TCP": "tcp://10.43.0.2:80", "MY_WEB_PORT_80_TCP_PROTO": "tcp", "MY_WEB_PORT_80_TCP_PORT": "80", "MY_WEB_PORT_80_TCP_ADDR": "10.43.0.2",
		"MY_WEB_PORT_53_UDP": "udp://10.43.0.2:53", "MY_WEB_PORT_53_UDP_PROTO": "udp", "MY_WEB_PORT_53_UDP_PORT": "53", "MY_WEB_PORT_53_UDP_ADDR": "10.43.0.2",
	})
	for _, tc := range []struct {
		links *bool
		want  map[string]string
	}{{nil, linked}, {ptr.To(true), linked}, {ptr.To(false), api}} {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{EnableServiceLinks: tc.links}}
		got, err := Map(context.Background(), pod, &v1.Container{}, Inputs{Services: services})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Error(diff)
		}
	}
	// A variable of the container's own wins, and may refer to a link.
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{EnableServiceLinks: ptr.To(false)}}
	c := &v1.Container{Env: []v1.EnvVar{{Name: "URL", Value: "https://$(KUBERNETES_SERVICE_HOST)"}, {Name: "KUBERNETES_SERVICE_PORT", Value: "6443"}}}
	got, err := Map(context.Background(), pod, c, Inputs{Services: services})
	if err != nil || got["URL"] != "https://10.43.0.1" || got["KUBERNETES_SERVICE_PORT"] != "6443" {
		t.Errorf("got %v, %v", got, err)
	}
	// Unknown services are an error, not an environment without them.
	unknown := ServicesFunc(func(string) ([]*v1.Service, error) { return nil, errors.New("not synced") })
	if _, err := Map(context.Background(), pod, c, Inputs{Services: unknown}); err == nil {
		t.Error("no error although the services are unknown")
	}
}
