package core

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// ResourceQuota bounds what a namespace may use altogether.
func ResourceQuota() *kind.Kind[*corev1.ResourceQuota] {
	return &kind.Kind[*corev1.ResourceQuota]{
		GVK:           corev1.SchemeGroupVersion.WithKind("ResourceQuota"),
		GenerateName:  kind.PrefixOnCreate,
		Resource:      "resourcequotas",
		ReturnDeleted: true,
		ShortNames:    []string{"quota"},
		New:           func() *corev1.ResourceQuota { return &corev1.ResourceQuota{} },
		NewList:       func() runtime.Object { return &corev1.ResourceQuotaList{} },
		Default: func(q *corev1.ResourceQuota) {
			roundResources(q.Spec.Hard)
			roundResources(q.Status.Hard)
			roundResources(q.Status.Used)
		},
		PrepareForCreate: func(_ context.Context, q *corev1.ResourceQuota) { q.Status = corev1.ResourceQuotaStatus{} },
		PrepareForUpdate: func(_ context.Context, q, old *corev1.ResourceQuota) { q.Status = old.Status },
		Validate:         func(_ context.Context, q *corev1.ResourceQuota) field.ErrorList { return validateQuota(q) },
		ValidateUpdate: func(_ context.Context, q, old *corev1.ResourceQuota) field.ErrorList {
			if sets.New(q.Spec.Scopes...).Equal(sets.New(old.Spec.Scopes...)) {
				return nil
			}
			return field.ErrorList{field.Invalid(field.NewPath("spec", "scopes"), q.Spec.Scopes, apivalidation.FieldImmutableErrorMsg)}
		},
		Columns: []kind.Column[*corev1.ResourceQuota]{
			kind.NameColumn[*corev1.ResourceQuota](),
			{Name: "Request", Type: "string", Description: "Request represents a minimum amount of cpu/memory that a container may consume.",
				Value: func(q *corev1.ResourceQuota) any { return quotaUse(q, false) }},
			{Name: "Limit", Type: "string", Description: "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
				Value: func(q *corev1.ResourceQuota) any { return quotaUse(q, true) }},
			kind.AgeColumn[*corev1.ResourceQuota](),
		},
		Status: &kind.Status[*corev1.ResourceQuota]{
			Prepare: func(_ context.Context, q, old *corev1.ResourceQuota) { q.Spec = old.Spec },
			Validate: func(_ context.Context, q, _ *corev1.ResourceQuota) field.ErrorList {
				status := field.NewPath("status")
				return append(validateResourceList(q.Status.Hard, status.Child("hard"), validateQuotaResourceName),
					validateResourceList(q.Status.Used, status.Child("used"), validateQuotaResourceName)...)
			},
		},
	}
}

func quotaUse(q *corev1.ResourceQuota, limits bool) string {
	var parts []string
	for _, name := range sortedResources(q.Status.Hard) {
		if strings.HasPrefix(string(name), "limits.") == limits {
			used, hard := q.Status.Used[name], q.Status.Hard[name]
			parts = append(parts, fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String()))
		}
	}
	return strings.Join(parts, ", ")
}

func validateQuota(q *corev1.ResourceQuota) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateResourceList(q.Spec.Hard, spec.Child("hard"), validateQuotaResourceName)
	scopes := spec.Child("scopes")
	errs = append(errs, validateQuotaScopes(q.Spec.Scopes, &q.Spec, q.Spec.Scopes, scopes, scopes)...)
	if q.Spec.ScopeSelector != nil {
		errs = append(errs, validateScopeSelector(&q.Spec, spec.Child("scopeSelector", "matchExpressions"))...)
	}
	return errs
}

func validateScopeSelector(s *corev1.ResourceQuotaSpec, path *field.Path) (errs field.ErrorList) {
	var scopes []corev1.ResourceQuotaScope
	for _, r := range s.ScopeSelector.MatchExpressions {
		scopes = append(scopes, r.ScopeName)
		switch r.ScopeName {
		case corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating,
			corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			if r.Operator != corev1.ScopeSelectorOpExists {
				errs = append(errs, field.Invalid(path.Child("operator"), r.Operator,
					"must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
			}
		}
		switch r.Operator {
		case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(path.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
			}
		case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				errs = append(errs, field.Invalid(path.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
			}
		default:
			errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
		}
	}
	return append(errs, validateQuotaScopes(scopes, s, s.ScopeSelector, path, path.Child("scopeName"))...)
}

// validateQuotaScopes checks scopes against the resources; value is what messages show.
func validateQuotaScopes(scopes []corev1.ResourceQuotaScope, s *corev1.ResourceQuotaSpec, value any, path, name *field.Path) (errs field.ErrorList) {
	for _, scope := range scopes {
		switch scope {
		case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort,
			corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopePriorityClass,
			corev1.ResourceQuotaScopeCrossNamespacePodAffinity, corev1.ResourceQuotaScopeVolumeAttributesClass:
		default:
			bad := value
			if path != name {
				bad = scope
			}
			errs = append(errs, field.Invalid(name, bad, "unsupported scope"))
		}
		for _, r := range sortedResources(s.Hard) {
			if isQuotaResource(r) && !scopeCovers(scope, r) {
				errs = append(errs, field.Invalid(path, value, "unsupported scope applied to resource"))
			}
		}
	}
	for _, pair := range [][2]corev1.ResourceQuotaScope{
		{corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort},
		{corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating},
	} {
		if slices.Contains(scopes, pair[0]) && slices.Contains(scopes, pair[1]) {
			errs = append(errs, field.Invalid(path, s.Scopes, "conflicting scopes"))
		}
	}
	return errs
}

// scopeCovers: whether counting a resource within a scope means something.
func scopeCovers(scope corev1.ResourceQuotaScope, r corev1.ResourceName) bool {
	switch scope {
	case corev1.ResourceQuotaScopeBestEffort:
		return r == corev1.ResourcePods
	case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeNotBestEffort,
		corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		switch r {
		case corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory,
			corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory:
			return true
		}
		return false
	case corev1.ResourceQuotaScopeVolumeAttributesClass:
		return r == corev1.ResourcePersistentVolumeClaims || r == corev1.ResourceRequestsStorage
	}
	return true
}
