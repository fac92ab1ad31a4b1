package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	endpointsliceutil "k8s.io/endpointslice/util"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

// mirrorPlan is what makes a service's mirrored slices equal to its Endpoints.
type mirrorPlan struct {
	create, update, remove []*discoveryv1.EndpointSlice
	// keep are those that are right as they are.
	keep []*discoveryv1.EndpointSlice
	// invalid counts addresses that are none, skipped those beyond the limit.
	invalid, skipped int
}

// group is the endpoints that share ports and family: one slice.
type group struct {
	family    discoveryv1.AddressType
	ports     []discoveryv1.EndpointPort
	endpoints []discoveryv1.Endpoint
}

// planMirror compares Endpoints with the slices made of them before; limit is the
// most addresses that are mirrored of one subset. Nothing that it is given changes.
func planMirror(e *corev1.Endpoints, existing []*discoveryv1.EndpointSlice, limit int) (plan mirrorPlan) { //nolint:staticcheck // mirrored because it is still served
	groups := map[string]*group{}
	for _, s := range repack(e.Subsets) {
		ports := slicePorts(s.Ports)
		added := 0
		add := func(addresses []corev1.EndpointAddress, ready bool) {
			for i := range addresses {
				if added >= limit {
					plan.skipped++
					continue
				}
				endpoint, family := sliceEndpoint(&addresses[i], ready)
				if endpoint == nil {
					plan.invalid++
					continue
				}
				key := groupKey(family, ports)
				if groups[key] == nil {
					groups[key] = &group{family: family, ports: ports}
				}
				groups[key].endpoints = append(groups[key].endpoints, *endpoint)
				added++
			}
		}
		add(s.Addresses, true)
		add(s.NotReadyAddresses, false)
	}

	byKey := map[string][]*discoveryv1.EndpointSlice{}
	for _, s := range slices.SortedFunc(slices.Values(existing), func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) }) {
		key := groupKey(s.AddressType, s.Ports)
		byKey[key] = append(byKey[key], s)
	}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		g, have := groups[key], byKey[key]
		delete(byKey, key)
		switch {
		case len(have) == 0:
			plan.create = append(plan.create, mirroredSlice(e, g))
			continue
		case mirrors(have[0], e, g):
			plan.keep = append(plan.keep, have[0])
		default:
			plan.update = append(plan.update, instead(mirroredSlice(e, g), have[0]))
		}
		plan.remove = append(plan.remove, have[1:]...)
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		plan.remove = append(plan.remove, byKey[key]...)
	}
	plan.recycle()
	return plan
}

// recycle turns a creation and a deletion of one family into an update.
func (p *mirrorPlan) recycle() {
	p.create = slices.DeleteFunc(p.create, func(s *discoveryv1.EndpointSlice) bool {
		at := slices.IndexFunc(p.remove, func(old *discoveryv1.EndpointSlice) bool { return old.AddressType == s.AddressType })
		if at < 0 {
			return false
		}
		p.update = append(p.update, instead(s, p.remove[at]))
		p.remove = slices.Delete(p.remove, at, at+1)
		return true
	})
}

// instead makes s an update of the very slice that was seen.
func instead(s, old *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	s.GenerateName, s.Name = "", old.Name
	s.UID, s.ResourceVersion, s.Generation, s.CreationTimestamp = old.UID, old.ResourceVersion, old.Generation, old.CreationTimestamp
	return s
}

func groupKey(family discoveryv1.AddressType, ports []discoveryv1.EndpointPort) string {
	return fmt.Sprintf("%s-%s", family, endpointsliceutil.NewPortMapKey(slices.Clone(ports))) // it sorts them
}

// mirrors tells whether a slice is what the Endpoints ask for.
func mirrors(s *discoveryv1.EndpointSlice, e *corev1.Endpoints, g *group) bool { //nolint:staticcheck // still served
	for _, owner := range s.OwnerReferences {
		if owner.Kind == "Endpoints" && owner.Name == e.Name && owner.UID != e.UID {
			return false
		}
	}
	want := mirroredSlice(e, g)
	if len(s.Endpoints) != len(want.Endpoints) || !equality.Semantic.DeepEqual(s.Labels, want.Labels) || !equality.Semantic.DeepEqual(s.Annotations, want.Annotations) {
		return false
	}
	set := endpointsliceutil.EndpointSet{}
	for i := range want.Endpoints {
		set.Insert(&want.Endpoints[i])
	}
	return !slices.ContainsFunc(s.Endpoints, func(have discoveryv1.Endpoint) bool {
		w := set.Get(&have)
		return w == nil || !endpointsliceutil.EndpointsEqualBeyondHash(w, &have)
	})
}

func mirroredSlice(e *corev1.Endpoints, g *group) *discoveryv1.EndpointSlice { //nolint:staticcheck // still served
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: e.Namespace, GenerateName: slicePrefix(e.Name), Labels: map[string]string{}, Annotations: map[string]string{},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(e, schema.GroupVersionKind{Version: "v1", Kind: "Endpoints"})},
		},
		AddressType: g.family, Ports: g.ports, Endpoints: g.endpoints,
	}
	maps.Copy(s.Labels, e.Labels)
	s.Labels[discoveryv1.LabelServiceName], s.Labels[discoveryv1.LabelManagedBy] = e.Name, EndpointSliceMirroringControllerName
	maps.Copy(s.Annotations, e.Annotations)
	delete(s.Annotations, corev1.EndpointsLastChangeTriggerTime)
	delete(s.Annotations, corev1.LastAppliedConfigAnnotation)
	return s
}

// slicePrefix ends with a dash unless that makes the name too long.
func slicePrefix(name string) string {
	if prefix := name + "-"; len(validation.NameIsDNSSubdomain(prefix, true)) == 0 {
		return prefix
	}
	return name
}

func sliceEndpoint(a *corev1.EndpointAddress, ready bool) (*discoveryv1.Endpoint, discoveryv1.AddressType) {
	ip := netutils.ParseIPSloppy(a.IP)
	if ip == nil {
		return nil, ""
	}
	family := discoveryv1.AddressTypeIPv4
	if ip.To4() == nil {
		family = discoveryv1.AddressTypeIPv6
	}
	e := &discoveryv1.Endpoint{Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef: a.TargetRef, NodeName: a.NodeName}
	if a.Hostname != "" {
		e.Hostname = ptr.To(a.Hostname)
	}
	return e, family
}

func slicePorts(ports []corev1.EndpointPort) []discoveryv1.EndpointPort {
	out := make([]discoveryv1.EndpointPort, 0, len(ports))
	for i := range ports {
		p := ports[i].DeepCopy()
		out = append(out, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
	}
	return out
}

// repack groups ports that have the same addresses, across subsets; an address
// that is both ready and not ready under one port is not ready.
func repack(subsets []corev1.EndpointSubset) (out []corev1.EndpointSubset) {
	type addressKey struct {
		ip  string
		uid types.UID
	}
	addresses := map[addressKey]corev1.EndpointAddress{}
	type membership struct {
		port  *corev1.EndpointPort // nil: a subset without ports
		ready map[addressKey]bool
	}
	members := map[string]*membership{}
	for i := range subsets {
		s := &subsets[i]
		ports := make([]*corev1.EndpointPort, 0, len(s.Ports)+1)
		for j := range s.Ports {
			ports = append(ports, &s.Ports[j])
		}
		if len(ports) == 0 {
			ports = append(ports, nil)
		}
		for _, port := range ports {
			name := "none"
			if port != nil {
				name = fmt.Sprintf("%d/%s/%s/%s", port.Port, port.Protocol, port.Name, ptr.Deref(port.AppProtocol, ""))
			}
			m := members[name]
			if m == nil {
				m = &membership{port: port, ready: map[addressKey]bool{}}
				members[name] = m
			}
			for ready, list := range map[bool][]corev1.EndpointAddress{true: s.Addresses, false: s.NotReadyAddresses} {
				for _, a := range list {
					key := addressKey{ip: a.IP}
					if a.TargetRef != nil {
						key.uid = a.TargetRef.UID
					}
					if _, known := addresses[key]; !known {
						addresses[key] = a
					}
					if was, known := m.ready[key]; !known || was {
						m.ready[key] = ready
					}
				}
			}
		}
	}
	compare := func(a, b addressKey) int { return cmp.Or(strings.Compare(a.ip, b.ip), cmp.Compare(a.uid, b.uid)) }
	at := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m := members[name]
		var s corev1.EndpointSubset
		var set strings.Builder
		for _, key := range slices.SortedFunc(maps.Keys(m.ready), compare) {
			fmt.Fprintf(&set, "%s/%s/%v ", key.ip, key.uid, m.ready[key])
			if m.ready[key] {
				s.Addresses = append(s.Addresses, addresses[key])
			} else {
				s.NotReadyAddresses = append(s.NotReadyAddresses, addresses[key])
			}
		}
		i, known := at[set.String()]
		if !known {
			i, at[set.String()] = len(out), len(out)
			out = append(out, s)
		}
		if m.port != nil {
			out[i].Ports = append(out[i].Ports, *m.port)
		}
	}
	return out
}
