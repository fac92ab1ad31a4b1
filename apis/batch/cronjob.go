package batch

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

type cronJob = *batchv1.CronJob

// CronJob starts jobs on a schedule.
func CronJob() *kind.Kind[cronJob] {
	return &kind.Kind[cronJob]{
		GVK:        batchv1.SchemeGroupVersion.WithKind("CronJob"),
		Resource:   "cronjobs",
		ShortNames: []string{"cj"},
		Categories: []string{"all"},
		New:        func() cronJob { return &batchv1.CronJob{} },
		NewList:    func() runtime.Object { return &batchv1.CronJobList{} },
		Default:    defaultCronJob,
		PrepareForCreate: func(_ context.Context, c cronJob) {
			c.Status = batchv1.CronJobStatus{}
			c.Spec.JobTemplate.Spec.Scheduling = nil // behind a gate (WorkloadWithJob)
			core.DropDisabledTemplateFields(&c.Spec.JobTemplate.Spec.Template, nil)
		},
		PrepareForUpdate: func(_ context.Context, c, old cronJob) {
			c.Status = old.Status
			if old.Spec.JobTemplate.Spec.Scheduling == nil {
				c.Spec.JobTemplate.Spec.Scheduling = nil
			}
			core.DropDisabledTemplateFields(&c.Spec.JobTemplate.Spec.Template, &old.Spec.JobTemplate.Spec.Template)
		},
		Spec: func(c cronJob) any { return &c.Spec },
		Validate: func(_ context.Context, c cronJob) field.ErrorList {
			errs := validateCronJobSpec(&c.Spec, nil)
			if len(c.Name) > validation.DNS1035LabelMaxLength-11 { // its jobs' names get a suffix
				errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), c.Name, "must be no more than 52 characters"))
			}
			return errs
		},
		ValidateUpdate: func(_ context.Context, c, old cronJob) field.ErrorList {
			return validateCronJobSpec(&c.Spec, &old.Spec)
		},
		UpdateValidatesAlone: true,
		Warnings:             func(_ context.Context, c, old cronJob) []string { return cronJobWarnings(c, old) },
		Columns:              cronJobColumns(),
		Status: &kind.Status[cronJob]{
			Prepare: func(_ context.Context, c, old cronJob) { c.Spec = old.Spec },
		},
	}
}

func defaultCronJob(c cronJob) {
	s := &c.Spec
	defaultJobSpec(&s.JobTemplate.Spec)
	if s.ConcurrencyPolicy == "" {
		s.ConcurrencyPolicy = batchv1.AllowConcurrent
	}
	if s.Suspend == nil {
		s.Suspend = ptr.To(false)
	}
	if s.SuccessfulJobsHistoryLimit == nil {
		s.SuccessfulJobsHistoryLimit = ptr.To[int32](3)
	}
	if s.FailedJobsHistoryLimit == nil {
		s.FailedJobsHistoryLimit = ptr.To[int32](1)
	}
}

// validateCronJobSpec checks a spec; old is nil on create.
func validateCronJobSpec(s, old *batchv1.CronJobSpec) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	if s.Schedule == "" {
		errs = append(errs, field.Required(spec.Child("schedule"), ""))
	} else {
		zoned := old != nil && strings.Contains(old.Schedule, "TZ")
		errs = append(errs, validateSchedule(s, zoned, spec.Child("schedule"))...)
	}
	if n := s.StartingDeadlineSeconds; n != nil {
		errs = append(errs, core.ValidateNonnegative(*n, spec.Child("startingDeadlineSeconds"))...)
	}
	if s.TimeZone != nil && (old == nil || !ptr.Equal(s.TimeZone, old.TimeZone)) {
		errs = append(errs, validateTimeZone(s.TimeZone, spec.Child("timeZone"))...)
	}
	switch p := s.ConcurrencyPolicy; p {
	case batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent:
	case "":
		errs = append(errs, field.Required(spec.Child("concurrencyPolicy"), ""))
	default:
		errs = append(errs, field.NotSupported(spec.Child("concurrencyPolicy"), p,
			[]batchv1.ConcurrencyPolicy{batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent}))
	}
	job, template := &s.JobTemplate.Spec, spec.Child("jobTemplate", "spec")
	var pods *corev1.PodTemplateSpec
	if old != nil {
		pods = &old.JobTemplate.Spec.Template
	}
	errs = append(errs, validateJobSpec(job, pods, template)...)
	if job.Selector != nil {
		errs = append(errs, field.Invalid(template.Child("selector"), job.Selector, "`selector` will be auto-generated"))
	}
	if ptr.Deref(job.ManualSelector, false) {
		errs = append(errs, field.NotSupported(template.Child("manualSelector"), job.ManualSelector, []string{"nil", "false"}))
	}
	if n := s.SuccessfulJobsHistoryLimit; n != nil {
		errs = append(errs, core.ValidateNonnegative(int64(*n), spec.Child("successfulJobsHistoryLimit"))...)
	}
	if n := s.FailedJobsHistoryLimit; n != nil {
		errs = append(errs, core.ValidateNonnegative(int64(*n), spec.Child("failedJobsHistoryLimit"))...)
	}
	return errs
}

func validateSchedule(s *batchv1.CronJobSpec, zoned bool, path *field.Path) (errs field.ErrorList) {
	if err := parseSchedule(s.Schedule); err != nil {
		errs = append(errs, field.Invalid(path, s.Schedule, err.Error()))
	}
	switch has := strings.Contains(s.Schedule, "TZ"); {
	case has && !zoned:
		errs = append(errs, field.Invalid(path, s.Schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	case has && s.TimeZone != nil:
		errs = append(errs, field.Invalid(path, s.Schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
	}
	return errs
}

// parseSchedule tells what is wrong with a schedule; the parser panics on some.
func parseSchedule(schedule string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("invalid schedule format: %v", r)
		}
	}()
	_, err = cron.ParseStandard(schedule)
	return err
}

var timeZonePart = regexp.MustCompile(`^[A-Za-z\.\-_0-9+]{1,14}$`)

func validateTimeZone(zone *string, path *field.Path) (errs field.ErrorList) {
	if *zone == "" {
		return field.ErrorList{field.Invalid(path, zone, "timeZone must be nil or non-empty string")}
	}
	for _, part := range strings.Split(*zone, "/") {
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !timeZonePart.MatchString(part) {
			return field.ErrorList{field.Invalid(path, zone, "unknown time zone "+*zone)}
		}
	}
	if strings.EqualFold(*zone, "Local") {
		errs = append(errs, field.Invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(*zone); err != nil {
		errs = append(errs, field.Invalid(path, zone, err.Error()))
	}
	return errs
}

func cronJobWarnings(c, old cronJob) (warnings []string) {
	if old == nil {
		if msgs := validation.IsDNS1123Label(c.Name); len(msgs) > 0 {
			warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
		}
	}
	if old == nil || old.Generation != c.Generation {
		warnings = append(warnings, jobSpecWarnings(&c.Spec.JobTemplate.Spec, field.NewPath("spec", "jobTemplate", "spec"))...)
	}
	if old != nil && strings.Contains(c.Spec.Schedule, "TZ") {
		warnings = append(warnings, fmt.Sprintf("cannot use TZ or CRON_TZ in %s, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details",
			field.NewPath("spec", "spec", "schedule")))
	}
	return warnings
}

func cronJobColumns() []kind.Column[cronJob] {
	spec, status := batchv1.CronJobSpec{}.SwaggerDoc(), batchv1.CronJobStatus{}.SwaggerDoc()
	columns := append([]kind.Column[cronJob]{
		kind.NameColumn[cronJob](),
		{Name: "Schedule", Type: "string", Description: spec["schedule"], Value: func(c cronJob) any { return c.Spec.Schedule }},
		{Name: "Timezone", Type: "string", Description: spec["timeZone"], Value: func(c cronJob) any { return ptr.Deref(c.Spec.TimeZone, "<none>") }},
		{Name: "Suspend", Type: "boolean", Description: spec["suspend"], Value: func(c cronJob) any {
			switch {
			case c.Spec.Suspend == nil:
				return "<unset>"
			case *c.Spec.Suspend:
				return "True"
			}
			return "False"
		}},
		{Name: "Active", Type: "integer", Description: status["active"], Value: func(c cronJob) any { return int64(len(c.Status.Active)) }},
		{Name: "Last Schedule", Type: "string", Description: status["lastScheduleTime"], Value: func(c cronJob) any {
			if c.Status.LastScheduleTime == nil {
				return "<none>"
			}
			return kind.Age(*c.Status.LastScheduleTime)
		}},
		kind.AgeColumn[cronJob](),
	}, core.ContainerColumns(func(c cronJob) []corev1.Container { return c.Spec.JobTemplate.Spec.Template.Spec.Containers })...)
	return append(columns, kind.Column[cronJob]{Name: "Selector", Type: "string", Priority: 1, Description: batchv1.JobSpec{}.SwaggerDoc()["selector"],
		Value: func(c cronJob) any { return metav1.FormatLabelSelector(c.Spec.JobTemplate.Spec.Selector) }})
}
