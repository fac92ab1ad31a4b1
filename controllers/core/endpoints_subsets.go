package core

import (
	"encoding/json"
	"math"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	endpointslice "k8s.io/endpointslice"
	endpointsliceutil "k8s.io/endpointslice/util"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"proa/controllers/control"
)

// maxEndpoints is the most addresses an Endpoints object has.
const maxEndpoints = 1000

// endpointSubsets computes the subsets of a service: every selected pod's
// address under the ports it resolves the service's ports to, grouped so that
// ports with the same addresses share a subset. Order is by address and port,
// so that equal input gives equal output.
func endpointSubsets(svc *corev1.Service, pods []*corev1.Pod) []corev1.EndpointSubset {
	type addressKey struct {
		ip  string
		uid types.UID
	}
	type portKey struct {
		name     string
		port     int32
		protocol corev1.Protocol
		app      string
	}
	ports := map[portKey]*corev1.EndpointPort{}
	members := map[portKey]map[addressKey]bool{} // ready?
	addresses := map[addressKey]corev1.EndpointAddress{}

	for _, pod := range pods {
		if !endpointsliceutil.ShouldPodBeInEndpoints(pod, svc.Spec.PublishNotReadyAddresses) {
			continue
		}
		address, ok := endpointAddress(svc, pod)
		if !ok {
			continue
		}
		ready := svc.Spec.PublishNotReadyAddresses || control.PodReady(pod)
		key := addressKey{address.IP, pod.UID}
		addresses[key] = address
		for _, p := range podPorts(svc, pod) {
			var pk portKey // the zero key: a headless service without ports
			if p != nil {
				pk = portKey{p.Name, p.Port, p.Protocol, ptr.Deref(p.AppProtocol, "")}
			}
			ports[pk] = p
			if members[pk] == nil {
				members[pk] = map[addressKey]bool{}
			}
			members[pk][key] = ready
		}
	}

	bySet := map[string]*corev1.EndpointSubset{}
	for pk, set := range members {
		var subset corev1.EndpointSubset
		for key, ready := range set {
			if ready {
				subset.Addresses = append(subset.Addresses, addresses[key])
			} else {
				subset.NotReadyAddresses = append(subset.NotReadyAddresses, addresses[key])
			}
		}
		sortAddresses(subset.Addresses)
		sortAddresses(subset.NotReadyAddresses)
		name, err := json.Marshal(subset)
		if err != nil {
			continue // cannot happen: plain data
		}
		if bySet[string(name)] == nil {
			bySet[string(name)] = &subset
		}
		if ports[pk] != nil {
			bySet[string(name)].Ports = append(bySet[string(name)].Ports, *ports[pk])
		}
	}
	var out []corev1.EndpointSubset
	for _, s := range bySet {
		sort.Slice(s.Ports, func(i, j int) bool { return portLess(&s.Ports[i], &s.Ports[j]) })
		out = append(out, *s)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i].Ports, out[j].Ports
		if len(a) == 0 || len(b) == 0 {
			return len(a) < len(b)
		}
		return portLess(&a[0], &b[0])
	})
	return out
}

// podPorts are the service's ports as this pod has them; one nil port for a
// headless service without any.
func podPorts(svc *corev1.Service, pod *corev1.Pod) []*corev1.EndpointPort {
	if len(svc.Spec.Ports) == 0 && svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return []*corev1.EndpointPort{nil}
	}
	var out []*corev1.EndpointPort
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		n, err := endpointslice.FindPort(pod, p)
		if err != nil {
			continue // the pod has no port of that name
		}
		out = append(out, &corev1.EndpointPort{Name: p.Name, Port: int32(n), Protocol: p.Protocol, AppProtocol: p.AppProtocol})
	}
	return out
}

// endpointAddress is the pod's address of the service's first IP family.
func endpointAddress(svc *corev1.Service, pod *corev1.Pod) (corev1.EndpointAddress, bool) {
	v6 := false
	if len(svc.Spec.IPFamilies) > 0 {
		v6 = svc.Spec.IPFamilies[0] == corev1.IPv6Protocol
	} else if netutils.IsIPv6String(svc.Spec.ClusterIP) {
		v6 = true
	}
	for _, ip := range pod.Status.PodIPs {
		if netutils.IsIPv6String(ip.IP) != v6 {
			continue
		}
		a := corev1.EndpointAddress{
			IP:        ip.IP,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		}
		if pod.Spec.NodeName != "" {
			a.NodeName = ptr.To(pod.Spec.NodeName)
		}
		if endpointsliceutil.ShouldSetHostname(pod, svc) {
			a.Hostname = pod.Spec.Hostname
		}
		return a, true
	}
	return corev1.EndpointAddress{}, false
}

func sortAddresses(a []corev1.EndpointAddress) {
	uid := func(x *corev1.EndpointAddress) types.UID {
		if x.TargetRef == nil {
			return ""
		}
		return x.TargetRef.UID
	}
	sort.Slice(a, func(i, j int) bool {
		if a[i].IP != a[j].IP {
			return a[i].IP < a[j].IP
		}
		return uid(&a[i]) < uid(&a[j])
	})
}

func portLess(a, b *corev1.EndpointPort) bool {
	if a.Port != b.Port {
		return a.Port < b.Port
	}
	if a.Protocol != b.Protocol {
		return a.Protocol < b.Protocol
	}
	return a.Name < b.Name
}

// truncate cuts the subsets to limit addresses, ready ones first, each subset
// in proportion, and reports whether it had to.
func truncate(subsets []corev1.EndpointSubset, limit int) bool {
	ready, notReady := 0, 0
	for i := range subsets {
		ready += len(subsets[i].Addresses)
		notReady += len(subsets[i].NotReadyAddresses)
	}
	if ready+notReady <= limit {
		return false
	}
	total, room := notReady, limit-ready
	if ready > limit {
		total, room = ready, limit
	}
	left := room
	for i := range subsets {
		list := &subsets[i].NotReadyAddresses
		if ready > limit {
			list = &subsets[i].Addresses
			subsets[i].NotReadyAddresses = nil
		}
		share := min(left, int(math.Ceil(float64(len(*list))/float64(total)*float64(room))))
		if len(*list) > share {
			*list = (*list)[:share]
		}
		left -= len(*list)
	}
	return true
}
