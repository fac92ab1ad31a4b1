package apps

import (
	"context"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

type daemonSet = *appsv1.DaemonSet

// DaemonSet runs a pod on every node that fits.
func DaemonSet() *kind.Kind[daemonSet] {
	return &kind.Kind[daemonSet]{
		GVK:        appsv1.SchemeGroupVersion.WithKind("DaemonSet"),
		Resource:   "daemonsets",
		ShortNames: []string{"ds"},
		Categories: []string{"all"},
		New:        func() daemonSet { return &appsv1.DaemonSet{} },
		NewList:    func() runtime.Object { return &appsv1.DaemonSetList{} },
		Default:    defaultDaemonSet,
		PrepareForCreate: func(_ context.Context, d daemonSet) {
			d.Status = appsv1.DaemonSetStatus{}
			core.DropDisabledTemplateFields(&d.Spec.Template, nil)
			if templateGenerationOK(d) {
				setTemplateGeneration(d, max(templateGeneration(d), 1))
			}
		},
		PrepareForUpdate: func(_ context.Context, d, old daemonSet) {
			d.Status = old.Status
			core.DropDisabledTemplateFields(&d.Spec.Template, &old.Spec.Template)
			if !templateGenerationOK(d) {
				return
			}
			n := templateGeneration(old)
			if !equality.Semantic.DeepEqual(d.Spec.Template, old.Spec.Template) {
				n++
			}
			setTemplateGeneration(d, n)
		},
		Spec:     func(d daemonSet) any { return &d.Spec },
		Validate: func(_ context.Context, d daemonSet) field.ErrorList { return validateDaemonSet(d, nil) },
		ValidateUpdate: func(_ context.Context, d, old daemonSet) field.ErrorList {
			errs := core.ValidateImmutable(d.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))
			return append(errs, validateDaemonSet(d, old)...)
		},
		UpdateValidatesAlone: true,
		Warnings: func(_ context.Context, d, old daemonSet) []string {
			return templateWarnings(old == nil || templateGeneration(d) != templateGeneration(old), &d.Spec.Template)
		},
		Columns: daemonSetColumns(),
		Status: &kind.Status[daemonSet]{
			Prepare: func(_ context.Context, d, old daemonSet) {
				d.Spec = old.Spec
				setTemplateGeneration(d, templateGeneration(old))
			},
			Validate: func(_ context.Context, d, old daemonSet) field.ErrorList {
				s, path := &d.Status, field.NewPath("status")
				errs := validateCounts(path,
					count{"currentNumberScheduled", int64(s.CurrentNumberScheduled)}, count{"numberMisscheduled", int64(s.NumberMisscheduled)},
					count{"desiredNumberScheduled", int64(s.DesiredNumberScheduled)}, count{"numberReady", int64(s.NumberReady)},
					count{"observedGeneration", s.ObservedGeneration}, count{"updatedNumberScheduled", int64(s.UpdatedNumberScheduled)},
					count{"numberAvailable", int64(s.NumberAvailable)}, count{"numberUnavailable", int64(s.NumberUnavailable)},
					count{"collisionCount", int64(ptr.Deref(s.CollisionCount, 0))})
				return append(errs, validateCollisions(s.CollisionCount, old.Status.CollisionCount, path)...)
			},
		},
	}
}

// The template's generation was a field once; apps/v1 keeps it as an annotation.

func templateGeneration(d daemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func templateGenerationOK(d daemonSet) bool {
	_, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	return err == nil
}

func setTemplateGeneration(d daemonSet, n int64) {
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[appsv1.DeprecatedTemplateGeneration] = strconv.FormatInt(n, 10)
}

func defaultDaemonSet(d daemonSet) {
	// To upstream it is still a field of the hub, which its apps/v1 always shows.
	if _, ok := d.Annotations[appsv1.DeprecatedTemplateGeneration]; !ok {
		setTemplateGeneration(d, 0)
	}
	s := &d.Spec
	core.DefaultPodTemplate(&s.Template)
	if s.UpdateStrategy.Type == "" {
		s.UpdateStrategy.Type = appsv1.RollingUpdateDaemonSetStrategyType
	}
	if s.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		if s.UpdateStrategy.RollingUpdate == nil {
			s.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{}
		}
		if r := s.UpdateStrategy.RollingUpdate; r.MaxUnavailable == nil {
			r.MaxUnavailable = ptr.To(intstr.FromInt32(1))
		}
		if r := s.UpdateStrategy.RollingUpdate; r.MaxSurge == nil {
			r.MaxSurge = ptr.To(intstr.FromInt32(0))
		}
	}
	if s.RevisionHistoryLimit == nil {
		s.RevisionHistoryLimit = ptr.To[int32](10)
	}
}

// validateDaemonSet checks a daemon set; old is nil on create.
func validateDaemonSet(d, old daemonSet) field.ErrorList {
	s, spec := &d.Spec, field.NewPath("spec")
	var template *corev1.PodTemplateSpec
	lenient := metav1validation.LabelSelectorValidationOptions{}
	if old != nil {
		template = &old.Spec.Template
		lenient.AllowInvalidLabelValueInSelector = metav1validation.LabelSelectorHasInvalidLabelValue(old.Spec.Selector)
	}
	errs := metav1validation.ValidateLabelSelector(s.Selector, lenient, spec.Child("selector"))
	if !templateGenerationOK(d) {
		path := field.NewPath("metadata", "annotations").Key(appsv1.DeprecatedTemplateGeneration)
		errs = append(errs, field.Invalid(path, d.Annotations[appsv1.DeprecatedTemplateGeneration], "must be an integer"))
	}
	if s.Selector != nil && len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(spec.Child("selector"), s.Selector, "empty selector is invalid for daemonset"))
	}
	if s.Selector == nil { // selects nothing, so not its own pods either
		errs = append(errs, field.Invalid(spec.Child("template", "metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`"))
	}
	selector := s.Selector
	if selector == nil {
		selector = &metav1.LabelSelector{}
	}
	errs = append(errs, core.ValidateReplicatedTemplate(&s.Template, template, selector, "DaemonSet", spec.Child("template"))...)
	errs = append(errs, core.ValidateNonnegative(int64(s.MinReadySeconds), spec.Child("minReadySeconds"))...)
	errs = append(errs, validateDaemonSetStrategy(&s.UpdateStrategy, spec.Child("updateStrategy"))...)
	if n := s.RevisionHistoryLimit; n != nil {
		errs = append(errs, core.ValidateNonnegative(int64(*n), spec.Child("revisionHistoryLimit"))...)
	}
	return errs
}

func validateDaemonSetStrategy(s *appsv1.DaemonSetUpdateStrategy, path *field.Path) (errs field.ErrorList) {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
		return nil
	case appsv1.RollingUpdateDaemonSetStrategyType:
	default:
		return field.ErrorList{field.NotSupported(path, s, []appsv1.DaemonSetUpdateStrategyType{appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType})}
	}
	if s.RollingUpdate == nil {
		return field.ErrorList{field.Required(rolling, "")}
	}
	unavailable, surge := ptr.Deref(s.RollingUpdate.MaxUnavailable, intstr.IntOrString{}), ptr.Deref(s.RollingUpdate.MaxSurge, intstr.IntOrString{})
	for _, f := range []struct {
		name  string
		value intstr.IntOrString
	}{{"maxUnavailable", unavailable}, {"maxSurge", surge}} {
		errs = append(errs, validateIntOrPercent(f.value, rolling.Child(f.name))...)
		errs = append(errs, atMost100Percent(f.value, rolling.Child(f.name))...)
	}
	switch {
	case !isZero(unavailable) && !isZero(surge):
		errs = append(errs, field.Invalid(rolling.Child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
	case isZero(unavailable) && isZero(surge):
		errs = append(errs, field.Required(rolling.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func daemonSetColumns() []kind.Column[daemonSet] {
	spec, status, pod := appsv1.DaemonSetSpec{}.SwaggerDoc(), appsv1.DaemonSetStatus{}.SwaggerDoc(), corev1.PodSpec{}.SwaggerDoc()
	number := func(name, field string, value func(*appsv1.DaemonSetStatus) int32) kind.Column[daemonSet] {
		return kind.Column[daemonSet]{Name: name, Type: "integer", Description: status[field], Value: func(d daemonSet) any { return int64(value(&d.Status)) }}
	}
	columns := append([]kind.Column[daemonSet]{
		kind.NameColumn[daemonSet](),
		number("Desired", "desiredNumberScheduled", func(s *appsv1.DaemonSetStatus) int32 { return s.DesiredNumberScheduled }),
		number("Current", "currentNumberScheduled", func(s *appsv1.DaemonSetStatus) int32 { return s.CurrentNumberScheduled }),
		number("Ready", "numberReady", func(s *appsv1.DaemonSetStatus) int32 { return s.NumberReady }),
		number("Up-to-date", "updatedNumberScheduled", func(s *appsv1.DaemonSetStatus) int32 { return s.UpdatedNumberScheduled }),
		number("Available", "numberAvailable", func(s *appsv1.DaemonSetStatus) int32 { return s.NumberAvailable }),
		{Name: "Node Selector", Type: "string", Description: pod["nodeSelector"],
			Value: func(d daemonSet) any { return core.FormatLabels(d.Spec.Template.Spec.NodeSelector) }},
		kind.AgeColumn[daemonSet](),
	}, core.ContainerColumns(func(d daemonSet) []corev1.Container { return d.Spec.Template.Spec.Containers })...)
	return append(columns, selectorColumn(spec["selector"], func(d daemonSet) *metav1.LabelSelector { return d.Spec.Selector }))
}
