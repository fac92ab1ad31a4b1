package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// excludeDisruptionLabel keeps a node out of the count of unhealthy ones.
const excludeDisruptionLabel = "node.kubernetes.io/exclude-disruption"

// disruption is how badly a zone is off.
type disruption uint8

const (
	normal disruption = iota
	partial
	full
)

func zoneOf(node *corev1.Node) string {
	region, zone := node.Labels[corev1.LabelTopologyRegion], node.Labels[corev1.LabelTopologyZone]
	if region == "" && zone == "" {
		return ""
	}
	return region + ":\x00:" + zone
}

// zones counts nodes by zone.
type zones map[string]*zoneCount

type zoneCount struct{ ready, notReady int }

func countZones(nodes []corev1.Node) zones {
	z := zones{}
	for i := range nodes {
		if _, excluded := nodes[i].Labels[excludeDisruptionLabel]; excluded {
			continue
		}
		c := z[zoneOf(&nodes[i])]
		if c == nil {
			c = &zoneCount{}
			z[zoneOf(&nodes[i])] = c
		}
		if ready := nodeCondition(&nodes[i], corev1.NodeReady); ready != nil && ready.Status == corev1.ConditionTrue {
			c.ready++
		} else {
			c.notReady++
		}
	}
	return z
}

func (c *zoneCount) state(s Settings) disruption {
	switch {
	case c == nil:
		return normal
	case c.ready == 0 && c.notReady > 0:
		return full
	case c.notReady > 2 && float64(c.notReady)/float64(c.ready+c.notReady) >= s.UnhealthyZoneThreshold:
		return partial
	}
	return normal
}

// allFull reports whether no zone has a ready node: then it is more likely that
// we are cut off than that all nodes are, and nothing is evicted.
func (z zones) allFull(s Settings) bool {
	for _, c := range z {
		if c.state(s) != full {
			return false
		}
	}
	return len(z) > 0
}

// interval is the least time between two nodes of the zone being tainted
// NoExecute; 0 means never.
func (z zones) interval(zone string, s Settings) time.Duration {
	rate := s.EvictionRate
	if c := z[zone]; c.state(s) == partial {
		if rate = s.SecondaryEvictionRate; c.ready+c.notReady <= s.LargeClusterSize {
			rate = 0
		}
	}
	if rate <= 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}
