package batch

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
)

// scheduleSlack is added to the wait for the next time: clocks differ a little.
const scheduleSlack = 100 * time.Millisecond

// manyMissed is the number of missed times above which a warning is given.
const manyMissed = 100

// scheduleText is the schedule with its time zone, as the cron library wants
// it. A zone inside the schedule itself, which validation refuses in new
// objects, wins.
func scheduleText(cj *batchv1.CronJob) (text string, zoneInside bool) {
	if strings.Contains(cj.Spec.Schedule, "TZ") {
		return cj.Spec.Schedule, true
	}
	if cj.Spec.TimeZone != nil {
		if _, err := time.LoadLocation(*cj.Spec.TimeZone); err != nil {
			return cj.Spec.Schedule, false
		}
		return fmt.Sprintf("TZ=%s %s", *cj.Spec.TimeZone, cj.Spec.Schedule), false
	}
	return cj.Spec.Schedule, false
}

// parseSchedule parses a schedule; the library panics on some that are wrong.
func parseSchedule(text string) (schedule cron.Schedule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("invalid schedule format: %v", p)
		}
	}()
	return cron.ParseStandard(text)
}

// lastDue finds the last time before or at now at which a job should have been
// started and was not; nil if there is none. from is the time from which it
// looked: the last schedule time or the creation, or, with deadline set, the
// starting deadline if that is later. missed is about how many such times there were.
func lastDue(cj *batchv1.CronJob, now time.Time, schedule cron.Schedule, deadline bool) (from time.Time, due *time.Time, missed int64, err error) {
	from = cj.CreationTimestamp.Time
	if cj.Status.LastScheduleTime != nil {
		from = cj.Status.LastScheduleTime.Time
	}
	if deadline && cj.Spec.StartingDeadlineSeconds != nil {
		if d := now.Add(-time.Second * time.Duration(*cj.Spec.StartingDeadlineSeconds)); d.After(from) {
			from = d
		}
	}
	first := schedule.Next(from)
	second := schedule.Next(first)
	if now.Before(first) {
		return from, nil, 0, nil
	}
	if now.Before(second) {
		return from, &first, 0, nil
	}
	// A day that does not exist, such as 31 February, has no next time.
	period := int64(second.Sub(first).Round(time.Second).Seconds())
	if period < 1 {
		return from, nil, 0, errors.New("time difference between two schedules is less than 1 second")
	}
	missed = int64(now.Sub(first).Seconds())/period + 1
	// Where the period varies, the library finds the exact time from one period before.
	for t := schedule.Next(first.Add(time.Duration((missed-2)*period) * time.Second)); !t.After(now); t = schedule.Next(t) {
		due = &t
	}
	return from, due, missed, nil
}

// untilNext is how long to wait for the next time of the schedule.
func untilNext(cj *batchv1.CronJob, now time.Time, schedule cron.Schedule) time.Duration {
	from, due, missed, err := lastDue(cj, now, schedule, false)
	base := now
	switch {
	case err != nil:
	case due != nil:
		base = *due
	case missed == 0:
		base = from
	}
	return schedule.Next(base).Add(scheduleSlack).Sub(now)
}

// cronJobName is the name of the job of a time: one per minute, so that no time
// is served twice.
func cronJobName(cj *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", cj.Name, at.Unix()/60)
}
