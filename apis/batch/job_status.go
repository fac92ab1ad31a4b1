package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
)

// validateJobStatus checks a status that a controller writes, ours or, with
// managedBy, another (KEP-4368). Most rules bind only what the write changes.
func validateJobStatus(j, old job) (errs field.ErrorList) {
	s, was, path := &j.Status, &old.Status, field.NewPath("status")
	invalid := func(name string, value any, msg string) {
		errs = append(errs, field.Invalid(path.Child(name), value, msg))
	}
	condition := func(msg string) { invalid("conditions", field.OmitValueType{}, msg) }
	is := func(t batchv1.JobConditionType) bool { return hasCondition(s.Conditions, t) }
	wasSo := func(t batchv1.JobConditionType) bool { return hasCondition(was.Conditions, t) }
	changed := func(t batchv1.JobConditionType) bool { return is(t) != wasSo(t) }

	errs = append(errs, validateJobCounts(s, path)...)

	complete, failed := is(batchv1.JobComplete), is(batchv1.JobFailed)
	met, target := is(batchv1.JobSuccessCriteriaMet), is(batchv1.JobFailureTarget)
	finished := complete || failed
	finishes := finished != (wasSo(batchv1.JobComplete) || wasSo(batchv1.JobFailed))
	completes, fails := changed(batchv1.JobComplete), changed(batchv1.JobFailed)
	started, ended := !s.StartTime.Equal(was.StartTime), !s.CompletionTime.Equal(was.CompletionTime)
	completedIndexes, failedIndexes := s.CompletedIndexes != was.CompletedIndexes, !ptr.Equal(s.FailedIndexes, was.FailedIndexes)

	if complete && failed && (completes || fails) {
		condition("cannot set Complete=True and Failed=true conditions")
	}
	if complete && target && (completes || changed(batchv1.JobFailureTarget)) {
		condition("cannot set Complete=True and FailureTarget=true conditions")
	}
	if completes || ended {
		if s.CompletionTime != nil && !complete {
			invalid("completionTime", s.CompletionTime, "cannot set completionTime when there is no Complete=True condition")
		}
		if s.CompletionTime == nil && complete {
			errs = append(errs, field.Required(path.Child("completionTime"), "completionTime is required for Complete jobs"))
		}
	}
	if (started || ended) && s.StartTime != nil && s.CompletionTime != nil && s.CompletionTime.Before(s.StartTime) {
		invalid("completionTime", s.CompletionTime, "must be equal to or after `startTime`")
	}
	if failed && !target && (fails || failedIndexes) {
		condition("cannot set Failed=True condition without the FailureTarget=true condition")
	}
	if complete && !met && (completes || changed(batchv1.JobSuccessCriteriaMet)) {
		condition("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
	}
	if finished {
		if s.Active > 0 && (finishes || s.Active != was.Active) {
			invalid("active", s.Active, "active>0 is invalid for finished job")
		}
		idle := ptr.Deref(j.Spec.Suspend, false) && ptr.Deref(j.Spec.Completions, 1) == 0
		if s.StartTime == nil && (finishes || started) && !idle {
			errs = append(errs, field.Required(path.Child("startTime"), "startTime is required for finished job"))
		}
		if u := s.UncountedTerminatedPods; u != nil && len(u.Failed)+len(u.Succeeded) > 0 &&
			(finishes || !equality.Semantic.DeepEqual(u, was.UncountedTerminatedPods)) {
			invalid("uncountedTerminatedPods", u, "must be empty for finished job")
		}
		if ptr.Deref(s.Terminating, 0) > 0 && (finishes || !ptr.Equal(s.Terminating, was.Terminating)) {
			invalid("terminating", s.Terminating, "terminating>0 is invalid for finished job")
		}
	}
	errs = append(errs, validateIndexes(j, completedIndexes, failedIndexes, path)...)
	if s.Ready != nil && *s.Ready > s.Active && (!ptr.Equal(s.Ready, was.Ready) || s.Active != was.Active) {
		invalid("ready", *s.Ready, "cannot set more ready pods than active")
	}
	if met && failed {
		condition("cannot set SuccessCriteriaMet=True and Failed=true conditions")
	}
	if met && target {
		condition("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
	}
	if j.Spec.SuccessPolicy != nil && !met && complete {
		condition("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")
	}
	return append(errs, validateJobProgress(j, old, path)...)
}

// validateJobProgress: what was reached is not taken back.
func validateJobProgress(j, old job, path *field.Path) (errs field.ErrorList) {
	s, was := &j.Status, &old.Status
	is := func(st *batchv1.JobStatus, t batchv1.JobConditionType) bool { return hasCondition(st.Conditions, t) }
	for _, t := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobComplete, batchv1.JobFailureTarget} {
		if is(was, t) && !is(s, t) {
			errs = append(errs, field.Invalid(path.Child("conditions"), field.OmitValueType{}, fmt.Sprintf("cannot disable the terminal %s=True condition", t)))
		}
	}
	if s.Failed < was.Failed {
		errs = append(errs, field.Invalid(path.Child("failed"), s.Failed, "cannot decrease the failed counter"))
	}
	// An indexed job that is scaled down counts less.
	if s.Succeeded < was.Succeeded && (!isIndexed(&j.Spec) || !ptr.Equal(j.Spec.Completions, j.Spec.Parallelism)) {
		errs = append(errs, field.Invalid(path.Child("succeeded"), s.Succeeded, "cannot decrease the succeeded counter"))
	}
	if s.CompletionTime != nil && was.CompletionTime != nil && !s.CompletionTime.Equal(was.CompletionTime) {
		errs = append(errs, field.Invalid(path.Child("completionTime"), s.CompletionTime, apivalidation.FieldImmutableErrorMsg))
	}
	resuming := is(was, batchv1.JobSuspended) && slices.ContainsFunc(s.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobSuspended && c.Status == corev1.ConditionFalse
	})
	if was.StartTime != nil && !s.StartTime.Equal(was.StartTime) && !ptr.Deref(j.Spec.Suspend, false) && !resuming {
		errs = append(errs, field.Invalid(path.Child("startTime"), s.StartTime, "field is immutable for unsuspended job once set"))
	}
	met, wasMet := is(s, batchv1.JobSuccessCriteriaMet), is(was, batchv1.JobSuccessCriteriaMet)
	if wasMet && !met {
		errs = append(errs, field.Invalid(path.Child("conditions"), field.OmitValueType{}, "cannot disable the SuccessCriteriaMet=True condition"))
	}
	if is(was, batchv1.JobComplete) && !wasMet && met {
		errs = append(errs, field.Invalid(path.Child("conditions"), field.OmitValueType{}, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"))
	}
	return errs
}

func validateJobCounts(s *batchv1.JobStatus, path *field.Path) (errs field.ErrorList) {
	for _, c := range []struct {
		name  string
		value int32
	}{{"active", s.Active}, {"succeeded", s.Succeeded}, {"failed", s.Failed}, {"ready", ptr.Deref(s.Ready, 0)}, {"terminating", ptr.Deref(s.Terminating, 0)}} {
		errs = append(errs, core.ValidateNonnegative(int64(c.value), path.Child(c.name))...)
	}
	if s.UncountedTerminatedPods == nil {
		return errs
	}
	seen := sets.New[types.UID]()
	for _, l := range []struct {
		name string
		uids []types.UID
	}{{"succeeded", s.UncountedTerminatedPods.Succeeded}, {"failed", s.UncountedTerminatedPods.Failed}} {
		for i, uid := range l.uids {
			at := path.Child("uncountedTerminatedPods", l.name).Index(i)
			switch {
			case uid == "":
				errs = append(errs, field.Invalid(at, uid, "must not be empty"))
			case seen.Has(uid):
				errs = append(errs, field.Duplicate(at, uid))
			}
			seen.Insert(uid)
		}
	}
	return errs
}

func validateIndexes(j job, completedChanged, failedChanged bool, path *field.Path) (errs field.ErrorList) {
	s, n := &j.Status, j.Spec.Completions
	if completedChanged {
		at := path.Child("completedIndexes")
		if n != nil {
			if _, err := countIndexes(s.CompletedIndexes, *n); err != nil {
				errs = append(errs, field.Invalid(at, s.CompletedIndexes, fmt.Sprintf("error parsing completedIndexes: %s", err)))
			}
		}
		if s.CompletedIndexes != "" && !isIndexed(&j.Spec) {
			errs = append(errs, field.Invalid(at, s.CompletedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode"))
		}
	}
	if failedChanged && s.FailedIndexes != nil {
		at := path.Child("failedIndexes")
		if n != nil && j.Spec.BackoffLimitPerIndex != nil {
			if _, err := countIndexes(*s.FailedIndexes, *n); err != nil {
				errs = append(errs, field.Invalid(at, s.FailedIndexes, fmt.Sprintf("error parsing failedIndexes: %s", err)))
			}
		}
		if j.Spec.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Invalid(at, *s.FailedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null"))
		}
	}
	if (completedChanged || failedChanged) && n != nil && s.FailedIndexes != nil {
		if i, overlap := commonIndex(s.CompletedIndexes, *s.FailedIndexes, *n); overlap {
			errs = append(errs, field.Invalid(path.Child("failedIndexes"), *s.FailedIndexes, fmt.Sprintf("failedIndexes and completedIndexes overlap at index: %d", i)))
		}
	}
	return errs
}
