package apps

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

type statefulSet = *appsv1.StatefulSet

// StatefulSet runs pods with lasting names and volumes.
func StatefulSet() *kind.Kind[statefulSet] {
	columns := append([]kind.Column[statefulSet]{
		kind.NameColumn[statefulSet](),
		{Name: "Ready", Type: "string", Description: "Number of the pod with ready state",
			Value: func(s statefulSet) any {
				return fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, ptr.Deref(s.Spec.Replicas, 0))
			}},
		kind.AgeColumn[statefulSet](),
	}, core.ContainerColumns(func(s statefulSet) []corev1.Container { return s.Spec.Template.Spec.Containers })...)
	return &kind.Kind[statefulSet]{
		GVK:        appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
		Resource:   "statefulsets",
		ShortNames: []string{"sts"},
		Categories: []string{"all"},
		New:        func() statefulSet { return &appsv1.StatefulSet{} },
		NewList:    func() runtime.Object { return &appsv1.StatefulSetList{} },
		Default:    defaultStatefulSet,
		PrepareForCreate: func(_ context.Context, s statefulSet) {
			s.Status = appsv1.StatefulSetStatus{}
			dropMaxUnavailable(&s.Spec, nil)
			core.DropDisabledTemplateFields(&s.Spec.Template, nil)
		},
		PrepareForUpdate: func(_ context.Context, s, old statefulSet) {
			s.Status = old.Status
			dropMaxUnavailable(&s.Spec, &old.Spec)
			core.DropDisabledTemplateFields(&s.Spec.Template, &old.Spec.Template)
		},
		Spec: func(s statefulSet) any { return &s.Spec },
		// Pods are named after it, with an ordinal.
		ValidateName:         validation.NameIsDNSLabel,
		UpdateValidatesAlone: true,
		Validate:             func(_ context.Context, s statefulSet) field.ErrorList { return validateStatefulSet(&s.Spec, nil) },
		ValidateUpdate: func(_ context.Context, s, old statefulSet) field.ErrorList {
			return append(validateStatefulSet(&s.Spec, &old.Spec), validateStatefulSetChange(s, old)...)
		},
		Warnings: func(_ context.Context, s, old statefulSet) []string {
			warnings := templateWarnings(old == nil || s.Generation != old.Generation, &s.Spec.Template)
			for i := range s.Spec.VolumeClaimTemplates {
				claim := field.NewPath("spec", "volumeClaimTemplates").Index(i)
				if old != nil {
					claim = claim.Child("Spec")
				}
				warnings = append(warnings, core.ClaimSpecWarnings(&s.Spec.VolumeClaimTemplates[i].Spec, claim)...)
			}
			if n := s.Spec.RevisionHistoryLimit; n != nil && *n < 0 {
				warnings = append(warnings, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
			}
			return warnings
		},
		Columns: columns,
		Status: &kind.Status[statefulSet]{
			Prepare:  func(_ context.Context, s, old statefulSet) { s.Spec = old.Spec },
			Validate: func(_ context.Context, s, old statefulSet) field.ErrorList { return validateStatefulSetStatus(s, old) },
		},
		Extend: scaled(
			func(s statefulSet) **int32 { return &s.Spec.Replicas },
			func(s statefulSet) int32 { return s.Status.Replicas },
			func(s statefulSet) *metav1.LabelSelector { return s.Spec.Selector }),
	}
}

func defaultStatefulSet(s statefulSet) {
	spec := &s.Spec
	core.DefaultPodTemplate(&spec.Template)
	for i := range spec.VolumeClaimTemplates {
		c := &spec.VolumeClaimTemplates[i]
		c.APIVersion, c.Kind = "v1", "PersistentVolumeClaim"
		if c.Status.Phase == "" {
			c.Status.Phase = corev1.ClaimPending
		}
		core.DefaultClaimSpec(&c.Spec)
	}
	if spec.PodManagementPolicy == "" {
		spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	if spec.UpdateStrategy.Type == "" {
		spec.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
		if spec.UpdateStrategy.RollingUpdate == nil {
			spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{}
		}
	}
	if r := spec.UpdateStrategy.RollingUpdate; r != nil && spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		if r.Partition == nil {
			r.Partition = ptr.To[int32](0)
		}
	}
	if spec.PersistentVolumeClaimRetentionPolicy == nil {
		spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{}
	}
	for _, p := range []*appsv1.PersistentVolumeClaimRetentionPolicyType{&spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted, &spec.PersistentVolumeClaimRetentionPolicy.WhenScaled} {
		if *p == "" {
			*p = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
		}
	}
	if spec.Replicas == nil {
		spec.Replicas = ptr.To[int32](1)
	}
	if spec.RevisionHistoryLimit == nil {
		spec.RevisionHistoryLimit = ptr.To[int32](10)
	}
}

// dropMaxUnavailable drops what is behind a gate (MaxUnavailableStatefulSet).
func dropMaxUnavailable(s, old *appsv1.StatefulSetSpec) {
	used := old != nil && old.UpdateStrategy.RollingUpdate != nil && old.UpdateStrategy.RollingUpdate.MaxUnavailable != nil
	if r := s.UpdateStrategy.RollingUpdate; r != nil && !used {
		r.MaxUnavailable = nil
	}
}

// validateStatefulSet checks a spec; old is nil on create.
func validateStatefulSet(s, old *appsv1.StatefulSetSpec) field.ErrorList {
	errs := validateStatefulSetFields(s, old == nil)
	if old == nil {
		return append(errs, validateStatefulSetPods(s, nil, false)...)
	}
	// Sets that could be stored before their pods were checked can still change.
	broken := len(validateStatefulSetFields(old, false))+len(validateStatefulSetPods(old, &old.Template, false)) > 0
	return append(errs, validateStatefulSetPods(s, &old.Template, broken)...)
}

func validateStatefulSetFields(s *appsv1.StatefulSetSpec, create bool) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	switch p := s.PodManagementPolicy; p {
	case "":
		errs = append(errs, field.Required(spec.Child("podManagementPolicy"), ""))
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		errs = append(errs, field.Invalid(spec.Child("podManagementPolicy"), p, fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement)))
	}
	errs = append(errs, validateStatefulSetStrategy(&s.UpdateStrategy, spec.Child("updateStrategy"))...)
	if p := s.PersistentVolumeClaimRetentionPolicy; p != nil {
		errs = append(errs, validateRetention(p.WhenDeleted, spec.Child("persistentVolumeClaimRetentionPolicy", "whenDeleted"))...)
		errs = append(errs, validateRetention(p.WhenScaled, spec.Child("persistentVolumeClaimRetentionPolicy", "whenScaled"))...)
	}
	if create {
		for i := range s.VolumeClaimTemplates {
			errs = append(errs, core.ValidateClaimSpec(&s.VolumeClaimTemplates[i].Spec, nil, spec.Child("volumeClaimTemplates").Index(i).Child("spec"))...)
		}
	}
	errs = append(errs, core.ValidateNonnegative(int64(ptr.Deref(s.Replicas, 0)), spec.Child("replicas"))...)
	errs = append(errs, core.ValidateNonnegative(int64(s.MinReadySeconds), spec.Child("minReadySeconds"))...)
	if s.Ordinals != nil {
		errs = append(errs, core.ValidateNonnegative(int64(s.Ordinals.Start), spec.Child("ordinals.start"))...)
	}
	if create && s.ServiceName != "" {
		errs = append(errs, core.ValidateDNSLabel(s.ServiceName, spec.Child("serviceName"))...)
	}
	return errs
}

// validateStatefulSetPods checks selector and template, whose pods are let pass
// if they were broken before.
func validateStatefulSetPods(s *appsv1.StatefulSetSpec, old *corev1.PodTemplateSpec, broken bool) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	path, template := spec.Child("selector"), spec.Child("template")
	if s.Selector == nil {
		errs = append(errs, field.Required(path, ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, metav1validation.LabelSelectorValidationOptions{}, path)...)
		if len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(path, s.Selector, "empty selector is invalid for statefulset"))
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(s.Selector)
	switch {
	case err != nil:
		errs = append(errs, field.Invalid(path, s.Selector, ""))
	case !selector.Empty() && !selector.Matches(labels.Set(s.Template.Labels)):
		errs = append(errs, field.Invalid(template.Child("metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`"))
	}
	if err == nil && !broken {
		errs = append(errs, core.ValidatePodTemplate(templateWithClaims(s), old, template)...)
	}
	if err == nil {
		errs = append(errs, core.ValidateTemplateMeta(&s.Template, old, template)...)
	}
	if s.Template.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(template.Child("spec", "restartPolicy"), s.Template.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if s.Template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(template.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in StatefulSet is not Supported"))
	}
	return errs
}

// templateWithClaims is the template as the controller uses it: it sets host name
// and subdomain, and adds the claims' volumes.
func templateWithClaims(s *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	if s.Template.Spec.Subdomain == "" && s.Template.Spec.Hostname == "" && len(s.VolumeClaimTemplates) == 0 {
		return &s.Template
	}
	template := s.Template.DeepCopy()
	template.Spec.Subdomain, template.Spec.Hostname = "", ""
	claimed := map[string]bool{}
	var volumes []corev1.Volume
	for _, c := range s.VolumeClaimTemplates {
		if !claimed[c.Name] {
			claimed[c.Name] = true
			volumes = append(volumes, corev1.Volume{Name: c.Name, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.Name}}})
		}
	}
	for _, v := range template.Spec.Volumes {
		if !claimed[v.Name] {
			volumes = append(volumes, v)
		}
	}
	template.Spec.Volumes = volumes
	return template
}

func validateStatefulSetStrategy(s *appsv1.StatefulSetUpdateStrategy, path *field.Path) (errs field.ErrorList) {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case "":
		errs = append(errs, field.Required(path, ""))
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate != nil {
			errs = append(errs, field.Invalid(rolling, s.RollingUpdate, fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType)))
		}
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		errs = append(errs, core.ValidateNonnegative(int64(ptr.Deref(s.RollingUpdate.Partition, 0)), rolling.Child("partition"))...)
		if m := s.RollingUpdate.MaxUnavailable; m != nil {
			at := rolling.Child("maxUnavailable")
			errs = append(errs, validateIntOrPercent(*m, at)...)
			if isZero(*m) {
				errs = append(errs, field.Invalid(at, *m, "cannot be 0"))
			}
			errs = append(errs, atMost100Percent(*m, at)...)
		}
	default:
		errs = append(errs, field.Invalid(path, s, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType)))
	}
	return errs
}

func validateRetention(p appsv1.PersistentVolumeClaimRetentionPolicyType, path *field.Path) field.ErrorList {
	switch p {
	case appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType:
		return nil
	}
	return field.ErrorList{field.NotSupported(path, p, []appsv1.PersistentVolumeClaimRetentionPolicyType{
		appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType})}
}

// validateStatefulSetChange: pods and their volumes are bound to most of the spec.
func validateStatefulSetChange(s, old statefulSet) field.ErrorList {
	now, was := s.Spec, &old.Spec
	now.Replicas = was.Replicas
	now.Template = was.Template
	now.UpdateStrategy = was.UpdateStrategy
	now.MinReadySeconds = was.MinReadySeconds
	now.Ordinals = was.Ordinals
	now.RevisionHistoryLimit = was.RevisionHistoryLimit
	now.PersistentVolumeClaimRetentionPolicy = was.PersistentVolumeClaimRetentionPolicy
	if equality.Semantic.DeepEqual(&now, was) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden")}
}

func validateStatefulSetStatus(s, old statefulSet) field.ErrorList {
	st, path := &s.Status, field.NewPath("status")
	ready := count{"readyReplicas", int64(st.ReadyReplicas)}
	current := count{"currentReplicas", int64(st.CurrentReplicas)}
	updated := count{"updatedReplicas", int64(st.UpdatedReplicas)}
	available := count{"availableReplicas", int64(st.AvailableReplicas)}
	errs := validateCounts(path, count{"replicas", int64(st.Replicas)}, ready, current, updated, available,
		count{"observedGeneration", st.ObservedGeneration}, count{"collisionCount", int64(ptr.Deref(st.CollisionCount, 0))})
	errs = append(errs, validateParts(path, st.Replicas, st.ReadyReplicas, st.AvailableReplicas, "cannot be greater than status.readyReplicas", ready, current, updated, available)...)
	return append(errs, validateCollisions(st.CollisionCount, old.Status.CollisionCount, path)...)
}
