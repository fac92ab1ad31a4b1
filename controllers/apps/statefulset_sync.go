package apps

import (
	"context"
	"sort"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"proa/controllers/control"
)

func podRevision(p *corev1.Pod) string { return p.Labels[appsv1.StatefulSetRevisionLabel] }

// podCreated tells the pods of the API from those that are still to be created.
func podCreated(p *corev1.Pod) bool { return p.Status.Phase != "" }

func podRunningReady(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning && control.PodReady(p)
}

// statefulState is one StatefulSet at one time.
type statefulState struct {
	set             *appsv1.StatefulSet
	current, update *appsv1.ControllerRevision
	// currentSet and updateSet are the set with the templates of the two.
	currentSet, updateSet *appsv1.StatefulSet
	// replicas has one pod for each ordinal; those to create have no phase.
	replicas []*corev1.Pod
	// condemned are the pods beyond the ordinals, highest first.
	condemned []*corev1.Pod
	// firstUnavailable in order of ordinals, replicas first; nil if all are available.
	firstUnavailable *corev1.Pod
	now              time.Time
}

func newStatefulState(set *appsv1.StatefulSet, current, update *appsv1.ControllerRevision, pods []*corev1.Pod, now time.Time) (*statefulState, error) {
	s := &statefulState{set: set, current: current, update: update, now: now}
	var err error
	if s.currentSet, err = atRevision(set, current); err != nil {
		return nil, err
	}
	if s.updateSet, err = atRevision(set, update); err != nil {
		return nil, err
	}
	start, end := ordinals(set)
	s.replicas = make([]*corev1.Pod, max(0, end-start))
	for _, p := range pods {
		switch n := ordinalOf(p); {
		case inOrdinals(p, set):
			s.replicas[n-start] = p
		case n >= 0:
			s.condemned = append(s.condemned, p)
		}
	}
	for i := range s.replicas {
		if s.replicas[i] == nil {
			s.replicas[i] = s.newPod(i)
		}
	}
	sort.SliceStable(s.condemned, func(i, j int) bool { return ordinalOf(s.condemned[i]) > ordinalOf(s.condemned[j]) })
	for _, p := range s.replicas {
		if s.firstUnavailable == nil && s.unavailable(p) {
			s.firstUnavailable = p
		}
	}
	for i := len(s.condemned) - 1; i >= 0; i-- {
		if s.firstUnavailable == nil && s.unavailable(s.condemned[i]) {
			s.firstUnavailable = s.condemned[i]
		}
	}
	return s, nil
}

// newPod makes the pod of the i-th replica: at the current revision below the
// partition, or below the replicas that are still at it, else at the new one.
func (s *statefulState) newPod(i int) *corev1.Pod {
	start, _ := ordinals(s.set)
	strategy := &s.set.Spec.UpdateStrategy
	old := 0
	if strategy.RollingUpdate != nil {
		old = int(ptr.Deref(strategy.RollingUpdate.Partition, 0))
	} else if strategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		old = int(s.set.Status.CurrentReplicas)
	}
	if i < old {
		return statefulPod(s.currentSet, start+i, s.current.Name)
	}
	return statefulPod(s.updateSet, start+i, s.update.Name)
}

func (s *statefulState) available(p *corev1.Pod) bool {
	return control.PodAvailable(p, s.set.Spec.MinReadySeconds, s.now)
}

func (s *statefulState) unavailable(p *corev1.Pod) bool {
	return !s.available(p) || p.DeletionTimestamp != nil
}

func (s *statefulState) ordered() bool {
	return s.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
}

// status counts the pods.
func (s *statefulState) status(collisions int32, lists ...[]*corev1.Pod) appsv1.StatefulSetStatus {
	st := appsv1.StatefulSetStatus{
		ObservedGeneration: s.set.Generation,
		CurrentRevision:    s.current.Name,
		UpdateRevision:     s.update.Name,
		CollisionCount:     ptr.To(collisions),
	}
	for _, list := range lists {
		for _, p := range list {
			if podCreated(p) {
				st.Replicas++
			}
			if podRunningReady(p) {
				st.ReadyReplicas++
				if s.available(p) {
					st.AvailableReplicas++
				}
			}
			if podCreated(p) && p.DeletionTimestamp == nil {
				if podRevision(p) == s.current.Name {
					st.CurrentReplicas++
				}
				if podRevision(p) == s.update.Name {
					st.UpdatedReplicas++
				}
			}
		}
	}
	return st
}

// complete makes the new revision the current one once all replicas are at it.
func (s *statefulState) complete(st *appsv1.StatefulSetStatus) {
	n := ptr.Deref(s.set.Spec.Replicas, 1)
	if s.set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType &&
		st.UpdatedReplicas == n && st.ReadyReplicas == n && st.Replicas == n {
		st.CurrentReplicas = st.UpdatedReplicas
		st.CurrentRevision = st.UpdateRevision
	}
}

// outdated lists the pods that a rolling update deletes now, highest ordinal
// first: one, and only if all above it are available; with maxUnavailable, as
// many as may be unavailable.
func (s *statefulState) outdated() []*corev1.Pod {
	if s.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return nil
	}
	partition := 0
	var limit *intstr.IntOrString
	if ru := s.set.Spec.UpdateStrategy.RollingUpdate; ru != nil {
		partition = int(ptr.Deref(ru.Partition, 0))
		limit = ru.MaxUnavailable
	}
	if limit == nil {
		for i := len(s.replicas) - 1; i >= partition; i-- {
			p := s.replicas[i]
			if podRevision(p) != s.update.Name && p.DeletionTimestamp == nil {
				return []*corev1.Pod{p}
			}
			if s.unavailable(p) {
				return nil
			}
		}
		return nil
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(limit, len(s.replicas), false)
	if err != nil {
		n = 1 // validation refuses such values
	}
	n = max(1, n)
	for _, p := range s.replicas {
		if s.unavailable(p) {
			n--
		}
	}
	var out []*corev1.Pod
	for i := len(s.replicas) - 1; i >= partition && len(out) < n; i-- {
		if p := s.replicas[i]; podRevision(p) != s.update.Name && p.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	return out
}

// each calls fn for every pod: in order until one says stop, or, where the pods
// are managed in parallel, for all of them.
func (s *statefulState) each(pods []*corev1.Pod, fn func(*corev1.Pod) (stop bool, err error)) (stop bool, err error) {
	if s.ordered() {
		for _, p := range pods {
			if stop, err := fn(p); stop || err != nil {
				return true, err
			}
		}
		return false, nil
	}
	_, err = control.SlowStart(len(pods), control.SlowStartInitialBatchSize, func(i int) error {
		_, err := fn(pods[i])
		return err
	})
	return err != nil, err
}

// sync takes the pods one step further and returns the status afterwards.
func (r *StatefulSet) sync(ctx context.Context, s *statefulState, pods []*corev1.Pod, collisions int32) (appsv1.StatefulSetStatus, error) {
	if s.set.DeletionTimestamp != nil {
		return s.status(collisions, pods), nil
	}
	steps := []struct {
		pods []*corev1.Pod
		step func(context.Context, *statefulState, *corev1.Pod) (bool, error)
	}{{s.replicas, r.replica}, {s.condemned, r.condemnedClaims}, {s.condemned, r.condemned}}
	for _, x := range steps {
		stop, err := s.each(x.pods, func(p *corev1.Pod) (bool, error) { return x.step(ctx, s, p) })
		if stop || err != nil {
			return s.status(collisions, s.replicas, s.condemned), err
		}
	}
	st := s.status(collisions, s.replicas, s.condemned)
	for _, p := range s.outdated() {
		klog.FromContext(ctx).V(2).Info("Pod of StatefulSet is terminating for update", "statefulSet", klog.KObj(s.set), "pod", klog.KObj(p))
		if err := r.deletePod(ctx, s.set, p); err != nil {
			return st, err
		}
		st.CurrentReplicas--
	}
	return st, nil
}

// replica brings one pod towards running; stop means that those after it wait.
func (r *StatefulSet) replica(ctx context.Context, s *statefulState, p *corev1.Pod) (stop bool, err error) {
	if control.PodTerminal(p) {
		// Whatever its end, a new pod takes its place once it is gone.
		if p.DeletionTimestamp == nil {
			err = r.deletePod(ctx, s.set, p)
		}
		return true, err
	}
	if !podCreated(p) {
		if stale, err := r.staleClaim(ctx, s.set, p); stale || err != nil {
			return true, err
		}
		// What else there is to do for it waits until the cache shows it.
		err := r.createPod(ctx, s.set, p)
		return err != nil || s.ordered(), err
	}
	if p.Status.Phase == corev1.PodPending {
		err := r.createClaims(ctx, s.set, p)
		if err == nil {
			if err = r.fixClaims(ctx, s.set, p); err != nil {
				r.record("Update", s.set, p, err)
			}
		}
		if err != nil {
			return true, err
		}
	}
	if s.ordered() && (p.DeletionTimestamp != nil || !podRunningReady(p) || !s.available(p)) {
		return true, nil
	}
	match, err := r.claimsMatch(ctx, s.updateSet, p)
	if err != nil || (identityMatches(s.set, p) && storageMatches(s.set, p) && match) {
		return false, nil
	}
	return false, r.repairPod(ctx, s.updateSet, p)
}

// condemnedClaims hands the claims of a pod that is scaled away to it, if they
// are to go with it.
func (r *StatefulSet) condemnedClaims(ctx context.Context, s *statefulState, p *corev1.Pod) (stop bool, err error) {
	match, err := r.claimsMatch(ctx, s.updateSet, p)
	if err == nil && !match {
		err = r.fixClaims(ctx, s.updateSet, p)
	}
	return err != nil, err
}

// condemned deletes a pod that is scaled away, in order one after the other and
// only while the others are available.
func (r *StatefulSet) condemned(ctx context.Context, s *statefulState, p *corev1.Pod) (stop bool, err error) {
	if p.DeletionTimestamp != nil {
		return s.ordered(), nil
	}
	if s.ordered() && p != s.firstUnavailable && (!podRunningReady(p) || !s.available(p)) {
		return true, nil
	}
	klog.FromContext(ctx).V(2).Info("Pod of StatefulSet is terminating for scale down", "statefulSet", klog.KObj(s.set), "pod", klog.KObj(p))
	return true, r.deletePod(ctx, s.set, p)
}
