package batch

import (
	"slices"
	"sort"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"proa/controllers/control"
)

// maxUncounted is how many pods status.uncountedTerminatedPods holds at most.
const maxUncounted = 500

// jobState is one job with its pods, as one reconciliation sees them. job is a
// copy whose status changes as the reconciliation goes on.
type jobState struct {
	job    *batchv1.Job
	pods   []*corev1.Pod
	active []*corev1.Pod
	// released are pods without finalizer that the cache still shows with it.
	released map[types.UID]bool

	ready, terminating int32
	// succeeded and failed include pods that are finished and not counted yet.
	succeeded, failed int32
	backoff           backoff

	succeededBefore, succeededIndexes intervals
	failedIndexes                     *intervals
	// delayed are failed pods, by index, that are kept until their replacement
	// exists, because it takes their failure count over.
	delayed map[int]*corev1.Pod

	// finished is the condition that ends the job, nil while it goes on.
	finished *batchv1.JobCondition
}

// newJobState counts. before is the backoff so far.
func newJobState(job *batchv1.Job, pods []*corev1.Pod, released map[types.UID]bool, before backoff) *jobState {
	s := &jobState{job: job, pods: pods, released: released, active: control.Filter(pods, control.PodActive)}
	if job.Status.UncountedTerminatedPods == nil {
		job.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	for _, p := range pods {
		if control.PodTerminating(p) {
			s.terminating++
		}
	}
	for _, p := range s.active {
		if control.PodReady(p) {
			s.ready++
		}
	}
	uncounted := job.Status.UncountedTerminatedPods
	newSucceeded := s.uncountedPods(uncounted.Succeeded, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	newFailed := s.uncountedPods(uncounted.Failed, func(p *corev1.Pod) bool { return podFailed(job, p) })
	s.succeeded = job.Status.Succeeded + int32(len(newSucceeded)+len(uncounted.Succeeded))
	s.failed = job.Status.Failed + int32(len(uncounted.Failed))
	for _, p := range newFailed {
		if judge(job.Spec.PodFailurePolicy, p).counted {
			s.failed++
		}
	}
	s.backoff = before.after(newSucceeded, newFailed)
	return s
}

// uncountedPods are pods that still have the finalizer, are not in known, and are in.
func (s *jobState) uncountedPods(known []types.UID, in func(*corev1.Pod) bool) []*corev1.Pod {
	return control.Filter(s.pods, func(p *corev1.Pod) bool {
		if !tracked(p) || s.released[p.UID] || slices.Contains(known, p.UID) {
			return false
		}
		return (!indexed(s.job) || validIndex(s.job, p)) && in(p)
	})
}

func tracked(p *corev1.Pod) bool { return slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) }

// replaceOnlyFailed: a pod that is being deleted is replaced once it has ended.
func replaceOnlyFailed(job *batchv1.Job) bool {
	return ptr.Deref(job.Spec.PodReplacementPolicy, "") == batchv1.Failed || job.Spec.PodFailurePolicy != nil
}

// podFailed reports whether the pod counts as failed; one that is being deleted
// may never come to say so itself.
func podFailed(job *batchv1.Job, p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodFailed {
		return true
	}
	return !replaceOnlyFailed(job) && p.DeletionTimestamp != nil && p.Status.Phase != corev1.PodSucceeded
}

func suspended(job *batchv1.Job) bool { return ptr.Deref(job.Spec.Suspend, false) }

func condition(t batchv1.JobConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) *batchv1.JobCondition {
	at := metav1.NewTime(now)
	return &batchv1.JobCondition{Type: t, Status: status, LastProbeTime: at, LastTransitionTime: at, Reason: reason, Message: message}
}

func jobCondition(job *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if job.Status.Conditions[i].Type == t {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

func hasTrue(job *batchv1.Job, t batchv1.JobConditionType) bool {
	c := jobCondition(job, t)
	return c != nil && c.Status == corev1.ConditionTrue
}

// finishedJob reports whether the job has come to its end, and how.
func finishedJob(job *batchv1.Job) bool {
	return hasTrue(job, batchv1.JobComplete) || hasTrue(job, batchv1.JobFailed)
}

// setJobCondition adds or changes a condition; one that is false is not added.
// It reports whether anything changed.
func setJobCondition(job *batchv1.Job, c *batchv1.JobCondition) bool {
	if old := jobCondition(job, c.Type); old != nil {
		if old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
			return false
		}
		*old = *c
		return true
	}
	if c.Status == corev1.ConditionFalse {
		return false
	}
	job.Status.Conditions = append(job.Status.Conditions, *c)
	return true
}

// evaluate decides whether the job is at its end, in upstream's order: what was
// decided before, failure by policy, limits, indexes, success by policy. It
// returns how long until the deadline, 0 for none.
func (s *jobState) evaluate(now time.Time) (deadlineIn time.Duration) {
	job := s.job
	if c := jobCondition(job, batchv1.JobSuccessCriteriaMet); c != nil && c.Status == corev1.ConditionTrue {
		s.finished = c.DeepCopy()
	} else if c := jobCondition(job, batchv1.JobFailureTarget); c != nil && c.Status == corev1.ConditionTrue {
		s.finished = condition(batchv1.JobFailed, corev1.ConditionTrue, c.Reason, c.Message, now)
	} else if message := s.failJobMessage(); message != "" {
		s.finished = condition(batchv1.JobFailureTarget, corev1.ConditionTrue, batchv1.JobReasonPodFailurePolicy, message, now)
	}
	fail := func(reason, message string) {
		s.finished = condition(batchv1.JobFailureTarget, corev1.ConditionTrue, reason, message, now)
	}
	if s.finished == nil {
		active := job.Spec.ActiveDeadlineSeconds != nil && job.Status.StartTime != nil && !suspended(job)
		var left time.Duration
		if active {
			left = job.Status.StartTime.Add(time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second).Sub(now)
		}
		switch {
		case s.failed > ptr.Deref(job.Spec.BackoffLimit, 6) || s.restartsExceedLimit():
			fail(batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit")
		case active && left <= 0:
			fail(batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline")
		case active:
			deadlineIn = left
		}
	}
	if !indexed(job) {
		return deadlineIn
	}
	s.succeededBefore = parseIntervals(job.Status.CompletedIndexes, completions(job))
	var newly []int
	for _, p := range s.pods {
		if p.Status.Phase == corev1.PodSucceeded && validIndex(job, p) && tracked(p) {
			newly = append(newly, completionIndex(p))
		}
	}
	s.succeededIndexes = s.succeededBefore.with(newly)
	s.succeeded = int32(s.succeededIndexes.total())
	if job.Spec.BackoffLimitPerIndex != nil {
		s.failedIndexes = s.countFailedIndexes()
		n := s.failedIndexes.total()
		switch {
		case s.finished != nil:
		case job.Spec.MaxFailedIndexes != nil && n > int(*job.Spec.MaxFailedIndexes):
			fail(batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes")
		case n > 0 && n+s.succeededIndexes.total() >= completions(job):
			fail(batchv1.JobReasonFailedIndexes, "Job has failed indexes")
		}
		s.delayed = s.delayedPods()
	}
	if s.finished == nil {
		if message, met := succeededByPolicy(job.Spec.SuccessPolicy, completions(job), s.succeededIndexes); met {
			s.finished = condition(batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue, batchv1.JobReasonSuccessPolicy, message, now)
		}
	}
	return deadlineIn
}

func (s *jobState) failJobMessage() string {
	if s.job.Spec.PodFailurePolicy == nil {
		return ""
	}
	for _, p := range s.pods {
		if podFailed(s.job, p) {
			if v := judge(s.job.Spec.PodFailurePolicy, p); v.failJob != "" {
				return v.failJob
			}
		}
	}
	return ""
}

// restartsExceedLimit: with restartPolicy OnFailure, restarts in place count too.
func (s *jobState) restartsExceedLimit() bool {
	if s.job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return false
	}
	total := int32(0)
	for _, p := range s.pods {
		if p.Status.Phase != corev1.PodRunning && p.Status.Phase != corev1.PodPending {
			continue
		}
		for i := range p.Status.InitContainerStatuses {
			total += p.Status.InitContainerStatuses[i].RestartCount
		}
		for i := range p.Status.ContainerStatuses {
			total += p.Status.ContainerStatuses[i].RestartCount
		}
	}
	limit := ptr.Deref(s.job.Spec.BackoffLimit, 6)
	return total > 0 && total >= limit
}

func countAnnotation(p *corev1.Pod, key string) int32 {
	n, err := strconv.ParseInt(p.Annotations[key], 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int32(n)
}

// indexFailures is how often the pod's index failed before it: what counts, and what does not.
func indexFailures(p *corev1.Pod) (counted, ignored int32) {
	return countAnnotation(p, batchv1.JobIndexFailureCountAnnotation), countAnnotation(p, batchv1.JobIndexIgnoredFailureCountAnnotation)
}

func allIndexFailures(p *corev1.Pod) int32 {
	a, b := indexFailures(p)
	return a + b
}

func (s *jobState) countFailedIndexes() *intervals {
	var newly []int
	for _, p := range s.pods {
		if !validIndex(s.job, p) || !tracked(p) || !podFailed(s.job, p) {
			continue
		}
		v := judge(s.job.Spec.PodFailurePolicy, p)
		counted, _ := indexFailures(p)
		if v.failIndex || (v.counted && counted >= *s.job.Spec.BackoffLimitPerIndex) {
			newly = append(newly, completionIndex(p))
		}
	}
	out := parseIntervals(ptr.Deref(s.job.Status.FailedIndexes, ""), completions(s.job)).with(newly)
	return &out
}

// delayedPods finds, per index that is neither done nor has an active pod, the
// failed pod that knows most of the index's failures.
func (s *jobState) delayedPods() map[int]*corev1.Pod {
	active := intervals(nil).with(indexesOf(s.active))
	out := map[int]*corev1.Pod{}
	for _, p := range s.uncountedPods(nil, func(p *corev1.Pod) bool { return podFailed(s.job, p) }) {
		i := completionIndex(p)
		if s.succeededIndexes.has(i) || s.failedIndexes.has(i) || active.has(i) {
			continue
		}
		if best, ok := out[i]; !ok || (allIndexFailures(best) <= allIndexFailures(p) && !finishedAt(p).Before(finishedAt(best))) {
			out[i] = p
		}
	}
	return out
}

// plan is what to do about the number of running pods.
type plan struct {
	remove []*corev1.Pod
	create int
	// indexes of the pods to create; nil for jobs without.
	indexes []int
	// wait is how long nothing may be created.
	wait time.Duration
}

// plan decides how many pods to create or remove; never both.
func (s *jobState) plan(now time.Time) plan {
	job := s.job
	active := int32(len(s.active))
	if suspended(job) {
		return plan{remove: s.surplus(len(s.active))}
	}
	parallelism := ptr.Deref(job.Spec.Parallelism, 1)
	want := parallelism
	switch {
	case job.Spec.Completions != nil:
		want = max(0, min(parallelism, *job.Spec.Completions-s.succeeded))
	case s.succeeded > 0:
		want = active
	}
	if remove := s.surplus(int(max(0, active-want))); len(remove) > 0 {
		return plan{remove: remove[:min(len(remove), podsPerSync)]}
	}
	create := want - active
	if replaceOnlyFailed(job) {
		create -= s.terminating
	}
	if create <= 0 {
		return plan{}
	}
	if job.Spec.BackoffLimitPerIndex == nil {
		if wait := s.backoff.remaining(now); wait > 0 {
			return plan{wait: wait}
		}
	}
	create = min(create, podsPerSync)
	if !indexed(job) {
		return plan{create: int(create)}
	}
	taken := s.succeededIndexes.with(indexesOf(s.active))
	if replaceOnlyFailed(job) {
		taken = taken.with(indexesOf(control.Filter(s.pods, control.PodTerminating)))
	}
	if s.failedIndexes != nil {
		taken = taken.union(*s.failedIndexes)
	}
	indexes := taken.firstMissing(int(create), completions(job))
	if job.Spec.BackoffLimitPerIndex != nil {
		var now0 []int
		var wait time.Duration
		for _, i := range indexes {
			left := time.Duration(0)
			if p := s.delayed[i]; p != nil {
				left = backoff{failures: allIndexFailures(p) + 1, last: finishedAt(p)}.remaining(now)
			}
			if left == 0 {
				now0 = append(now0, i)
			} else if wait == 0 || left < wait {
				wait = left
			}
		}
		if len(now0) == 0 && wait > 0 {
			return plan{wait: wait}
		}
		indexes = now0
	}
	return plan{create: len(indexes), indexes: indexes}
}

// surplus chooses at least n active pods to remove: for indexed jobs first
// those without a valid index and all but one of each index.
func (s *jobState) surplus(n int) []*corev1.Pod {
	left := append([]*corev1.Pod(nil), s.active...)
	var remove []*corev1.Pod
	if indexed(s.job) {
		byIndex := map[int][]*corev1.Pod{}
		var order []int
		for _, p := range left {
			i := completionIndex(p)
			if !validIndex(s.job, p) {
				remove = append(remove, p)
				continue
			}
			if byIndex[i] == nil {
				order = append(order, i)
			}
			byIndex[i] = append(byIndex[i], p)
		}
		sort.Ints(order)
		left = left[:0]
		for _, i := range order {
			same := byIndex[i]
			control.RankForDeletion(same, nil, time.Time{})
			remove = append(remove, same[:len(same)-1]...)
			left = append(left, same[len(same)-1])
		}
	}
	if more := n - len(remove); more > 0 {
		control.RankForDeletion(left, nil, time.Time{})
		remove = append(remove, left[:min(more, len(left))]...)
	}
	return remove
}

// count puts finished pods into the uncounted lists (or, for indexed jobs, the
// completed indexes) and returns the pods whose finalizer can go. changed: the
// status must be written before it goes. full: there are more.
func (s *jobState) count() (release []*corev1.Pod, changed, full bool) {
	job := s.job
	uncounted := job.Status.UncountedTerminatedPods
	pods := s.pods
	if indexed(job) {
		pods = append([]*corev1.Pod(nil), pods...)
		sort.SliceStable(pods, func(i, j int) bool { return completionIndex(pods[i]) < completionIndex(pods[j]) })
	}
	var newIndexes []int
	for _, p := range pods {
		if !tracked(p) || s.released[p.UID] || !s.releasable(p) {
			continue
		}
		release = append(release, p)
		switch {
		case p.Status.Phase == corev1.PodSucceeded && !slices.Contains(uncounted.Failed, p.UID):
			if indexed(job) {
				if i := completionIndex(p); validIndex(job, p) && !s.succeededBefore.has(i) {
					newIndexes = append(newIndexes, i)
					changed = true
				}
			} else if !slices.Contains(uncounted.Succeeded, p.UID) {
				uncounted.Succeeded = append(uncounted.Succeeded, p.UID)
				changed = true
			}
		case podFailed(job, p) || (s.finished != nil && s.finished.Type != batchv1.JobSuccessCriteriaMet):
			if !slices.Contains(uncounted.Failed, p.UID) && (!indexed(job) || validIndex(job, p)) && judge(job.Spec.PodFailurePolicy, p).counted {
				uncounted.Failed = append(uncounted.Failed, p.UID)
				changed = true
			}
		}
		if len(newIndexes)+len(uncounted.Succeeded)+len(uncounted.Failed) >= maxUncounted {
			full = true
			break
		}
	}
	if indexed(job) {
		done := s.succeededIndexes.with(newIndexes)
		if text := done.String(); text != job.Status.CompletedIndexes {
			job.Status.CompletedIndexes = text
			changed = true
		}
		job.Status.Succeeded = int32(done.total())
		var failed *string
		if s.failedIndexes != nil {
			failed = ptr.To(s.failedIndexes.String())
		}
		if !ptr.Equal(failed, job.Status.FailedIndexes) {
			job.Status.FailedIndexes = failed
			changed = true
		}
	}
	return release, changed, full
}

// releasable reports whether the pod's finalizer can go: the job or the pod is
// at its end, unless the pod's replacement has yet to take its failures over.
func (s *jobState) releasable(p *corev1.Pod) bool {
	if s.job.DeletionTimestamp != nil || s.finished != nil || p.Status.Phase == corev1.PodSucceeded {
		return true
	}
	if !podFailed(s.job, p) {
		return false
	}
	d := s.delayed[completionIndex(p)]
	return d == nil || d.UID != p.UID
}

// settle moves uncounted pods whose finalizer is gone to the counters. held are
// the pods that still have it. It reports whether anything moved.
func settle(status *batchv1.JobStatus, held map[types.UID]bool) bool {
	move := func(list []types.UID, counter *int32) ([]types.UID, bool) {
		var kept []types.UID
		for _, uid := range list {
			if held[uid] {
				kept = append(kept, uid)
			}
		}
		*counter += int32(len(list) - len(kept))
		return kept, len(kept) != len(list)
	}
	u := status.UncountedTerminatedPods
	if u == nil {
		return false
	}
	var a, b bool
	u.Succeeded, a = move(u.Succeeded, &status.Succeeded)
	u.Failed, b = move(u.Failed, &status.Failed)
	return a || b
}
