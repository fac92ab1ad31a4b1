package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidatePathSegment accepts every name that can stand in a URL path.
func ValidatePathSegment(name string, prefix bool) []string {
	return path.ValidatePathSegmentName(name, prefix)
}

// ValidateLegacyEvent holds for events of both groups. reporter is the name of
// the reporting controller's field in the request's version.
func ValidateLegacyEvent(e *corev1.Event, reporter string) (errs field.ErrorList) {
	about := e.InvolvedObject.Namespace
	mismatch := field.Invalid(field.NewPath("involvedObject", "namespace"), about, "does not match event.namespace")
	if e.EventTime.IsZero() {
		// An object without a namespace has its events in the default one.
		if about == "" && e.Namespace != metav1.NamespaceNone && e.Namespace != metav1.NamespaceDefault ||
			about != "" && about != e.Namespace {
			errs = append(errs, mismatch)
		}
	} else {
		if about == "" && e.Namespace != metav1.NamespaceDefault && e.Namespace != metav1.NamespaceSystem {
			errs = append(errs, mismatch)
		}
		required := func(value, name string, most int) {
			if value == "" {
				errs = append(errs, field.Required(field.NewPath(name), ""))
			}
			if most > 0 && len(value) > most {
				errs = append(errs, field.Invalid(field.NewPath(name), "", fmt.Sprintf("can have at most %v characters", most)))
			}
		}
		required(e.ReportingController, reporter, 0)
		errs = append(errs, ValidateQualifiedName(e.ReportingController, field.NewPath(reporter))...)
		required(e.ReportingInstance, "reportingInstance", 128)
		required(e.Action, "action", 128)
		required(e.Reason, "reason", 128)
		if len(e.Message) > 1024 {
			errs = append(errs, field.Invalid(field.NewPath("message"), "", "can have at most 1024 characters"))
		}
	}
	return append(errs, ValidateDNSSubdomain(e.Namespace, field.NewPath("namespace"))...)
}
