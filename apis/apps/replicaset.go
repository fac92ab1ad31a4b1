package apps

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

type replicaSet = *appsv1.ReplicaSet

// ReplicaSet keeps a number of pods of one template running.
func ReplicaSet() *kind.Kind[replicaSet] {
	selector := func(r replicaSet) *metav1.LabelSelector { return r.Spec.Selector }
	spec, status := appsv1.ReplicaSetSpec{}.SwaggerDoc(), appsv1.ReplicaSetStatus{}.SwaggerDoc()
	columns := append([]kind.Column[replicaSet]{
		kind.NameColumn[replicaSet](),
		{Name: "Desired", Type: "integer", Description: spec["replicas"], Value: func(r replicaSet) any { return int64(ptr.Deref(r.Spec.Replicas, 0)) }},
		{Name: "Current", Type: "integer", Description: status["replicas"], Value: func(r replicaSet) any { return int64(r.Status.Replicas) }},
		{Name: "Ready", Type: "integer", Description: status["readyReplicas"], Value: func(r replicaSet) any { return int64(r.Status.ReadyReplicas) }},
		kind.AgeColumn[replicaSet](),
	}, core.ContainerColumns(func(r replicaSet) []corev1.Container { return r.Spec.Template.Spec.Containers })...)
	return &kind.Kind[replicaSet]{
		GVK:        appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
		Resource:   "replicasets",
		ShortNames: []string{"rs"},
		Categories: []string{"all"},
		New:        func() replicaSet { return &appsv1.ReplicaSet{} },
		NewList:    func() runtime.Object { return &appsv1.ReplicaSetList{} },
		Default: func(r replicaSet) {
			core.DefaultPodTemplate(&r.Spec.Template)
			if r.Spec.Replicas == nil {
				r.Spec.Replicas = ptr.To[int32](1)
			}
		},
		PrepareForCreate: func(_ context.Context, r replicaSet) {
			r.Status = appsv1.ReplicaSetStatus{}
			core.DropDisabledTemplateFields(&r.Spec.Template, nil)
		},
		PrepareForUpdate: func(_ context.Context, r, old replicaSet) {
			r.Status = old.Status
			core.DropDisabledTemplateFields(&r.Spec.Template, &old.Spec.Template)
		},
		Spec:     func(r replicaSet) any { return &r.Spec },
		Validate: func(_ context.Context, r replicaSet) field.ErrorList { return validateReplicaSet(r, nil) },
		ValidateUpdate: func(_ context.Context, r, old replicaSet) field.ErrorList {
			errs := validateReplicaSet(r, &old.Spec.Template)
			return append(errs, core.ValidateImmutable(r.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))...)
		},
		UpdateValidatesAlone: true,
		Warnings: func(_ context.Context, r, old replicaSet) []string {
			if old == nil {
				return append(nameWarnings(r.Name), templateWarnings(true, &r.Spec.Template)...)
			}
			return templateWarnings(r.Generation != old.Generation, &r.Spec.Template)
		},
		Columns: append(columns, selectorColumn(spec["selector"], selector)),
		Status: &kind.Status[replicaSet]{
			Prepare: func(_ context.Context, r, old replicaSet) { r.Spec = old.Spec },
			Validate: func(_ context.Context, r, _ replicaSet) field.ErrorList {
				path := field.NewPath("status")
				errs := core.ValidateReplicaCounts(core.ReplicaCounts{
					Replicas: r.Status.Replicas, FullyLabeled: r.Status.FullyLabeledReplicas, Ready: r.Status.ReadyReplicas,
					Available: r.Status.AvailableReplicas, ObservedGeneration: r.Status.ObservedGeneration,
				}, path)
				return append(errs, validateCounts(path, count{"terminatingReplicas", int64(ptr.Deref(r.Status.TerminatingReplicas, 0))})...)
			},
		},
		Extend: scaled(
			func(r replicaSet) **int32 { return &r.Spec.Replicas },
			func(r replicaSet) int32 { return r.Status.Replicas },
			selector),
	}
}

// validateReplicaSet checks one whose template was old; nil for none.
func validateReplicaSet(r replicaSet, old *corev1.PodTemplateSpec) field.ErrorList {
	path := field.NewPath("spec")
	errs := core.ValidateNonnegative(int64(ptr.Deref(r.Spec.Replicas, 0)), path.Child("replicas"))
	errs = append(errs, core.ValidateNonnegative(int64(r.Spec.MinReadySeconds), path.Child("minReadySeconds"))...)
	return append(errs, validateSelected(r.Spec.Selector, &r.Spec.Template, old, "ReplicaSet", "deployment", path)...)
}
