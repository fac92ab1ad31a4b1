package batch

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	// podsPerSync is how many pods one reconciliation creates or removes at most.
	podsPerSync = 500
	// batchDelay collects the events of a job's pods into one reconciliation.
	batchDelay = 100 * time.Millisecond
	// staleDelay is waited when the cache was behind our own last write.
	staleDelay = 50 * time.Millisecond
)

var jobKind = batchv1.SchemeGroupVersion.WithKind("Job")

// Job runs the pods of each Job to their completion and counts them.
type Job struct {
	Client       client.Client
	Live         client.Reader
	Pods         *control.Pods
	Expectations *control.Expectations
	Clock        clock.PassiveClock
	memory       *jobMemory
}

// NewJob returns the reconciler.
func NewJob(c client.Client, live client.Reader, recorder record.EventRecorder, clk clock.PassiveClock) *Job {
	return &Job{
		Client: c, Live: live, Clock: clk,
		Pods:         &control.Pods{Client: c, Recorder: recorder},
		Expectations: control.NewExpectations(clk),
		memory:       newJobMemory(),
	}
}

// SetupJob registers the controller.
func SetupJob(env *control.Env) error {
	r := NewJob(env.Client(), env.Live(), env.Recorder("job-controller"), env.Clock)
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("job").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&batchv1.Job{}).
		Watches(&corev1.Pod{}, r.podEvents()).
		Complete(r)
}

func (r *Job) podEvents() handler.EventHandler {
	pods := control.PodEvents{
		Kind:         jobKind.Kind,
		Expectations: r.Expectations,
		Adopters:     r.adopters,
		Enqueue: func(owner types.NamespacedName, q control.Queue) {
			q.AddAfter(reconcile.Request{NamespacedName: owner}, batchDelay)
		},
	}.Handler()
	released := func(pod client.Object) {
		if ref := metav1.GetControllerOfNoCopy(pod); ref != nil && ref.Kind == jobKind.Kind {
			r.memory.releaseObserved(types.NamespacedName{Namespace: pod.GetNamespace(), Name: ref.Name}, pod.GetUID())
		}
	}
	return handler.Funcs{
		CreateFunc: pods.Create,
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) {
			if p, ok := e.ObjectNew.(*corev1.Pod); ok && !tracked(p) {
				released(p)
			}
			pods.Update(ctx, e, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q control.Queue) {
			released(e.Object)
			pods.Delete(ctx, e, q)
		},
	}
}

func (r *Job) adopters(ctx context.Context, pod *corev1.Pod) []types.NamespacedName {
	var list batchv1.JobList
	if err := r.Client.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		klog.FromContext(ctx).Error(err, "Could not list jobs for an orphan", "pod", klog.KObj(pod))
		return nil
	}
	var out []types.NamespacedName
	for i := range list.Items {
		if control.SelectorMatches(list.Items[i].Spec.Selector, pod.Labels) {
			out = append(out, control.Key(&list.Items[i]))
		}
	}
	return out
}

// managedByOther reports whether spec.managedBy names another controller.
func managedByOther(job *batchv1.Job) bool {
	return job.Spec.ManagedBy != nil && *job.Spec.ManagedBy != batchv1.JobControllerName
}

// Reconcile takes one job as far as it goes now.
func (r *Job) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var cached batchv1.Job
	if err := r.Client.Get(ctx, req.NamespacedName, &cached); err != nil {
		if apierrors.IsNotFound(err) {
			r.Expectations.Forget(req.NamespacedName)
			r.memory.forget(req.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if managedByOther(&cached) {
		return reconcile.Result{}, nil
	}
	if finishedJob(&cached) {
		r.memory.forgetBackoff(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	wait, err := r.sync(ctx, &cached)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: staleDelay}, nil
	}
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

func (r *Job) sync(ctx context.Context, cached *batchv1.Job) (wait time.Duration, err error) {
	key := control.Key(cached)
	job := cached.DeepCopy()
	satisfied, openFor := r.Expectations.Satisfied(key)
	pods, err := r.claim(ctx, job)
	if err != nil {
		return 0, err
	}
	now := r.Clock.Now()
	s := newJobState(job, pods, r.memory.releasedPods(key), r.memory.backoff(key))
	if job.Status.StartTime == nil && !suspended(job) {
		job.Status.StartTime = ptr.To(metav1.NewTime(now))
	}
	wait = soonest(openFor, s.evaluate(now))

	active := int32(len(s.active))
	changed := false
	var podErr error
	if s.finished != nil {
		var deleted, ready int32
		deleted, ready, podErr = r.deletePods(ctx, job, s.active, false)
		if deleted != active || !satisfied {
			// There may be pods left that are not known yet: not finished.
			s.finished = nil
		}
		active -= deleted
		s.terminating += deleted
		s.ready -= ready
	} else {
		managed := satisfied && job.DeletionTimestamp == nil
		if managed {
			var delta, ready int32
			var backoffWait time.Duration
			delta, ready, backoffWait, podErr = r.manage(ctx, s, now)
			active += delta
			s.ready -= ready
			wait = soonest(wait, backoffWait)
		}
		if allCompleted(s, active) {
			s.finished = condition(batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods", now)
		} else if managed {
			changed = r.suspension(job, now)
		}
	}
	if job.Status.Active != active || !ptr.Equal(job.Status.Ready, &s.ready) || !ptr.Equal(job.Status.Terminating, &s.terminating) ||
		!equality.Semantic.DeepEqual(job.Status.StartTime, cached.Status.StartTime) {
		changed = true
	}
	job.Status.Active = active
	job.Status.Ready = &s.ready
	job.Status.Terminating = &s.terminating
	if err := r.track(ctx, s, changed); err != nil {
		return 0, fmt.Errorf("tracking status: %w", err)
	}
	return wait, podErr
}

func soonest(a, b time.Duration) time.Duration {
	switch {
	case a <= 0:
		return b
	case b <= 0:
		return a
	}
	return min(a, b)
}

// allCompleted reports whether enough pods succeeded and none runs any more.
func allCompleted(s *jobState, active int32) bool {
	if s.job.Spec.Completions == nil {
		return s.succeeded > 0 && active == 0
	}
	return s.succeeded >= *s.job.Spec.Completions && active == 0
}

// claim lists the job's pods, adopting and releasing.
func (r *Job) claim(ctx context.Context, job *batchv1.Job) ([]*corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(job.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("job %s: spec.selector: %w", klog.KObj(job), err)
	}
	all, err := control.PodsOf(ctx, r.Client, job.Namespace, job.UID, true)
	if err != nil {
		return nil, err
	}
	pods, err := control.Claim(ctx, &control.Claimer{
		Client: r.Client, Live: r.Live, Owner: job, Kind: jobKind, Selector: selector, Finalizers: []string{batchv1.JobTrackingFinalizer},
	}, all, nil)
	if err != nil {
		return nil, err
	}
	for i, p := range pods {
		// Just adopted: the cache shows it without our finalizer.
		if !control.OwnedBy(p, job) && !tracked(p) {
			pods[i] = p.DeepCopy()
			pods[i].Finalizers = append(pods[i].Finalizers, batchv1.JobTrackingFinalizer)
		}
	}
	return pods, nil
}

// manage creates or removes pods as planned. delta is the change in active
// pods, ready the number of ready ones removed.
func (r *Job) manage(ctx context.Context, s *jobState, now time.Time) (delta, ready int32, wait time.Duration, err error) {
	p := s.plan(now)
	switch {
	case len(p.remove) > 0:
		removed, readyRemoved, err := r.deletePods(ctx, s.job, p.remove, true)
		s.terminating += removed
		return -removed, readyRemoved, 0, err
	case p.create > 0:
		created, err := r.createPods(ctx, s, p)
		return created, 0, 0, err
	}
	return 0, 0, p.wait, nil
}

func (r *Job) createPods(ctx context.Context, s *jobState, p plan) (int32, error) {
	key := control.Key(s.job)
	r.Expectations.ExpectCreations(key, p.create)
	created, err := control.SlowStart(p.create, control.SlowStartInitialBatchSize, func(i int) error {
		index := noIndex
		if p.indexes != nil {
			index = p.indexes[i]
		}
		err := r.Pods.Create(ctx, jobPod(s.job, index, s.delayed[index]), s.job)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil // nothing can be created there any more
		}
		return err
	})
	r.Expectations.CreationsObserved(key, p.create-created)
	return int32(created), err
}

// deletePods deletes pods and returns how many, and how many of them were
// ready. With release their finalizer is taken off before, so that they are
// not counted.
func (r *Job) deletePods(ctx context.Context, job *batchv1.Job, pods []*corev1.Pod, release bool) (deleted, ready int32, err error) {
	key := control.Key(job)
	errs := make([]error, len(pods))
	if release {
		for _, p := range pods {
			r.Expectations.ExpectDeletions(key, p.UID)
		}
	}
	err = control.Parallel(len(pods), func(i int) error {
		if release {
			errs[i] = r.release(ctx, pods[i])
		}
		if errs[i] == nil {
			errs[i] = r.Pods.Delete(ctx, pods[i], job)
		}
		if errs[i] != nil && release {
			r.Expectations.DeletionObserved(key, pods[i].UID)
		}
		errs[i] = client.IgnoreNotFound(errs[i])
		return errs[i]
	})
	for i, p := range pods {
		if errs[i] == nil {
			deleted++
			if control.PodReady(p) {
				ready++
			}
		}
	}
	return deleted, ready, err
}

// release takes the tracking finalizer off.
func (r *Job) release(ctx context.Context, p *corev1.Pod) error {
	return removeTracking(ctx, r.Client, p)
}

func removeTracking(ctx context.Context, c client.Writer, p *corev1.Pod) error {
	if !tracked(p) {
		return nil
	}
	patch := client.RawPatch(types.StrategicMergePatchType, []byte(`{"metadata":{"$deleteFromPrimitiveList/finalizers":["`+batchv1.JobTrackingFinalizer+`"]}}`))
	return c.Patch(ctx, p.DeepCopy(), patch)
}

// suspension keeps the Suspended condition and what goes with it, and reports a change.
func (r *Job) suspension(job *batchv1.Job, now time.Time) bool {
	if suspended(job) {
		if !setJobCondition(job, condition(batchv1.JobSuspended, corev1.ConditionTrue, "JobSuspended", "Job suspended", now)) {
			return false
		}
		r.Pods.Recorder.Event(job, corev1.EventTypeNormal, "Suspended", "Job suspended")
		job.Status.StartTime = nil
		return true
	}
	if !setJobCondition(job, condition(batchv1.JobSuspended, corev1.ConditionFalse, "JobResumed", "Job resumed", now)) {
		return false
	}
	r.Pods.Recorder.Event(job, corev1.EventTypeNormal, "Resumed", "Job resumed")
	// The deadline counts from the resumption.
	job.Status.StartTime = ptr.To(metav1.NewTime(now))
	return true
}

// track counts finished pods: it notes them in the status, writes that, takes
// their finalizers off, moves them to the counters, and ends the job once
// nothing is left to count.
func (r *Job) track(ctx context.Context, s *jobState, changed bool) error {
	job := s.job
	key := control.Key(job)
	held := map[types.UID]bool{}
	for _, p := range s.pods {
		if tracked(p) && !s.released[p.UID] {
			held[p.UID] = true
		}
	}
	if settle(&job.Status, held) {
		changed = true
	}
	release, counted, full := s.count()
	changed = changed || counted

	// The interim conditions are written before the finalizers go, the final
	// ones after: the decision must survive us.
	now := r.Clock.Now()
	if f := s.finished; f != nil {
		switch f.Type {
		case batchv1.JobFailureTarget:
			job.Status.Conditions = append(job.Status.Conditions, *f)
			changed = true
			s.finished = condition(batchv1.JobFailed, corev1.ConditionTrue, f.Reason, f.Message, now)
		case batchv1.JobSuccessCriteriaMet:
			if !hasTrue(job, batchv1.JobSuccessCriteriaMet) {
				job.Status.Conditions = append(job.Status.Conditions, *f)
				changed = true
			}
			s.finished = condition(batchv1.JobComplete, corev1.ConditionTrue, f.Reason, f.Message, now)
		}
	}
	if changed {
		if err := r.Client.Status().Update(ctx, job); err != nil {
			return err
		}
		r.memory.setBackoff(key, s.backoff)
		changed = false
	}

	errs := make([]error, len(release))
	for _, p := range release {
		r.memory.release(key, p.UID)
	}
	releaseErr := control.Parallel(len(release), func(i int) error {
		err := r.release(ctx, release[i])
		if err != nil {
			r.memory.releaseObserved(key, release[i].UID)
		}
		errs[i] = client.IgnoreNotFound(err)
		return errs[i]
	})
	for i, p := range release {
		if errs[i] == nil {
			delete(held, p.UID)
		}
	}
	if settle(&job.Status, held) {
		changed = true
	}
	finished := releaseErr == nil && !full && r.finish(s)
	if changed || finished {
		if err := r.Client.Status().Update(ctx, job); err != nil {
			return err
		}
		if finished {
			r.recordFinished(job, s.finished)
		}
	}
	return releaseErr
}

// finish sets the final condition if nothing is left to count and no pod is
// still terminating, and reports whether it did.
func (r *Job) finish(s *jobState) bool {
	job := s.job
	if s.finished == nil || s.terminating > 0 {
		return false
	}
	if u := job.Status.UncountedTerminatedPods; u != nil && len(u.Succeeded)+len(u.Failed) > 0 {
		return false
	}
	setJobCondition(job, s.finished)
	if s.finished.Type == batchv1.JobComplete {
		job.Status.CompletionTime = ptr.To(s.finished.LastTransitionTime)
	}
	return true
}

func (r *Job) recordFinished(job *batchv1.Job, c *batchv1.JobCondition) {
	if c.Type != batchv1.JobComplete {
		r.Pods.Recorder.Event(job, corev1.EventTypeWarning, c.Reason, c.Message)
		return
	}
	if job.Spec.Completions != nil && job.Status.Succeeded > *job.Spec.Completions {
		r.Pods.Recorder.Event(job, corev1.EventTypeWarning, "TooManySucceededPods", "Too many succeeded pods running after completion count reached")
	}
	r.Pods.Recorder.Event(job, corev1.EventTypeNormal, "Completed", "Job completed")
}
