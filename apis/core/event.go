package core

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// Event tells what happened to an object. The same storage is served as
// events.k8s.io (apis/events).
func Event() *kind.Kind[*corev1.Event] {
	return &kind.Kind[*corev1.Event]{
		GVK:           corev1.SchemeGroupVersion.WithKind("Event"),
		PlainMetadata: true,
		Resource:      "events",
		ShortNames:    []string{"ev"},
		New:           func() *corev1.Event { return &corev1.Event{} },
		NewList:       func() runtime.Object { return &corev1.EventList{} },
		// Old recorders name events freely; the stricter group checks names itself.
		ValidateName: ValidatePathSegment,
		Validate: func(_ context.Context, e *corev1.Event) field.ErrorList {
			return ValidateLegacyEvent(e, "reportingComponent")
		},
		Columns:             EventColumns(),
		Fields:              EventFields("involvedObject", "reportingComponent", "source"),
		TTL:                 func(d *kind.Deps) time.Duration { return d.EventTTL },
		NoDependents:        true,
		AllowCreateOnUpdate: true,
	}
}

// EventFields are the selectable fields of events under the names of a version:
// what the object's reference, the reporting controller and the source are called there.
func EventFields(object, reporter, source string) map[string]func(*corev1.Event) string {
	return map[string]func(*corev1.Event) string{
		object + ".kind":            func(e *corev1.Event) string { return e.InvolvedObject.Kind },
		object + ".namespace":       func(e *corev1.Event) string { return e.InvolvedObject.Namespace },
		object + ".name":            func(e *corev1.Event) string { return e.InvolvedObject.Name },
		object + ".uid":             func(e *corev1.Event) string { return string(e.InvolvedObject.UID) },
		object + ".apiVersion":      func(e *corev1.Event) string { return e.InvolvedObject.APIVersion },
		object + ".resourceVersion": func(e *corev1.Event) string { return e.InvolvedObject.ResourceVersion },
		object + ".fieldPath":       func(e *corev1.Event) string { return e.InvolvedObject.FieldPath },
		"reason":                    func(e *corev1.Event) string { return e.Reason },
		reporter:                    func(e *corev1.Event) string { return e.ReportingController },
		"type":                      func(e *corev1.Event) string { return e.Type },
		source:                      func(e *corev1.Event) string { return firstNonEmpty(e.Source.Component, e.ReportingController) },
	}
}

// EventColumns are the same for both groups.
func EventColumns() []kind.Column[*corev1.Event] {
	doc := corev1.Event{}.SwaggerDoc()
	return []kind.Column[*corev1.Event]{
		{Name: "Last Seen", Type: "string", Description: doc["lastTimestamp"], Value: func(e *corev1.Event) any { return eventLastSeen(e) }},
		{Name: "Type", Type: "string", Description: doc["type"], Value: func(e *corev1.Event) any { return e.Type }},
		{Name: "Reason", Type: "string", Description: doc["reason"], Value: func(e *corev1.Event) any { return e.Reason }},
		{Name: "Object", Type: "string", Description: doc["involvedObject"], Value: func(e *corev1.Event) any {
			target := strings.ToLower(e.InvolvedObject.Kind)
			if e.InvolvedObject.Name != "" {
				target += "/" + e.InvolvedObject.Name
			}
			return target
		}},
		{Name: "Subobject", Type: "string", Priority: 1, Description: corev1.ObjectReference{}.SwaggerDoc()["fieldPath"],
			Value: func(e *corev1.Event) any { return e.InvolvedObject.FieldPath }},
		{Name: "Source", Type: "string", Priority: 1, Description: doc["source"], Value: func(e *corev1.Event) any {
			component := firstNonEmpty(e.Source.Component, e.ReportingController)
			if instance := firstNonEmpty(e.Source.Host, e.ReportingInstance); instance != "" {
				return component + ", " + instance
			}
			return component
		}},
		{Name: "Message", Type: "string", Description: doc["message"], Value: func(e *corev1.Event) any { return strings.TrimSpace(e.Message) }},
		{Name: "First Seen", Type: "string", Priority: 1, Description: doc["firstTimestamp"], Value: func(e *corev1.Event) any { return eventFirstSeen(e) }},
		{Name: "Count", Type: "string", Priority: 1, Description: doc["count"], Value: func(e *corev1.Event) any { return eventCount(e) }},
		{Name: "Name", Type: "string", Priority: 1, Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"],
			Value: func(e *corev1.Event) any { return e.Name }},
	}
}

func eventFirstSeen(e *corev1.Event) string {
	if e.FirstTimestamp.IsZero() {
		return kind.MicroAge(e.EventTime)
	}
	return kind.Age(e.FirstTimestamp)
}

func eventLastSeen(e *corev1.Event) string {
	switch {
	case e.Series != nil:
		return kind.MicroAge(e.Series.LastObservedTime)
	case e.LastTimestamp.IsZero():
		return eventFirstSeen(e)
	}
	return kind.Age(e.LastTimestamp)
}

func eventCount(e *corev1.Event) int64 {
	switch {
	case e.Series != nil:
		return int64(e.Series.Count)
	case e.Count == 0: // events without a series happened once
		return 1
	}
	return int64(e.Count)
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
