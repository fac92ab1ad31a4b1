package allocator

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A service's cluster IP and its IPAddress refer to each other. What is amiss is
// found here; upstream's "ipallocator-repair-controller" finds the same.

// Defect is something wrong in the record, and how to mend it.
type Defect struct {
	// About is the object that the event is about; Reason, Action and Message are the event's.
	About                   runtime.Object
	Reason, Action, Message string
	// Type is the label of the metric.
	Type string
	// Delete and then Create mend it; both nil where only a person can.
	Delete, Create *networkingv1.IPAddress
}

const (
	// requestTimeout is how long a service may take from its address to its own
	// creation: the API server's limit of a request.
	requestTimeout = time.Minute
	// revertDelay is how long a failed update may take to give an address back.
	revertDelay = 5 * time.Second
)

// View is the state that is judged.
type View struct {
	CIDRs   []*networkingv1.ServiceCIDR
	Address func(name string) *networkingv1.IPAddress
	Service func(namespace, name string) *corev1.Service
}

// CheckService looks for the records of a service's addresses.
func CheckService(svc *corev1.Service, view View) (defects []Defect) {
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	add := func(d Defect, reason, action, format string, args ...any) {
		d.About, d.Reason, d.Action, d.Message = svc, reason, action, fmt.Sprintf(format, args...)
		defects = append(defects, d)
	}
	const action = "ClusterIPAllocation"
	for _, text := range svc.Spec.ClusterIPs {
		ip, ok := ParseAddr(text)
		if !ok {
			add(Defect{Type: "invalid"}, "ClusterIPNotValid", "ClusterIPValidation", "Cluster IP %s is not a valid IP; please recreate Service", text)
			continue
		}
		family := Family(ip)
		if !inAnyRange(view.CIDRs, ip) {
			add(Defect{Type: "outOfRange"}, "ClusterIPOutOfRange", action,
				"Cluster IP [%v]: %s is not within any configured Service CIDR; please recreate service", family, ip)
			continue
		}
		record := view.Address(ip.String())
		if record == nil {
			add(Defect{Type: "repair", Create: NewIPAddress(ip, svc)}, "ClusterIPNotAllocated", action,
				"Cluster IP [%v]: %s is not allocated; repairing", family, ip)
			continue
		}
		again := Defect{Type: "repair", Delete: record, Create: NewIPAddress(ip, svc)}
		if !belongsTo(record, svc) {
			var other *corev1.Service
			if refersToService(record) {
				other = view.Service(record.Spec.ParentRef.Namespace, record.Spec.ParentRef.Name)
			}
			switch {
			case other == nil:
				add(again, "ClusterIPNotAllocated", action, "the ClusterIP [%v]: %s for Service %s/%s has a wrong reference; repairing", family, ip, svc.Namespace, svc.Name)
			case has(other, record.Name):
				add(Defect{Type: "duplicate"}, "ClusterIPAlreadyAllocated", action, "Cluster IP [%v]:%s was assigned to multiple services; please recreate service", family, ip)
			}
			continue // otherwise CheckAddress finds that the other service has no such address
		}
		if !managed(record) || record.Labels[networkingv1.LabelIPAddressFamily] != string(family) {
			defects = append(defects, again) // silently
		}
	}
	return defects
}

// CheckAddress looks for the service of an address that the allocator recorded.
// It answers with the defect, nil if there is none, and with when to look again,
// 0 for not: the service of a new address may be about to be written.
func CheckAddress(record *networkingv1.IPAddress, view View, now time.Time) (*Defect, time.Duration) {
	if !managed(record) {
		return nil, 0
	}
	defect := func(kind, reason, format string, args ...any) *Defect {
		return &Defect{About: record, Reason: reason, Action: "IPAddressAllocation", Message: fmt.Sprintf(format, args...), Type: kind, Delete: record}
	}
	if !refersToService(record) {
		return defect("invalid", "IPAddressNotAllocated", "IPAddress %s appears to have been modified, not referencing a Service %v: cleaning up", record.Name, record.Spec.ParentRef), 0
	}
	parent, age := record.Spec.ParentRef, now.Sub(record.CreationTimestamp.Time)
	svc := view.Service(parent.Namespace, parent.Name)
	if svc == nil {
		if age <= requestTimeout {
			return nil, max(requestTimeout-age, 0) + time.Second
		}
		return defect("leak", "IPAddressNotAllocated", "IPAddress: %s for Service %s/%s appears to have leaked: cleaning up", record.Name, parent.Namespace, parent.Name), 0
	}
	if has(svc, record.Name) {
		return nil, 0
	}
	// An update may be about to give the service this address.
	if svc.Spec.Type == corev1.ServiceTypeExternalName && age < requestTimeout {
		return nil, requestTimeout - age
	}
	if record.CreationTimestamp.After(svc.CreationTimestamp.Time) && age < revertDelay {
		return nil, revertDelay
	}
	return defect("leak", "IPAddressWrongReference", "IPAddress: %s for Service %s/%s has a wrong reference; cleaning up", record.Name, parent.Namespace, parent.Name), 0
}

// has tells whether a service has the address of that (canonical) name.
func has(svc *corev1.Service, name string) bool {
	for _, text := range svc.Spec.ClusterIPs {
		if ip, ok := ParseAddr(text); ok && ip.String() == name {
			return true
		}
	}
	return false
}

func managed(record *networkingv1.IPAddress) bool {
	return record.Labels[networkingv1.LabelManagedBy] == ManagedBy
}
