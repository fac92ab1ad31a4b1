// Package scheduling holds the kinds of group scheduling.k8s.io.
package scheduling

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

const (
	// highestUserPriority is the most that a class of a user's may have; the
	// system's own are above.
	highestUserPriority int32 = 1_000_000_000
	systemPriority            = 2 * highestUserPriority
	systemPrefix              = "system-"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any { return []kind.Any{PriorityClass()} }

type priorityClass = *schedulingv1.PriorityClass

// PriorityClass names a priority of pods.
func PriorityClass() *kind.Kind[priorityClass] {
	doc := schedulingv1.PriorityClass{}.SwaggerDoc()
	return &kind.Kind[priorityClass]{
		GVK:           schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"),
		Resource:      "priorityclasses",
		ShortNames:    []string{"pc"},
		ClusterScoped: true,
		New:           func() priorityClass { return &schedulingv1.PriorityClass{} },
		NewList:       func() runtime.Object { return &schedulingv1.PriorityClassList{} },
		Default: func(c priorityClass) {
			if c.PreemptionPolicy == nil {
				c.PreemptionPolicy = ptr.To(corev1.PreemptLowerPriority)
			}
		},
		PrepareForCreate:     func(_ context.Context, c priorityClass) { c.Generation = 1 },
		PrepareForUpdate:     func(_ context.Context, c, old priorityClass) { c.Generation = old.Generation },
		Validate:             func(_ context.Context, c priorityClass) field.ErrorList { return validatePriorityClass(c) },
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, c, old priorityClass) (errs field.ErrorList) {
			if c.Value != old.Value {
				errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
			}
			return append(errs, core.ValidateImmutable(c.PreemptionPolicy, old.PreemptionPolicy, field.NewPath("preemptionPolicy"))...)
		},
		Columns: []kind.Column[priorityClass]{
			kind.NameColumn[priorityClass](),
			{Name: "Value", Type: "integer", Description: doc["value"], Value: func(c priorityClass) any { return int64(c.Value) }},
			{Name: "Global-Default", Type: "boolean", Description: doc["globalDefault"], Value: func(c priorityClass) any { return c.GlobalDefault }},
			kind.AgeColumn[priorityClass](),
			{Name: "PreemptionPolicy", Type: "string", Description: doc["preemptionPolicy"],
				Value: func(c priorityClass) any { return string(ptr.Deref(c.PreemptionPolicy, "")) }},
		},
	}
}

func validatePriorityClass(c priorityClass) (errs field.ErrorList) {
	if strings.HasPrefix(c.Name, systemPrefix) {
		if err := isSystemClass(c); err != nil {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
				"priority class names with '"+systemPrefix+"' prefix are reserved for system use only. error: "+err.Error()))
		}
	} else if c.Value > highestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"), fmt.Sprintf("maximum allowed value of a user defined priority is %v", highestUserPriority)))
	}
	if p := c.PreemptionPolicy; p != nil {
		errs = append(errs, core.ValidatePreemptionPolicy(*p, field.NewPath("preemptionPolicy"))...)
	}
	return errs
}

// isSystemClass tells why a class is not one of the two that the system has.
func isSystemClass(c priorityClass) error {
	var value int32
	switch c.Name {
	case "system-node-critical":
		value = systemPriority + 1000
	case "system-cluster-critical":
		value = systemPriority
	default:
		return fmt.Errorf("%v is not a known system priority class", c.Name)
	}
	if c.Value != value {
		return fmt.Errorf("value of %v PriorityClass must be %v", c.Name, value)
	}
	if c.GlobalDefault {
		return fmt.Errorf("globalDefault of %v PriorityClass must be %v", c.Name, false)
	}
	return nil
}
