// Package events serves the events of apis/core under group events.k8s.io, in
// its own form: storage and hub type are the core ones.
package events

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
	"proa/apis/kind"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any { return []kind.Any{Event()} }

type event = *corev1.Event

// Event tells what happened to an object. It must be new-style: with eventTime,
// and without the fields that only old recorders set.
func Event() *kind.Kind[event] {
	e := core.Event()
	e.GVK = eventsv1.SchemeGroupVersion.WithKind("Event")
	e.PlainMetadata = false
	e.StorageGroupResource = corev1.Resource("events")
	e.ValidateName = apivalidation.NameIsDNSSubdomain
	e.Validate = func(_ context.Context, e event) field.ErrorList {
		return append(core.ValidateLegacyEvent(e, "reportingController"), validateStrictly(e)...)
	}
	e.UpdateValidatesAlone = true
	e.ValidateUpdate = func(_ context.Context, e, old event) field.ErrorList {
		return append(core.ValidateLegacyEvent(e, "reportingController"), validateChange(e, old)...)
	}
	e.Fields = core.EventFields("regarding", "reportingController", "deprecatedSource")
	return e
}

func validateStrictly(e event) field.ErrorList {
	errs := validateSeries(e)
	if e.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", fmt.Sprintf("has invalid value: %v", e.Type)))
	}
	unset := func(name string, set bool) {
		if set {
			errs = append(errs, field.Invalid(field.NewPath(name), "", "needs to be unset"))
		}
	}
	unset("firstTimestamp", !e.FirstTimestamp.IsZero())
	unset("lastTimestamp", !e.LastTimestamp.IsZero())
	unset("count", e.Count != 0)
	unset("source", e.Source != corev1.EventSource{})
	return errs
}

func validateSeries(e event) (errs field.ErrorList) {
	if e.Series == nil {
		return nil
	}
	if e.Series.Count < 2 {
		errs = append(errs, field.Invalid(field.NewPath("series.count"), "", "should be at least 2"))
	}
	if e.Series.LastObservedTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("series.lastObservedTime"), ""))
	}
	return errs
}

// validateChange: only the series goes on.
func validateChange(e, old event) (errs field.ErrorList) {
	if e.Series != nil && (old.Series == nil || *e.Series != *old.Series) {
		errs = append(errs, validateSeries(e)...)
	}
	fixed := func(now, was any, name string) {
		errs = append(errs, core.ValidateImmutable(now, was, field.NewPath(name))...)
	}
	fixed(e.InvolvedObject, old.InvolvedObject, "involvedObject")
	fixed(e.Reason, old.Reason, "reason")
	fixed(e.Message, old.Message, "message")
	fixed(e.Source, old.Source, "source")
	fixed(e.FirstTimestamp, old.FirstTimestamp, "firstTimestamp")
	fixed(e.LastTimestamp, old.LastTimestamp, "lastTimestamp")
	fixed(e.Count, old.Count, "count")
	fixed(e.Type, old.Type, "type")
	// Encodings keep microseconds.
	if !e.EventTime.Truncate(time.Microsecond).Equal(old.EventTime.Truncate(time.Microsecond)) {
		fixed(e.EventTime, old.EventTime, "eventTime")
	}
	fixed(e.Action, old.Action, "action")
	fixed(e.Related, old.Related, "related")
	fixed(e.ReportingController, old.ReportingController, "reportingController")
	fixed(e.ReportingInstance, old.ReportingInstance, "reportingInstance")
	return errs
}
