package batch

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"proa/controllers/control/controltest"
)

func testCronJob(schedule string) *batchv1.CronJob {
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tick"},
		Spec: batchv1.CronJobSpec{
			Schedule:                   schedule,
			ConcurrencyPolicy:          batchv1.AllowConcurrent,
			SuccessfulJobsHistoryLimit: ptr.To(int32(1)),
			FailedJobsHistoryLimit:     ptr.To(int32(1)),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "tick"}},
				Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}},
			},
		},
	}
}

func cronWorld(t *testing.T, cj *batchv1.CronJob) (*controltest.World, *CronJob) {
	w := controltest.New(t)
	r := &CronJob{Client: w.Client, Live: w.Client, Recorder: w.Recorder(), Clock: w.Clock}
	w.Watch(&batchv1.CronJob{}, r.cronJobEvents())
	w.Watch(&batchv1.Job{}, r.jobEvents())
	w.Do(func() {
		if err := w.Client.Create(t.Context(), cj); err != nil {
			t.Fatal(err)
		}
	})
	return w, r
}

// minute moves to 100 ms after the next full minute.
func minute(w *controltest.World) { w.Advance(time.Minute) }

func endJob(w *controltest.World, name string, as batchv1.JobConditionType) {
	controltest.Update(w, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}, func(j *batchv1.Job) {
		now := metav1.NewTime(w.Clock.Now())
		j.Status.StartTime = &now
		j.Status.Conditions = []batchv1.JobCondition{{Type: as, Status: corev1.ConditionTrue}}
		if as == batchv1.JobComplete {
			j.Status.CompletionTime = &now
		}
	})
}

func TestCronJobRunsAndCleansUp(t *testing.T) {
	w, r := cronWorld(t, testCronJob("* * * * *"))
	want(t, w.Run(r), "")
	w.Advance(scheduleSlack)
	minute(w)
	want(t, w.Run(r), `
create Job tick-31557601: owner=tick
status CronJob tick: status.active=[{"apiVersion":"batch/v1","kind":"Job","name":"tick-31557601","namespace":"default","resourceVersion":"1","uid":"uid-2"}] status.lastScheduleTime="2030-01-01T00:01:00Z"
event Normal SuccessfulCreate Created job tick-31557601`)
	job := controltest.Get(w, "default", "tick-31557601", &batchv1.Job{})
	if job.Labels["app"] != "tick" || job.Annotations[batchv1.CronJobScheduledTimestampAnnotation] != "2030-01-01T00:01:00Z" {
		t.Errorf("labels %v, annotations %v", job.Labels, job.Annotations)
	}
	endJob(w, "tick-31557601", batchv1.JobComplete)
	want(t, w.Run(r), `
status CronJob tick: status.active=- status.lastSuccessfulTime="2030-01-01T00:01:00Z"
event Normal SawCompletedJob Saw completed job: tick-31557601, condition: Complete`)
	minute(w)
	want(t, w.Run(r), `
create Job tick-31557602: owner=tick
status CronJob tick: status.active=[{"apiVersion":"batch/v1","kind":"Job","name":"tick-31557602","namespace":"default","resourceVersion":"1","uid":"uid-3"}] status.lastScheduleTime="2030-01-01T00:02:00Z"
event Normal SuccessfulCreate Created job tick-31557602`)
	endJob(w, "tick-31557602", batchv1.JobComplete)
	want(t, w.Run(r), `
delete Job tick-31557601: (gone)
status CronJob tick: status.active=- status.lastSuccessfulTime="2030-01-01T00:02:00Z"
event Normal SuccessfulDelete Deleted job tick-31557601
event Normal SawCompletedJob Saw completed job: tick-31557602, condition: Complete`)
}

func TestCronJobPolicies(t *testing.T) {
	for _, c := range []struct {
		policy batchv1.ConcurrencyPolicy
		want   string
	}{
		{batchv1.ForbidConcurrent, `event Normal JobAlreadyActive Not starting job because prior execution is running and concurrency policy is Forbid`},
		{batchv1.ReplaceConcurrent, `
delete Job tick-31557601: (gone)
create Job tick-31557602: owner=tick
status CronJob tick: status.active=[{"apiVersion":"batch/v1","kind":"Job","name":"tick-31557602","namespace":"default","resourceVersion":"1","uid":"uid-3"}] status.lastScheduleTime="2030-01-01T00:02:00Z"
event Normal SuccessfulDelete Deleted job tick-31557601
event Normal SuccessfulCreate Created job tick-31557602`},
	} {
		cj := testCronJob("* * * * *")
		cj.Spec.ConcurrencyPolicy = c.policy
		w, r := cronWorld(t, cj)
		w.Run(r)
		w.Advance(scheduleSlack)
		minute(w)
		w.Run(r)
		minute(w)
		want(t, w.Run(r), c.want)
	}
}

func TestCronJobDoesNotStart(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*batchv1.CronJob)
		after  time.Duration
		want   string
	}{
		{"suspended", func(cj *batchv1.CronJob) { cj.Spec.Suspend = ptr.To(true) }, 0, ""},
		{"bad schedule", func(cj *batchv1.CronJob) { cj.Spec.Schedule = "x" }, 0,
			`event Warning UnparseableSchedule unparseable schedule: "x" : expected exactly 5 fields, found 1: [x]`},
		{"bad zone", func(cj *batchv1.CronJob) { cj.Spec.TimeZone = ptr.To("Moon/Sea") }, 0,
			`event Warning UnknownTimeZone invalid timeZone: "Moon/Sea": unknown time zone Moon/Sea`},
		{"too late", func(cj *batchv1.CronJob) {
			cj.CreationTimestamp = metav1.NewTime(controltest.Start.Add(-90 * time.Minute))
			cj.Spec.Schedule, cj.Spec.StartingDeadlineSeconds = "30 * * * *", ptr.To(int64(600))
		}, 0, ""},
		{"many missed", func(cj *batchv1.CronJob) {
			cj.CreationTimestamp = metav1.NewTime(controltest.Start.Add(-3 * time.Hour))
		}, 0, `
create Job tick-31557600: owner=tick
status CronJob tick: status.active=[{"apiVersion":"batch/v1","kind":"Job","name":"tick-31557600","namespace":"default","resourceVersion":"1","uid":"uid-2"}] status.lastScheduleTime="2030-01-01T00:00:00Z"
event Warning TooManyMissedTimes too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew
event Normal SuccessfulCreate Created job tick-31557600`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cj := testCronJob("* * * * *")
			c.change(cj)
			w, r := cronWorld(t, cj)
			want(t, w.Run(r), c.want)
		})
	}
}

func TestCronJobTimes(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		schedule, zone, from, now string
		due                       string
		wait                      time.Duration
	}{
		{"0 * * * *", "", "2030-01-01T00:30:00Z", "2030-01-01T00:45:00Z", "", 15*time.Minute + scheduleSlack},
		{"0 * * * *", "", "2030-01-01T00:30:00Z", "2030-01-01T01:10:00Z", "2030-01-01T01:00:00Z", 50*time.Minute + scheduleSlack},
		{"0 * * * *", "", "2030-01-01T00:30:00Z", "2030-01-01T09:10:00Z", "2030-01-01T09:00:00Z", 50*time.Minute + scheduleSlack},
		{"0 9 * * *", "Asia/Tokyo", "2029-12-31T12:00:00Z", "2030-01-01T00:30:00Z", "2030-01-01T00:00:00Z", 23*time.Hour + 30*time.Minute + scheduleSlack},
		{"30 6-16/4 * * 1-5", "", "2030-01-04T14:30:00Z", "2030-01-07T08:00:00Z", "2030-01-07T06:30:00Z", 150*time.Minute + scheduleSlack},
	} {
		cj := testCronJob(c.schedule)
		cj.CreationTimestamp = metav1.NewTime(at(c.from))
		if c.zone != "" {
			cj.Spec.TimeZone = &c.zone
		}
		text, _ := scheduleText(cj)
		schedule, err := parseSchedule(text)
		if err != nil {
			t.Fatal(err)
		}
		_, due, _, err := lastDue(cj, at(c.now), schedule, true)
		got := ""
		if due != nil {
			got = due.UTC().Format(time.RFC3339)
		}
		if err != nil || got != c.due {
			t.Errorf("%s at %s: due %q (%v), want %q", c.schedule, c.now, got, err, c.due)
		}
		if wait := untilNext(cj, at(c.now), schedule); wait != c.wait {
			t.Errorf("%s at %s: wait %v, want %v", c.schedule, c.now, wait, c.wait)
		}
	}
	never, err := parseSchedule("59 23 31 2 *")
	if err != nil {
		t.Fatal(err)
	}
	cj := testCronJob("59 23 31 2 *")
	if _, due, _, err := lastDue(cj, controltest.Start, never, true); due != nil || err == nil {
		t.Errorf("31 February: due %v, error %v", due, err)
	}
}
