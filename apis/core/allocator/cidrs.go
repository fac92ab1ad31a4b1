package allocator

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	netutils "k8s.io/utils/net"
)

// Family is an address's IP family.
func Family(ip netip.Addr) corev1.IPFamily {
	if ip.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// ParseAddr reads addresses as old objects may hold them (leading zeros).
func ParseAddr(text string) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(text))
	return ip.Unmap(), ok
}

// ReadyRanges are the ranges of a family from which addresses may be allocated:
// those of ServiceCIDRs that are ready and not being deleted, oldest object first.
// A ServiceCIDR that nobody has judged yet counts as ready.
func ReadyRanges(cidrs []*networkingv1.ServiceCIDR, family corev1.IPFamily) (ranges []Range) {
	cidrs = slices.Clone(cidrs)
	slices.SortFunc(cidrs, func(a, b *networkingv1.ServiceCIDR) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, c := range cidrs {
		if !ready(c) {
			continue
		}
		for _, text := range c.Spec.CIDRs {
			prefix, err := netip.ParsePrefix(text)
			if err != nil || Family(prefix.Addr()) != family {
				continue
			}
			r, err := NewRange(prefix)
			if err == nil && !slices.Contains(ranges, r) {
				ranges = append(ranges, r)
			}
		}
	}
	return ranges
}

func ready(c *networkingv1.ServiceCIDR) bool {
	if c.DeletionTimestamp != nil {
		return false
	}
	condition := meta.FindStatusCondition(c.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	return condition == nil || condition.Status == metav1.ConditionTrue
}

// allRanges are those of all ServiceCIDRs, ready or not, each once.
func allRanges(cidrs []*networkingv1.ServiceCIDR) (ranges []Range) {
	for _, c := range cidrs {
		for _, text := range c.Spec.CIDRs {
			if prefix, err := netip.ParsePrefix(text); err == nil {
				if r, err := NewRange(prefix); err == nil && !slices.Contains(ranges, r) {
					ranges = append(ranges, r)
				}
			}
		}
	}
	return ranges
}

// inAnyRange tells whether some ServiceCIDR, ready or not, offers ip.
func inAnyRange(cidrs []*networkingv1.ServiceCIDR, ip netip.Addr) bool {
	return slices.ContainsFunc(allRanges(cidrs), func(r Range) bool { return r.Contains(ip) })
}
