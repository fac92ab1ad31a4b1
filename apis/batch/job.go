package batch

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

type job = *batchv1.Job

// Labels of a job's pods that are older than those with a prefix.
const (
	legacyJobNameLabel       = "job-name"
	legacyControllerUIDLabel = "controller-uid"
)

// Job runs pods until enough of them have succeeded.
func Job() *kind.Kind[job] {
	return &kind.Kind[job]{
		GVK:        batchv1.SchemeGroupVersion.WithKind("Job"),
		Resource:   "jobs",
		Categories: []string{"all"},
		New:        func() job { return &batchv1.Job{} },
		NewList:    func() runtime.Object { return &batchv1.JobList{} },
		Default:    defaultJob,
		PrepareForCreate: func(_ context.Context, j job) {
			if !ptr.Deref(j.Spec.ManualSelector, false) {
				generateSelector(j)
			}
			j.Status = batchv1.JobStatus{}
			j.Spec.Scheduling = nil // behind a gate (WorkloadWithJob)
			core.DropDisabledTemplateFields(&j.Spec.Template, nil)
		},
		PrepareForUpdate: func(_ context.Context, j, old job) {
			j.Status = old.Status
			if old.Spec.Scheduling == nil {
				j.Spec.Scheduling = nil
			}
			core.DropDisabledTemplateFields(&j.Spec.Template, &old.Spec.Template)
		},
		Spec:     func(j job) any { return &j.Spec },
		Validate: func(_ context.Context, j job) field.ErrorList { return validateJob(j, nil) },
		ValidateUpdate: func(_ context.Context, j, old job) field.ErrorList {
			return append(validateJob(j, old), validateJobChange(j, old)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		Warnings:             func(_ context.Context, j, old job) []string { return jobWarnings(j, old) },
		Columns:              jobColumns(),
		FieldRefusal:         "field label %q not supported for Job",
		Fields: map[string]func(job) string{
			"status.successful": func(j job) string { return strconv.Itoa(int(j.Status.Succeeded)) },
		},
		Status: &kind.Status[job]{
			Prepare:  func(_ context.Context, j, old job) { j.Spec = old.Spec },
			Validate: func(_ context.Context, j, old job) field.ErrorList { return validateJobStatus(j, old) },
		},
		// Old clients rely on pods outliving their job.
		OrphanByDefault: true,
		Extend: func(_ *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			return &jobREST{r}, nil, nil
		},
	}
}

// jobREST warns who deletes jobs without a word about their pods.
type jobREST struct{ *kind.REST }

func (r *jobREST) warn(ctx context.Context, o *metav1.DeleteOptions) {
	if o != nil && o.PropagationPolicy == nil && o.OrphanDependents == nil { //nolint:staticcheck // old clients still send it
		warning.AddWarning(ctx, "", "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning")
	}
}

// Delete implements rest.GracefulDeleter.
func (r *jobREST) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, o *metav1.DeleteOptions) (runtime.Object, bool, error) {
	r.warn(ctx, o)
	return r.REST.Delete(ctx, name, validate, o)
}

// DeleteCollection implements rest.CollectionDeleter.
func (r *jobREST) DeleteCollection(ctx context.Context, validate rest.ValidateObjectFunc, o *metav1.DeleteOptions, list *internalversion.ListOptions) (runtime.Object, error) {
	r.warn(ctx, o)
	return r.REST.DeleteCollection(ctx, validate, o, list)
}

func defaultJob(j job) {
	defaultJobSpec(&j.Spec)
	if len(j.Labels) == 0 && j.Spec.Template.Labels != nil {
		// One map for both, as ever: labels that the pods get later, the job gets too.
		j.Labels = j.Spec.Template.Labels
	}
	if j.Spec.Completions == nil && j.Spec.Parallelism == nil {
		j.Spec.Completions = ptr.To[int32](1)
	}
	if j.Spec.Parallelism == nil {
		j.Spec.Parallelism = ptr.To[int32](1)
	}
	if j.Spec.BackoffLimit == nil {
		j.Spec.BackoffLimit = ptr.To[int32](6)
		if j.Spec.BackoffLimitPerIndex != nil {
			j.Spec.BackoffLimit = ptr.To[int32](math.MaxInt32)
		}
	}
	if j.Spec.CompletionMode == nil {
		j.Spec.CompletionMode = ptr.To(batchv1.NonIndexedCompletion)
	}
	if j.Spec.Suspend == nil {
		j.Spec.Suspend = ptr.To(false)
	}
	if j.Spec.PodReplacementPolicy == nil {
		j.Spec.PodReplacementPolicy = ptr.To(batchv1.TerminatingOrFailed)
		if j.Spec.PodFailurePolicy != nil {
			j.Spec.PodReplacementPolicy = ptr.To(batchv1.Failed)
		}
	}
	if j.Spec.ManualSelector == nil {
		j.Spec.ManualSelector = ptr.To(false)
	}
}

// defaultJobSpec fills what jobs and templates of jobs share.
func defaultJobSpec(s *batchv1.JobSpec) {
	core.DefaultPodTemplate(&s.Template)
	if s.PodFailurePolicy == nil {
		return
	}
	for i := range s.PodFailurePolicy.Rules {
		for k := range s.PodFailurePolicy.Rules[i].OnPodConditions {
			if c := &s.PodFailurePolicy.Rules[i].OnPodConditions[k]; c.Status == "" {
				c.Status = corev1.ConditionTrue
			}
		}
	}
}

// generateSelector labels the job's pods with its UID and selects them by it.
// What the user set already stays, and validation refuses a conflict.
func generateSelector(j job) {
	set := func(m *map[string]string, key, value string) {
		if *m == nil {
			*m = map[string]string{}
		}
		if _, found := (*m)[key]; !found {
			(*m)[key] = value
		}
	}
	labels := &j.Spec.Template.Labels
	set(labels, legacyJobNameLabel, j.Name)
	set(labels, batchv1.JobNameLabel, j.Name)
	set(labels, legacyControllerUIDLabel, string(j.UID))
	set(labels, batchv1.ControllerUidLabel, string(j.UID))
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	set(&j.Spec.Selector.MatchLabels, batchv1.ControllerUidLabel, string(j.UID))
}

func jobWarnings(j, old job) (warnings []string) {
	if old == nil {
		if msgs := validation.IsDNS1123Label(j.Name); len(msgs) > 0 {
			warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
		}
	} else if old.Generation == j.Generation {
		return nil
	}
	return append(warnings, jobSpecWarnings(&j.Spec, field.NewPath("spec"))...)
}

func jobSpecWarnings(s *batchv1.JobSpec, path *field.Path) (warnings []string) {
	if isIndexed(s) && ptr.Deref(s.Completions, 0) > manyCompletions && ptr.Deref(s.Parallelism, 0) > 10_000 {
		warnings = append(warnings, path.String()+": In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail")
	}
	return append(warnings, core.PodTemplateWarnings(&s.Template, path.Child("template"))...)
}

func jobColumns() []kind.Column[job] {
	spec, status := batchv1.JobSpec{}.SwaggerDoc(), batchv1.JobStatus{}.SwaggerDoc()
	columns := append([]kind.Column[job]{
		kind.NameColumn[job](),
		{Name: "Status", Type: "string", Description: "Status of the job.", Value: func(j job) any { return jobState(j) }},
		{Name: "Completions", Type: "string", Description: status["succeeded"], Value: func(j job) any {
			switch parallelism := ptr.Deref(j.Spec.Parallelism, 0); {
			case j.Spec.Completions != nil:
				return fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
			case parallelism > 1:
				return fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, parallelism)
			}
			return fmt.Sprintf("%d/1", j.Status.Succeeded)
		}},
		{Name: "Duration", Type: "string", Description: "Time required to complete the job.", Value: func(j job) any {
			switch start, end := j.Status.StartTime, j.Status.CompletionTime; {
			case start == nil:
				return ""
			case end == nil:
				return duration.HumanDuration(time.Since(start.Time))
			default:
				return duration.HumanDuration(end.Sub(start.Time))
			}
		}},
		kind.AgeColumn[job](),
	}, core.ContainerColumns(func(j job) []corev1.Container { return j.Spec.Template.Spec.Containers })...)
	return append(columns, kind.Column[job]{Name: "Selector", Type: "string", Priority: 1, Description: spec["selector"],
		Value: func(j job) any { return core.FormatSelector(j.Spec.Selector) }})
}

func jobState(j job) string {
	is := func(t batchv1.JobConditionType) bool { return hasCondition(j.Status.Conditions, t) }
	switch {
	case is(batchv1.JobComplete):
		return "Complete"
	case is(batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case is(batchv1.JobSuspended):
		return "Suspended"
	case is(batchv1.JobFailureTarget):
		return "FailureTarget"
	case is(batchv1.JobSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

func hasCondition(conditions []batchv1.JobCondition, t batchv1.JobConditionType) bool {
	for _, c := range conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func isIndexed(s *batchv1.JobSpec) bool {
	return ptr.Deref(s.CompletionMode, batchv1.NonIndexedCompletion) == batchv1.IndexedCompletion
}
