package batch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/robfig/cron/v3"
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

var cronJobKind = batchv1.SchemeGroupVersion.WithKind("CronJob")

// CronJob starts jobs at the times of each CronJob's schedule and keeps as many
// finished ones as its limits say.
type CronJob struct {
	Client   client.Client
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.PassiveClock
}

// SetupCronJob registers the controller.
func SetupCronJob(env *control.Env) error {
	r := &CronJob{Client: env.Client(), Live: env.Live(), Recorder: env.Recorder("cronjob-controller"), Clock: env.Clock}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("cronjob").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		Watches(&batchv1.CronJob{}, r.cronJobEvents()).
		Watches(&batchv1.Job{}, r.jobEvents()).
		Complete(r)
}

// cronJobEvents queues a CronJob at once, and for its next time where its
// schedule changed: a new schedule does not make up for times it never had.
func (r *CronJob) cronJobEvents() handler.EventHandler {
	now := func(obj client.Object, q control.Queue) {
		q.Add(reconcile.Request{NamespacedName: control.Key(obj)})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) { now(e.Object, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) { now(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			old, ok1 := e.ObjectOld.(*batchv1.CronJob)
			cj, ok2 := e.ObjectNew.(*batchv1.CronJob)
			if !ok1 || !ok2 {
				return
			}
			if old.Spec.Schedule == cj.Spec.Schedule && ptr.Equal(old.Spec.TimeZone, cj.Spec.TimeZone) {
				now(cj, q)
				return
			}
			text, _ := scheduleText(cj)
			schedule, err := parseSchedule(text)
			if err != nil {
				r.Recorder.Eventf(cj, corev1.EventTypeWarning, "UnParseableCronJobSchedule", "unparseable schedule for cronjob: %s", cj.Spec.Schedule)
				return
			}
			q.AddAfter(reconcile.Request{NamespacedName: control.Key(cj)}, untilNext(cj, r.Clock.Now(), schedule))
		},
	}
}

// jobEvents queues the CronJob that controls a job.
func (r *CronJob) jobEvents() handler.EventHandler {
	owner := func(obj client.Object, q control.Queue) {
		if ref := metav1.GetControllerOfNoCopy(obj); ref != nil && ref.Kind == cronJobKind.Kind {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: ref.Name}})
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) { owner(e.Object, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) { owner(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() {
				return
			}
			owner(e.ObjectOld, q)
			owner(e.ObjectNew, q)
		},
	}
}

// Reconcile cleans up finished jobs and starts the one that is due.
func (r *CronJob) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var cached batchv1.CronJob
	if err := r.Client.Get(ctx, req.NamespacedName, &cached); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var list batchv1.JobList
	if err := r.Client.List(ctx, &list, client.InNamespace(req.Namespace)); err != nil {
		return reconcile.Result{}, err
	}
	var jobs []*batchv1.Job
	for i := range list.Items {
		if ref := metav1.GetControllerOfNoCopy(&list.Items[i]); ref != nil && ref.Kind == cronJobKind.Kind && ref.Name == req.Name {
			jobs = append(jobs, &list.Items[i])
		}
	}
	// A job that our own last write lists may be here before that write is.
	for _, j := range jobs {
		if finishedAs(j) == "" && activeIndex(&cached, j.UID) < 0 {
			var fresh batchv1.CronJob
			if err := r.Live.Get(ctx, req.NamespacedName, &fresh); err != nil {
				return reconcile.Result{}, client.IgnoreNotFound(err)
			}
			cached = fresh
			break
		}
	}
	cj := cached.DeepCopy()
	r.cleanUp(ctx, cj, jobs)
	wait, err := r.sync(ctx, cj, jobs)
	if !equality.Semantic.DeepEqual(cached.Status, cj.Status) {
		if err := r.Client.Status().Update(ctx, cj); err != nil {
			if apierrors.IsConflict(err) {
				return reconcile.Result{RequeueAfter: staleDelay}, nil
			}
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// cleanUp deletes the oldest finished jobs beyond the limits.
func (r *CronJob) cleanUp(ctx context.Context, cj *batchv1.CronJob, jobs []*batchv1.Job) {
	surplus := func(t batchv1.JobConditionType, limit *int32) {
		if limit == nil {
			return
		}
		var done []*batchv1.Job
		for _, j := range jobs {
			if finishedAs(j) == t {
				done = append(done, j)
			}
		}
		sort.SliceStable(done, func(i, k int) bool {
			a, b := done[i].Status.StartTime, done[k].Status.StartTime
			if a == nil || b == nil || a.Equal(b) {
				if (a == nil) != (b == nil) {
					return a != nil
				}
				return done[i].Name < done[k].Name
			}
			return a.Before(b)
		})
		for _, j := range done[:max(0, len(done)-int(*limit))] {
			r.deleteJob(ctx, cj, j)
		}
	}
	surplus(batchv1.JobComplete, cj.Spec.SuccessfulJobsHistoryLimit)
	surplus(batchv1.JobFailed, cj.Spec.FailedJobsHistoryLimit)
}

// finishedAs is the type of the condition that ended the job, or "".
func finishedAs(j *batchv1.Job) batchv1.JobConditionType {
	for i := range j.Status.Conditions {
		if c := &j.Status.Conditions[i]; (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c.Type
		}
	}
	return ""
}

func activeIndex(cj *batchv1.CronJob, uid types.UID) int {
	return slices.IndexFunc(cj.Status.Active, func(ref corev1.ObjectReference) bool { return ref.UID == uid })
}

func dropActive(cj *batchv1.CronJob, uid types.UID) {
	cj.Status.Active = slices.DeleteFunc(cj.Status.Active, func(ref corev1.ObjectReference) bool { return ref.UID == uid })
}

func (r *CronJob) deleteJob(ctx context.Context, cj *batchv1.CronJob, job *batchv1.Job) bool {
	err := r.Client.Delete(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsNotFound(err) {
		dropActive(cj, job.UID)
		return true
	}
	if err != nil {
		r.Recorder.Eventf(cj, corev1.EventTypeWarning, "FailedDelete", "Deleted job: %v", err)
		return false
	}
	dropActive(cj, job.UID)
	r.Recorder.Eventf(cj, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted job %v", job.Name)
	return true
}

// observe brings status.active and the time of the last success up to date.
func (r *CronJob) observe(ctx context.Context, cj *batchv1.CronJob, jobs []*batchv1.Job) error {
	known := map[types.UID]bool{}
	for _, j := range jobs {
		known[j.UID] = true
		active, ended := activeIndex(cj, j.UID) >= 0, finishedAs(j)
		if ended == "" {
			if active {
				continue
			}
			r.Recorder.Eventf(cj, corev1.EventTypeWarning, "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", j.Name)
			continue
		}
		if active {
			dropActive(cj, j.UID)
			r.Recorder.Eventf(cj, corev1.EventTypeNormal, "SawCompletedJob", "Saw completed job: %s, condition: %v", j.Name, ended)
		}
		if ended == batchv1.JobComplete && j.Status.CompletionTime != nil &&
			(cj.Status.LastSuccessfulTime == nil || j.Status.CompletionTime.After(cj.Status.LastSuccessfulTime.Time)) {
			cj.Status.LastSuccessfulTime = j.Status.CompletionTime.DeepCopy()
		}
	}
	for _, ref := range slices.Clone(cj.Status.Active) {
		if known[ref.UID] {
			continue
		}
		var job batchv1.Job
		err := r.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &job)
		if apierrors.IsNotFound(err) {
			r.Recorder.Eventf(cj, corev1.EventTypeNormal, "MissingJob", "Active job went missing: %v", ref.Name)
			dropActive(cj, ref.UID)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// sync starts the job that is due and returns how long to wait for the next; 0
// if there is none to wait for. It changes the status of cj.
func (r *CronJob) sync(ctx context.Context, cj *batchv1.CronJob, jobs []*batchv1.Job) (time.Duration, error) {
	now := r.Clock.Now()
	if err := r.observe(ctx, cj, jobs); err != nil || cj.DeletionTimestamp != nil {
		return 0, err
	}
	if cj.Spec.TimeZone != nil {
		if _, err := time.LoadLocation(*cj.Spec.TimeZone); err != nil {
			r.Recorder.Eventf(cj, corev1.EventTypeWarning, "UnknownTimeZone", "invalid timeZone: %q: %s", *cj.Spec.TimeZone, err)
			return 0, nil
		}
	}
	if ptr.Deref(cj.Spec.Suspend, false) {
		return 0, nil
	}
	text, zoneInside := scheduleText(cj)
	if zoneInside {
		r.Recorder.Eventf(cj, corev1.EventTypeWarning, "UnsupportedSchedule", "CRON_TZ or TZ used in schedule %q is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details", cj.Spec.Schedule)
	}
	schedule, err := parseSchedule(text)
	if err != nil {
		r.Recorder.Eventf(cj, corev1.EventTypeWarning, "UnparseableSchedule", "unparseable schedule: %q : %s", cj.Spec.Schedule, err)
		return 0, nil
	}
	_, due, missed, err := lastDue(cj, now, schedule, true)
	if err != nil {
		r.Recorder.Eventf(cj, corev1.EventTypeWarning, "InvalidSchedule", "invalid schedule: %s : %s", cj.Spec.Schedule, err)
		return 0, nil
	}
	if due != nil {
		if missed > manyMissed {
			r.Recorder.Event(cj, corev1.EventTypeWarning, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
		}
		if wait, err := r.start(ctx, cj, *due, now, schedule); wait != 0 || err != nil {
			return wait, err
		}
	}
	return untilNext(cj, now, schedule), nil
}

// start starts the job of the time due, unless the policy forbids it. wait, if
// not 0, is when to look again instead of at the next time.
func (r *CronJob) start(ctx context.Context, cj *batchv1.CronJob, due, now time.Time, schedule cron.Schedule) (wait time.Duration, err error) {
	if d := cj.Spec.StartingDeadlineSeconds; d != nil && due.Add(time.Second*time.Duration(*d)).Before(now) {
		r.Recorder.Eventf(cj, corev1.EventTypeWarning, "MissSchedule", "Missed scheduled time to start a job: %s", due.UTC().Format(time.RFC1123Z))
		return 0, nil
	}
	name := cronJobName(cj, due)
	started := slices.ContainsFunc(cj.Status.Active, func(ref corev1.ObjectReference) bool { return ref.Name == name })
	if started || cj.Status.LastScheduleTime.Equal(&metav1.Time{Time: due}) {
		return 0, nil
	}
	switch cj.Spec.ConcurrencyPolicy {
	case batchv1.ForbidConcurrent:
		if len(cj.Status.Active) > 0 {
			r.Recorder.Event(cj, corev1.EventTypeNormal, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
			return 0, nil
		}
	case batchv1.ReplaceConcurrent:
		for _, ref := range slices.Clone(cj.Status.Active) {
			var job batchv1.Job
			if err := r.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &job); err != nil {
				r.Recorder.Eventf(cj, corev1.EventTypeWarning, "FailedGet", "Get job: %v", err)
				return 0, err
			}
			if !r.deleteJob(ctx, cj, &job) {
				return 0, fmt.Errorf("could not replace job %s/%s", job.Namespace, job.Name)
			}
		}
	}
	job, err := jobAt(cj, due)
	if err != nil {
		return 0, err
	}
	err = r.Client.Create(ctx, job)
	switch {
	case err == nil:
		r.Recorder.Eventf(cj, corev1.EventTypeNormal, "SuccessfulCreate", "Created job %v", job.Name)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return 0, err
	case apierrors.IsAlreadyExists(err):
		// We made it and could not write the status, or somebody else made it,
		// whose business it then is.
		key := client.ObjectKeyFromObject(job)
		job = &batchv1.Job{}
		if err := r.Live.Get(ctx, key, job); err != nil {
			return 0, err
		}
		if !metav1.IsControlledBy(job, cj) || activeIndex(cj, job.UID) >= 0 {
			return untilNext(cj, now, schedule), nil
		}
	default:
		r.Recorder.Eventf(cj, corev1.EventTypeWarning, "FailedCreate", "Error creating job: %v", err)
		return 0, err
	}
	klog.FromContext(ctx).V(4).Info("Started job", "cronJob", klog.KObj(cj), "job", klog.KObj(job))
	cj.Status.Active = append(cj.Status.Active, corev1.ObjectReference{
		APIVersion: batchv1.SchemeGroupVersion.String(), Kind: jobKind.Kind,
		Namespace: job.Namespace, Name: job.Name, UID: job.UID, ResourceVersion: job.ResourceVersion,
	})
	cj.Status.LastScheduleTime = &metav1.Time{Time: due}
	return 0, nil
}

// jobAt makes the job of a time from the template.
func jobAt(cj *batchv1.CronJob, at time.Time) (*batchv1.Job, error) {
	zone, err := time.LoadLocation(ptr.Deref(cj.Spec.TimeZone, ""))
	if err != nil {
		return nil, err
	}
	annotations := maps.Clone(cj.Spec.JobTemplate.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.In(zone).Format(time.RFC3339)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         cj.Namespace,
			Name:              cronJobName(cj, at),
			Labels:            maps.Clone(cj.Spec.JobTemplate.Labels),
			Annotations:       annotations,
			CreationTimestamp: metav1.Time{Time: at},
			OwnerReferences:   []metav1.OwnerReference{*metav1.NewControllerRef(cj, cronJobKind)},
		},
		Spec: *cj.Spec.JobTemplate.Spec.DeepCopy(),
	}, nil
}
