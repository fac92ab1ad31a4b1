package apps

import (
	"context"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

type deployment = *appsv1.Deployment

// Deployment rolls out changes of a pod template through ReplicaSets.
func Deployment() *kind.Kind[deployment] {
	selector := func(d deployment) *metav1.LabelSelector { return d.Spec.Selector }
	return &kind.Kind[deployment]{
		GVK:        appsv1.SchemeGroupVersion.WithKind("Deployment"),
		Resource:   "deployments",
		ShortNames: []string{"deploy"},
		Categories: []string{"all"},
		New:        func() deployment { return &appsv1.Deployment{} },
		NewList:    func() runtime.Object { return &appsv1.DeploymentList{} },
		Default:    defaultDeployment,
		PrepareForCreate: func(_ context.Context, d deployment) {
			d.Status = appsv1.DeploymentStatus{}
			core.DropDisabledTemplateFields(&d.Spec.Template, nil)
		},
		PrepareForUpdate: func(_ context.Context, d, old deployment) {
			d.Status = old.Status
			core.DropDisabledTemplateFields(&d.Spec.Template, &old.Spec.Template)
		},
		// Annotations count too: they are copied to the replica sets.
		Spec:     func(d deployment) any { return []any{&d.Spec, d.Annotations} },
		Validate: func(_ context.Context, d deployment) field.ErrorList { return validateDeployment(d, nil) },
		ValidateUpdate: func(_ context.Context, d, old deployment) field.ErrorList {
			errs := validateDeployment(d, &old.Spec.Template)
			return append(errs, core.ValidateImmutable(d.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))...)
		},
		UpdateValidatesAlone: true,
		Warnings: func(_ context.Context, d, old deployment) []string {
			if old == nil {
				return append(nameWarnings(d.Name), templateWarnings(true, &d.Spec.Template)...)
			}
			return templateWarnings(d.Generation != old.Generation, &d.Spec.Template)
		},
		Columns: deploymentColumns(selector),
		Status: &kind.Status[deployment]{
			ResetFields: []string{"spec", "metadata.labels"},
			Prepare: func(_ context.Context, d, old deployment) {
				d.Spec = old.Spec
				d.Labels = old.Labels
			},
			Validate: func(_ context.Context, d, old deployment) field.ErrorList { return validateDeploymentStatus(d, old) },
		},
		Extend: scaled(
			func(d deployment) **int32 { return &d.Spec.Replicas },
			func(d deployment) int32 { return d.Status.Replicas },
			selector),
	}
}

func defaultDeployment(d deployment) {
	s := &d.Spec
	core.DefaultPodTemplate(&s.Template)
	if s.Replicas == nil {
		s.Replicas = ptr.To[int32](1)
	}
	if s.Strategy.Type == "" {
		s.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		if s.Strategy.RollingUpdate == nil {
			s.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{}
		}
		if r := s.Strategy.RollingUpdate; r.MaxUnavailable == nil {
			r.MaxUnavailable = ptr.To(intstr.FromString("25%"))
		}
		if r := s.Strategy.RollingUpdate; r.MaxSurge == nil {
			r.MaxSurge = ptr.To(intstr.FromString("25%"))
		}
	}
	if s.RevisionHistoryLimit == nil {
		s.RevisionHistoryLimit = ptr.To[int32](10)
	}
	if s.ProgressDeadlineSeconds == nil {
		s.ProgressDeadlineSeconds = ptr.To[int32](600)
	}
}

// validateDeployment checks one whose template was old; nil for none.
func validateDeployment(d deployment, old *corev1.PodTemplateSpec) field.ErrorList {
	s, spec := &d.Spec, field.NewPath("spec")
	errs := core.ValidateNonnegative(int64(ptr.Deref(s.Replicas, 0)), spec.Child("replicas"))
	errs = append(errs, validateSelected(s.Selector, &s.Template, old, "ReplicaSet", "deployment", spec)...)
	errs = append(errs, validateDeploymentStrategy(&s.Strategy, spec.Child("strategy"))...)
	errs = append(errs, core.ValidateNonnegative(int64(s.MinReadySeconds), spec.Child("minReadySeconds"))...)
	if n := s.RevisionHistoryLimit; n != nil {
		errs = append(errs, core.ValidateNonnegative(int64(*n), spec.Child("revisionHistoryLimit"))...)
	}
	errs = append(errs, validateRollback(d.Annotations[appsv1.DeprecatedRollbackTo])...)
	if n := s.ProgressDeadlineSeconds; n != nil {
		path := spec.Child("progressDeadlineSeconds")
		errs = append(errs, core.ValidateNonnegative(int64(*n), path)...)
		if *n <= s.MinReadySeconds {
			errs = append(errs, field.Invalid(path, n, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

// validateRollback: the annotation was a field once, and is one to old clients.
func validateRollback(to string) field.ErrorList {
	if to == "" {
		return nil
	}
	n, err := strconv.ParseInt(to, 10, 64)
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(appsv1.DeprecatedRollbackTo), to, "must be an integer")}
	}
	return core.ValidateNonnegative(n, field.NewPath("spec", "rollback", "version"))
}

func validateDeploymentStrategy(s *appsv1.DeploymentStrategy, path *field.Path) (errs field.ErrorList) {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			errs = append(errs, field.Forbidden(rolling, "may not be specified when strategy `type` is '"+string(s.Type)+"'"))
		}
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(rolling, "this should be defaulted and never be nil")}
		}
		unavailable, surge := ptr.Deref(s.RollingUpdate.MaxUnavailable, intstr.IntOrString{}), ptr.Deref(s.RollingUpdate.MaxSurge, intstr.IntOrString{})
		errs = append(errs, validateIntOrPercent(unavailable, rolling.Child("maxUnavailable"))...)
		errs = append(errs, validateIntOrPercent(surge, rolling.Child("maxSurge"))...)
		if isZero(unavailable) && isZero(surge) {
			errs = append(errs, field.Invalid(rolling.Child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"))
		}
		errs = append(errs, atMost100Percent(unavailable, rolling.Child("maxUnavailable"))...)
	default:
		errs = append(errs, field.NotSupported(path, s, []appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType}))
	}
	return errs
}

func validateDeploymentStatus(d, old deployment) field.ErrorList {
	s, path := &d.Status, field.NewPath("status")
	updated := count{"updatedReplicas", int64(s.UpdatedReplicas)}
	ready := count{"readyReplicas", int64(s.ReadyReplicas)}
	available := count{"availableReplicas", int64(s.AvailableReplicas)}
	errs := validateCounts(path, count{"observedGeneration", s.ObservedGeneration}, count{"replicas", int64(s.Replicas)},
		updated, ready, available, count{"unavailableReplicas", int64(s.UnavailableReplicas)},
		count{"terminatingReplicas", int64(ptr.Deref(s.TerminatingReplicas, 0))}, count{"collisionCount", int64(ptr.Deref(s.CollisionCount, 0))})
	errs = append(errs, validateParts(path, s.Replicas, s.ReadyReplicas, s.AvailableReplicas, "cannot be greater than readyReplicas", updated, ready, available)...)
	return append(errs, validateCollisions(s.CollisionCount, old.Status.CollisionCount, path)...)
}

func deploymentColumns(selector func(deployment) *metav1.LabelSelector) []kind.Column[deployment] {
	spec, status := appsv1.DeploymentSpec{}.SwaggerDoc(), appsv1.DeploymentStatus{}.SwaggerDoc()
	columns := append([]kind.Column[deployment]{
		kind.NameColumn[deployment](),
		{Name: "Ready", Type: "string", Description: "Number of the pod with ready state",
			Value: func(d deployment) any {
				return fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, ptr.Deref(d.Spec.Replicas, 0))
			}},
		{Name: "Up-to-date", Type: "string", Description: status["updatedReplicas"], Value: func(d deployment) any { return int64(d.Status.UpdatedReplicas) }},
		{Name: "Available", Type: "string", Description: status["availableReplicas"], Value: func(d deployment) any { return int64(d.Status.AvailableReplicas) }},
		kind.AgeColumn[deployment](),
	}, core.ContainerColumns(func(d deployment) []corev1.Container { return d.Spec.Template.Spec.Containers })...)
	return append(columns, kind.Column[deployment]{Name: "Selector", Type: "string", Priority: 1, Description: spec["selector"], Value: func(d deployment) any {
		s, err := metav1.LabelSelectorAsSelector(selector(d))
		if err != nil {
			return "<invalid>"
		}
		return s.String()
	}})
}
