package discovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control/controltest"
)

func addrs(ips ...string) (out []corev1.EndpointAddress) {
	for _, ip := range ips {
		out = append(out, corev1.EndpointAddress{IP: ip})
	}
	return out
}

func port(name string, n int32) corev1.EndpointPort {
	return corev1.EndpointPort{Name: name, Port: n, Protocol: corev1.ProtocolTCP}
}

func endpoints(subsets ...corev1.EndpointSubset) *corev1.Endpoints { //nolint:staticcheck // mirrored
	return &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db", UID: "e1"}, Subsets: subsets} //nolint:staticcheck
}

// line writes a slice as "IPv4 name:80 10.0.0.1 -10.0.0.2", not ready ones with a dash.
func line(s *discoveryv1.EndpointSlice) string {
	words := []string{string(s.AddressType)}
	for _, p := range s.Ports {
		words = append(words, fmt.Sprintf("%s:%d", ptr.Deref(p.Name, ""), ptr.Deref(p.Port, 0)))
	}
	for _, e := range s.Endpoints {
		sign := "-"
		if ptr.Deref(e.Conditions.Ready, false) {
			sign = ""
		}
		words = append(words, sign+strings.Join(e.Addresses, ","))
	}
	return strings.Join(words, " ")
}

func lines(list []*discoveryv1.EndpointSlice) (out []string) {
	for _, s := range list {
		out = append(out, line(s))
	}
	slices.Sort(out)
	return out
}

func TestMirrorGroups(t *testing.T) {
	for name, c := range map[string]struct {
		subsets          []corev1.EndpointSubset
		want             []string
		invalid, skipped int
	}{
		"none":         {},
		"no addresses": {subsets: []corev1.EndpointSubset{{Ports: []corev1.EndpointPort{port("a", 80)}}}},
		"no ports":     {subsets: []corev1.EndpointSubset{{Addresses: addrs("10.0.0.1")}}, want: []string{"IPv4 10.0.0.1"}},
		"both families": {subsets: []corev1.EndpointSubset{{Addresses: addrs("10.0.0.1", "fd00::1"), NotReadyAddresses: addrs("10.0.0.2"), Ports: []corev1.EndpointPort{port("a", 80)}}},
			want: []string{"IPv4 a:80 10.0.0.1 -10.0.0.2", "IPv6 a:80 fd00::1"}},
		"ports of the same addresses are one slice": {subsets: []corev1.EndpointSubset{
			{Addresses: addrs("10.0.0.1"), Ports: []corev1.EndpointPort{port("a", 80)}}, {Addresses: addrs("10.0.0.1"), Ports: []corev1.EndpointPort{port("b", 443)}}},
			want: []string{"IPv4 b:443 a:80 10.0.0.1"}},
		"the same address twice is not ready": {subsets: []corev1.EndpointSubset{
			{Addresses: addrs("10.0.0.1"), Ports: []corev1.EndpointPort{port("a", 80)}}, {NotReadyAddresses: addrs("10.0.0.1"), Ports: []corev1.EndpointPort{port("a", 80)}}},
			want: []string{"IPv4 a:80 -10.0.0.1"}},
		"no address, leading zeros": {subsets: []corev1.EndpointSubset{{Addresses: addrs("what", "010.0.0.1"), Ports: []corev1.EndpointPort{port("a", 80)}}},
			want: []string{"IPv4 a:80 10.0.0.1"}, invalid: 1},
		"too many": {subsets: []corev1.EndpointSubset{{Addresses: addrs("10.0.0.1", "10.0.0.2", "10.0.0.3"), NotReadyAddresses: addrs("10.0.0.4", "10.0.0.5"), Ports: []corev1.EndpointPort{port("a", 80)}}},
			want: []string{"IPv4 a:80 10.0.0.1 10.0.0.2 10.0.0.3"}, skipped: 2},
	} {
		t.Run(name, func(t *testing.T) {
			plan := planMirror(endpoints(c.subsets...), nil, 3)
			if got := lines(plan.create); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if plan.invalid != c.invalid || plan.skipped != c.skipped {
				t.Errorf("%d invalid and %d skipped", plan.invalid, plan.skipped)
			}
		})
	}
}

func TestMirrorChanges(t *testing.T) {
	two := endpoints(
		corev1.EndpointSubset{Addresses: addrs("10.0.0.1"), Ports: []corev1.EndpointPort{port("a", 80)}},
		corev1.EndpointSubset{Addresses: addrs("10.0.0.2"), Ports: []corev1.EndpointPort{port("b", 81)}})
	two.Annotations = map[string]string{"note": "x", corev1.LastAppliedConfigAnnotation: "{}"}
	existing := planMirror(two, nil, 10).create
	for i, s := range existing {
		s.Name = fmt.Sprintf("db-%d", i)
	}
	plan := planMirror(two, existing, 10)
	if len(plan.keep) != 2 || len(plan.create)+len(plan.update)+len(plan.remove) > 0 {
		t.Errorf("unchanged: %+v", plan)
	}
	// Another port: the slice is used again. One subset less: its slice goes.
	other := endpoints(corev1.EndpointSubset{Addresses: addrs("10.0.0.1"), Ports: []corev1.EndpointPort{port("c", 82)}})
	plan = planMirror(other, existing, 10)
	if got := lines(plan.update); !slices.Equal(got, []string{"IPv4 c:82 10.0.0.1"}) || len(plan.remove) != 1 || len(plan.create) > 0 {
		t.Errorf("changed: update %q, remove %q, create %q", got, lines(plan.remove), lines(plan.create))
	}
	// Labels and a new incarnation of the Endpoints count too.
	labelled := two.DeepCopy()
	labelled.Labels = map[string]string{"tier": "back"}
	again := two.DeepCopy()
	again.UID = "e2"
	for name, e := range map[string]*corev1.Endpoints{"labelled": labelled, "made again": again} { //nolint:staticcheck // mirrored
		if plan = planMirror(e, existing, 10); len(plan.update) != 2 || len(plan.keep) > 0 {
			t.Errorf("%s: %d updates", name, len(plan.update))
		}
	}
	// A second slice of the same ports is one too many.
	double := existing[0].DeepCopy()
	double.Name = "db-9"
	if plan = planMirror(two, append(existing, double), 10); len(plan.remove) != 1 || plan.remove[0].Name != "db-9" {
		t.Errorf("double: remove %q", lines(plan.remove))
	}
}

func TestMirroring(t *testing.T) {
	w := controltest.New(t)
	r := NewEndpointSliceMirroring(w.Client, w.Recorder())
	w.Watch(&corev1.Endpoints{}, r.EndpointsEvents()) //nolint:staticcheck // mirrored
	w.Watch(&corev1.Service{}, r.ServiceEvents())
	w.Watch(&discoveryv1.EndpointSlice{}, r.SliceEvents())
	state := func() []string {
		w.Run(r)
		w.Advance(2 * time.Second)
		w.Run(r)
		var list discoveryv1.EndpointSliceList
		if err := w.Client.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		var out []*discoveryv1.EndpointSlice
		for i := range list.Items {
			out = append(out, &list.Items[i])
		}
		return lines(out)
	}
	create := func(obj client.Object) {
		w.Do(func() {
			if err := w.Client.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
		})
	}
	e := endpoints(corev1.EndpointSubset{Addresses: addrs("10.0.0.1"), Ports: []corev1.EndpointPort{port("a", 80)}})
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db"}}
	create(e)
	if got := state(); len(got) > 0 {
		t.Errorf("without a service: %q", got)
	}
	create(svc)
	want := []string{"IPv4 a:80 10.0.0.1"}
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("mirrored: %q", got)
	}
	controltest.Update(w, e, func(e *corev1.Endpoints) { e.Subsets[0].NotReadyAddresses = addrs("10.0.0.2") }) //nolint:staticcheck // mirrored
	want = []string{"IPv4 a:80 10.0.0.1 -10.0.0.2"}
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("changed: %q", got)
	}
	// Somebody else's change is undone.
	var list discoveryv1.EndpointSliceList
	if err := w.Client.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
		t.Fatal(err, len(list.Items))
	}
	controltest.Update(w, &list.Items[0], func(s *discoveryv1.EndpointSlice) { s.Generation, s.Endpoints = s.Generation+1, nil })
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("after another's change: %q", got)
	}
	controltest.Update(w, svc, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"a": "b"} })
	if got := state(); len(got) > 0 {
		t.Errorf("with a selector: %q", got)
	}
	controltest.Update(w, svc, func(s *corev1.Service) { s.Spec.Selector = nil })
	if got := state(); !slices.Equal(got, want) {
		t.Errorf("without a selector again: %q", got)
	}
	controltest.Update(w, e, func(e *corev1.Endpoints) { e.Labels = map[string]string{discoveryv1.LabelSkipMirror: "true"} }) //nolint:staticcheck // mirrored
	if got := state(); len(got) > 0 {
		t.Errorf("not to be mirrored: %q", got)
	}
}
