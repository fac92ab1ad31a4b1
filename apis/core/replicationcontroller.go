package core

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

// ReplicationController keeps a number of pods running; ReplicaSet is its successor.
func ReplicationController() *kind.Kind[*corev1.ReplicationController] {
	type rc = *corev1.ReplicationController
	spec, status := corev1.ReplicationControllerSpec{}.SwaggerDoc(), corev1.ReplicationControllerStatus{}.SwaggerDoc()
	containers := func(c rc) []corev1.Container {
		if c.Spec.Template == nil {
			return nil
		}
		return c.Spec.Template.Spec.Containers
	}
	columns := append([]kind.Column[rc]{
		kind.NameColumn[rc](),
		{Name: "Desired", Type: "integer", Description: spec["replicas"], Value: func(c rc) any { return int64(ptr.Deref(c.Spec.Replicas, 0)) }},
		{Name: "Current", Type: "integer", Description: status["replicas"], Value: func(c rc) any { return int64(c.Status.Replicas) }},
		{Name: "Ready", Type: "integer", Description: status["readyReplicas"], Value: func(c rc) any { return int64(c.Status.ReadyReplicas) }},
		kind.AgeColumn[rc](),
	}, ContainerColumns(containers)...)
	return &kind.Kind[rc]{
		GVK:           corev1.SchemeGroupVersion.WithKind("ReplicationController"),
		Resource:      "replicationcontrollers",
		ShortNames:    []string{"rc"},
		Categories:    []string{"all"},
		StoragePrefix: "controllers",
		New:           func() rc { return &corev1.ReplicationController{} },
		NewList:       func() runtime.Object { return &corev1.ReplicationControllerList{} },
		Default:       defaultReplicationController,
		PrepareForCreate: func(_ context.Context, c rc) {
			c.Status = corev1.ReplicationControllerStatus{}
			DropDisabledTemplateFields(c.Spec.Template, nil)
		},
		PrepareForUpdate: func(_ context.Context, c, old rc) {
			c.Status = old.Status
			DropDisabledTemplateFields(c.Spec.Template, old.Spec.Template)
		},
		Spec:     func(c rc) any { return &c.Spec },
		Validate: func(_ context.Context, c rc) field.ErrorList { return validateReplicationController(c, nil) },
		ValidateUpdate: func(_ context.Context, c, old rc) field.ErrorList {
			return validateReplicationController(c, old.Spec.Template)
		},
		UpdateValidatesAlone: true,
		ValidateName: func(name string, prefix bool) []string {
			if prefix {
				return nil // the name made of it is checked
			}
			return apivalidation.NameIsDNSSubdomain(name, false)
		},
		Warnings: func(_ context.Context, c, old rc) (warnings []string) {
			if msgs := validation.IsDNS1123Label(c.Name); old == nil && len(msgs) > 0 {
				warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
			}
			template := c.Spec.Template
			if old != nil { // warned about is what was there before
				if template = old.Spec.Template; old.Generation == c.Generation {
					return nil
				}
			}
			if template != nil {
				warnings = append(warnings, PodTemplateWarnings(template, field.NewPath("spec", "template"))...)
			}
			return warnings
		},
		Columns: append(columns, kind.Column[rc]{Name: "Selector", Type: "string", Priority: 1, Description: spec["selector"],
			Value: func(c rc) any { return FormatLabels(c.Spec.Selector) }}),
		Fields: map[string]func(rc) string{
			"status.replicas": func(c rc) string { return strconv.Itoa(int(c.Status.Replicas)) },
		},
		Status: &kind.Status[rc]{
			Prepare: func(_ context.Context, c, old rc) { c.Spec = old.Spec },
			Validate: func(_ context.Context, c, _ rc) field.ErrorList {
				return ValidateReplicaCounts(ReplicaCounts{c.Status.Replicas, c.Status.FullyLabeledReplicas, c.Status.ReadyReplicas, c.Status.AvailableReplicas, c.Status.ObservedGeneration}, field.NewPath("status"))
			},
		},
		// Old clients rely on pods outliving their controller.
		OrphanByDefault: true,
		Extend: func(_ *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			return nil, map[string]rest.Storage{"scale": NewScaleREST(r, ScaleOf[rc]{
				Replicas: func(c rc) **int32 { return &c.Spec.Replicas },
				Status:   func(c rc) int32 { return c.Status.Replicas },
				Selector: func(c rc) (string, error) { return labels.Set(c.Spec.Selector).AsSelector().String(), nil },
			})}, nil
		},
	}
}

func defaultReplicationController(c *corev1.ReplicationController) {
	if c.Spec.Template != nil && c.Spec.Template.Labels != nil {
		if len(c.Spec.Selector) == 0 {
			c.Spec.Selector = merged(nil, c.Spec.Template.Labels)
		}
		if len(c.Labels) == 0 {
			c.Labels = merged(nil, c.Spec.Template.Labels)
		}
	}
	if c.Spec.Replicas == nil {
		c.Spec.Replicas = ptr.To[int32](1)
	}
	if c.Spec.Template != nil {
		DefaultPodTemplate(c.Spec.Template)
	}
}

// validateReplicationController checks one whose template was old; nil for none.
func validateReplicationController(c *corev1.ReplicationController, old *corev1.PodTemplateSpec) field.ErrorList {
	spec := field.NewPath("spec")
	errs := ValidateNonnegative(int64(c.Spec.MinReadySeconds), spec.Child("minReadySeconds"))
	if len(c.Spec.Selector) == 0 {
		errs = append(errs, field.Required(spec.Child("selector"), ""))
	}
	if c.Spec.Replicas == nil {
		errs = append(errs, field.Required(spec.Child("replicas"), ""))
	} else {
		errs = append(errs, ValidateNonnegative(int64(*c.Spec.Replicas), spec.Child("replicas"))...)
	}
	template := spec.Child("template")
	if c.Spec.Template == nil {
		return append(errs, field.Required(template, ""))
	}
	// Selectors of this kind were never checked to be of label values.
	errs = append(errs, validateMatches(c.Spec.Template, labels.Set(c.Spec.Selector).AsSelector(), template)...)
	return append(errs, validateReplicatedPods(c.Spec.Template, old, "ReplicationController", template)...)
}
