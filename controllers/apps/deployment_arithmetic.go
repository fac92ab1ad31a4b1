package apps

import (
	"fmt"
	"math"
	"sort"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// scaling is one step of a rollout: set a ReplicaSet's spec.replicas.
type scaling struct {
	rs *appsv1.ReplicaSet
	to int32
}

// fenceposts resolves maxSurge (rounded up) and maxUnavailable (rounded down)
// against the desired number of replicas. If both come to 0, maxUnavailable is
// 1, or the rollout could never go on.
func fenceposts(maxSurge, maxUnavailable *intstr.IntOrString, desired int32) (surge, unavailable int32, err error) {
	s, err := intstr.GetScaledValueFromIntOrPercent(ptr.To(ptr.Deref(maxSurge, intstr.FromInt32(0))), int(desired), true)
	if err != nil {
		return 0, 0, fmt.Errorf("maxSurge: %w", err)
	}
	u, err := intstr.GetScaledValueFromIntOrPercent(ptr.To(ptr.Deref(maxUnavailable, intstr.FromInt32(0))), int(desired), false)
	if err != nil {
		return 0, 0, fmt.Errorf("maxUnavailable: %w", err)
	}
	if s == 0 && u == 0 {
		u = 1
	}
	return int32(s), int32(u), nil
}

func rolling(d *appsv1.Deployment) bool {
	return d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType
}

func rollingParameters(d *appsv1.Deployment) (surge, unavailable *intstr.IntOrString) {
	if r := d.Spec.Strategy.RollingUpdate; r != nil {
		return r.MaxSurge, r.MaxUnavailable
	}
	return nil, nil
}

// desired is spec.replicas, which defaulting has set.
func desired(d *appsv1.Deployment) int32 { return ptr.Deref(d.Spec.Replicas, 1) }

// size of a ReplicaSet is what its spec asks for.
func size(rs *appsv1.ReplicaSet) int32 { return ptr.Deref(rs.Spec.Replicas, 1) }

// maxSurge is how many pods above desired a rollout may have.
func maxSurge(d *appsv1.Deployment) int32 {
	if !rolling(d) {
		return 0
	}
	s, u := rollingParameters(d)
	surge, _, err := fenceposts(s, u, desired(d))
	if err != nil {
		return 0 // validation refuses such values
	}
	return surge
}

// maxUnavailable is how many pods below desired may be missing during a rollout.
func maxUnavailable(d *appsv1.Deployment) int32 {
	if !rolling(d) || desired(d) == 0 {
		return 0
	}
	s, u := rollingParameters(d)
	_, unavailable, err := fenceposts(s, u, desired(d))
	if err != nil {
		return 0
	}
	return min(unavailable, desired(d))
}

// newReplicaSetSize is the size the new ReplicaSet should have now, given all
// ReplicaSets (newRS among them).
func newReplicaSetSize(d *appsv1.Deployment, all []*appsv1.ReplicaSet, newRS *appsv1.ReplicaSet) int32 {
	if !rolling(d) {
		return desired(d)
	}
	current := totalSize(all)
	most := desired(d) + maxSurgeOnly(d)
	if current >= most {
		return size(newRS)
	}
	return size(newRS) + min(most-current, desired(d)-size(newRS))
}

// maxSurgeOnly is maxSurge as written.
func maxSurgeOnly(d *appsv1.Deployment) int32 {
	s, _ := rollingParameters(d)
	n, err := intstr.GetScaledValueFromIntOrPercent(ptr.To(ptr.Deref(s, intstr.FromInt32(0))), int(desired(d)), true)
	if err != nil {
		return 0
	}
	return int32(n)
}

// rollingSteps is what a rolling update does next: bring the new ReplicaSet to
// its size, or else scale old ones down as far as availability allows,
// unhealthy replicas first, older ReplicaSets first. No steps: wait.
func rollingSteps(d *appsv1.Deployment, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) []scaling {
	all := append(append([]*appsv1.ReplicaSet(nil), old...), newRS)
	if size(newRS) > desired(d) {
		return []scaling{{newRS, desired(d)}}
	}
	if size(newRS) < desired(d) {
		if to := newReplicaSetSize(d, all, newRS); to != size(newRS) {
			return []scaling{{newRS, to}}
		}
	}

	active := activeSets(old)
	if totalSize(active) == 0 {
		return nil
	}
	minAvailable := desired(d) - maxUnavailable(d)
	newUnavailable := size(newRS) - newRS.Status.AvailableReplicas
	budget := totalSize(all) - minAvailable - newUnavailable
	if budget <= 0 {
		return nil
	}
	sortByAge(active)
	target := make([]int32, len(active))
	for i, rs := range active {
		target[i] = size(rs)
	}
	// Replicas that are not available can go without making things worse.
	for i, rs := range active {
		cut := min(budget, size(rs)-rs.Status.AvailableReplicas)
		if cut > 0 {
			target[i] -= cut
			budget -= cut
		}
	}
	// Then available ones, as many as there are above the minimum.
	spare := totalAvailable(all) - minAvailable
	for i := range active {
		cut := min(target[i], spare)
		if cut > 0 {
			target[i] -= cut
			spare -= cut
		}
	}
	var steps []scaling
	for i, rs := range active {
		if target[i] != size(rs) {
			steps = append(steps, scaling{rs, target[i]})
		}
	}
	return steps
}

// scaleSteps is what a change of spec.replicas means while a rollout is under
// way or paused: one active ReplicaSet takes all; old ones go once the new one
// is saturated; otherwise the change is spread in proportion, the rest to the
// largest. Steps of a spread are returned for ReplicaSets of unchanged size too:
// their annotations may need an update.
func scaleSteps(d *appsv1.Deployment, newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) []scaling {
	if rs := activeOrLatest(newRS, old); rs != nil {
		if size(rs) == desired(d) {
			return nil
		}
		return []scaling{{rs, desired(d)}}
	}
	var steps []scaling
	if saturated(d, newRS) {
		for _, rs := range activeSets(old) {
			steps = append(steps, scaling{rs, 0})
		}
		return steps
	}
	if !rolling(d) {
		return nil
	}
	all := append([]*appsv1.ReplicaSet(nil), old...)
	if newRS != nil {
		all = append(all, newRS)
	}
	all = activeSets(all)
	allowed := int32(0)
	if desired(d) > 0 {
		allowed = desired(d) + maxSurge(d)
	}
	toAdd := allowed - totalSize(all)
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if size(a) != size(b) {
			return size(a) > size(b)
		}
		if toAdd > 0 {
			return older(b, a)
		}
		return older(a, b)
	})
	added := int32(0)
	for _, rs := range all {
		to := size(rs)
		if toAdd != 0 {
			share := proportion(d, rs, toAdd, added)
			to += share
			added += share
		}
		steps = append(steps, scaling{rs, to})
	}
	if len(steps) > 0 && toAdd != 0 {
		steps[0].to = max(0, steps[0].to+toAdd-added)
	}
	return steps
}

// proportion is the part of toAdd that falls to rs, when added has been given out.
func proportion(d *appsv1.Deployment, rs *appsv1.ReplicaSet, toAdd, added int32) int32 {
	if size(rs) == 0 || toAdd == added {
		return 0
	}
	share := fraction(d, rs)
	if toAdd > 0 {
		return min(share, toAdd-added)
	}
	return max(share, toAdd-added)
}

func fraction(d *appsv1.Deployment, rs *appsv1.ReplicaSet) int32 {
	if desired(d) == 0 {
		return -size(rs)
	}
	before, ok := countAnnotation(rs, maxReplicasAnnotation)
	if !ok || before == 0 {
		// Someone removed the annotation: the size of the deployment is the next best guess.
		if before = d.Status.Replicas; before == 0 {
			return 0
		}
	}
	scaled := float64(size(rs)*(desired(d)+maxSurge(d))) / float64(before)
	return roundHalfAway(scaled) - size(rs)
}

func roundHalfAway(f float64) int32 { return int32(math.Round(f)) }

// activeOrLatest is the only ReplicaSet with replicas, or the newest if none has any.
func activeOrLatest(newRS *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) *appsv1.ReplicaSet {
	active := activeSets(old)
	if newRS != nil && size(newRS) > 0 {
		active = append(active, newRS)
	}
	switch {
	case len(active) == 1:
		return active[0]
	case len(active) > 1:
		return nil
	case newRS != nil:
		return newRS
	}
	var latest *appsv1.ReplicaSet
	for _, rs := range old {
		if latest == nil || older(latest, rs) {
			latest = rs
		}
	}
	return latest
}

// saturated reports whether the new ReplicaSet has all of the desired replicas available.
func saturated(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	if rs == nil {
		return false
	}
	want, err := strconv.Atoi(rs.Annotations[desiredReplicasAnnotation])
	return err == nil && int32(want) == desired(d) && size(rs) == desired(d) && rs.Status.AvailableReplicas == desired(d)
}

func activeSets(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, rs := range sets {
		if rs != nil && size(rs) > 0 {
			out = append(out, rs)
		}
	}
	return out
}

func older(a, b *appsv1.ReplicaSet) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.Name < b.Name
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}

func sortByAge(sets []*appsv1.ReplicaSet) {
	sort.SliceStable(sets, func(i, j int) bool { return older(sets[i], sets[j]) })
}

func sum(sets []*appsv1.ReplicaSet, of func(*appsv1.ReplicaSet) int32) int32 {
	total := int32(0)
	for _, rs := range sets {
		if rs != nil {
			total += of(rs)
		}
	}
	return total
}

func totalSize(sets []*appsv1.ReplicaSet) int32 { return sum(sets, size) }

func totalAvailable(sets []*appsv1.ReplicaSet) int32 {
	return sum(sets, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.AvailableReplicas })
}
