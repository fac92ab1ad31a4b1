package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// PodTemplate is a stored description of a pod.
func PodTemplate() *kind.Kind[*corev1.PodTemplate] {
	template := field.NewPath("template")
	columns := append([]kind.Column[*corev1.PodTemplate]{kind.NameColumn[*corev1.PodTemplate]()},
		ContainerColumns(func(t *corev1.PodTemplate) []corev1.Container { return t.Template.Spec.Containers })...)
	for i := range columns {
		columns[i].Priority = 0
	}
	return &kind.Kind[*corev1.PodTemplate]{
		GVK:              corev1.SchemeGroupVersion.WithKind("PodTemplate"),
		Resource:         "podtemplates",
		ReturnDeleted:    true,
		New:              func() *corev1.PodTemplate { return &corev1.PodTemplate{} },
		NewList:          func() runtime.Object { return &corev1.PodTemplateList{} },
		Default:          func(t *corev1.PodTemplate) { DefaultPodTemplate(&t.Template) },
		Spec:             func(t *corev1.PodTemplate) any { return &t.Template },
		PrepareForCreate: func(_ context.Context, t *corev1.PodTemplate) { DropDisabledTemplateFields(&t.Template, nil) },
		PrepareForUpdate: func(_ context.Context, t, old *corev1.PodTemplate) {
			DropDisabledTemplateFields(&t.Template, &old.Template)
		},
		Validate: func(_ context.Context, t *corev1.PodTemplate) field.ErrorList {
			return ValidatePodTemplate(&t.Template, nil, template)
		},
		ValidateUpdate: func(_ context.Context, t, old *corev1.PodTemplate) field.ErrorList {
			return ValidatePodTemplate(&t.Template, &old.Template, template)
		},
		UpdateValidatesAlone: true,
		Warnings: func(_ context.Context, t, old *corev1.PodTemplate) []string {
			if old != nil && old.Generation == t.Generation {
				return nil
			}
			return PodTemplateWarnings(&t.Template, template)
		},
		Columns: append(columns, kind.Column[*corev1.PodTemplate]{Name: "Pod Labels", Type: "string", Description: "The labels for the pod template.",
			Value: func(t *corev1.PodTemplate) any { return FormatLabels(t.Template.Labels) }}),
	}
}
