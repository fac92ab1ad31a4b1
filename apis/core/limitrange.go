package core

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// LimitRange bounds, and gives defaults for, the resources of a namespace's pods and claims.
func LimitRange() *kind.Kind[*corev1.LimitRange] {
	return &kind.Kind[*corev1.LimitRange]{
		GVK:        corev1.SchemeGroupVersion.WithKind("LimitRange"),
		Resource:   "limitranges",
		ShortNames: []string{"limits"},
		New:        func() *corev1.LimitRange { return &corev1.LimitRange{} },
		NewList:    func() runtime.Object { return &corev1.LimitRangeList{} },
		Default: func(r *corev1.LimitRange) {
			for i := range r.Spec.Limits {
				defaultLimit(&r.Spec.Limits[i])
			}
		},
		// A name need not be given, nor a prefix.
		PrepareForCreate: func(_ context.Context, r *corev1.LimitRange) {
			if r.Name == "" {
				r.Name = string(uuid.NewUUID())
			}
		},
		Validate: func(_ context.Context, r *corev1.LimitRange) (errs field.ErrorList) {
			seen := map[corev1.LimitType]bool{}
			for i := range r.Spec.Limits {
				l, path := &r.Spec.Limits[i], field.NewPath("spec", "limits").Index(i)
				errs = append(errs, validateLimitType(l.Type, path.Child("type"))...)
				if seen[l.Type] {
					errs = append(errs, field.Duplicate(path.Child("type"), l.Type))
				}
				seen[l.Type] = true
				errs = append(errs, validateLimit(l, path)...)
			}
			return errs
		},
	}
}

// defaultLimit: for containers, what is not given follows from what is, limits
// from maxima, requests from limits, then from minima.
func defaultLimit(l *corev1.LimitRangeItem) {
	if l.Type == corev1.LimitTypeContainer {
		if l.Default == nil {
			l.Default = corev1.ResourceList{}
		}
		if l.DefaultRequest == nil {
			l.DefaultRequest = corev1.ResourceList{}
		}
		fill := func(into, from corev1.ResourceList) {
			for name, q := range from {
				if _, set := into[name]; !set {
					into[name] = q.DeepCopy()
				}
			}
		}
		fill(l.Default, l.Max)
		fill(l.DefaultRequest, l.Default)
		fill(l.DefaultRequest, l.Min)
	}
	for _, list := range []corev1.ResourceList{l.Max, l.Min, l.Default, l.DefaultRequest, l.MaxLimitRequestRatio} {
		roundResources(list)
	}
}

func validateLimitType(t corev1.LimitType, path *field.Path) field.ErrorList {
	if errs := invalidEach(path, t, validation.IsQualifiedName(string(t))); len(errs) > 0 {
		return errs
	}
	switch t {
	case corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim:
		return nil
	}
	if strings.Contains(string(t), "/") {
		return nil
	}
	return field.ErrorList{field.Invalid(path, t, "must be a standard limit type or fully qualified")}
}

func validateLimit(l *corev1.LimitRangeItem, path *field.Path) (errs field.ErrorList) {
	name := validateResourceName
	if l.Type == corev1.LimitTypePod || l.Type == corev1.LimitTypeContainer {
		name = validateContainerResourceName
	}
	all := corev1.ResourceList{}
	names := func(list corev1.ResourceList, child string) {
		for _, n := range sortedResources(list) {
			errs = append(errs, name(n, path.Child(child).Key(string(n)))...)
			all[n] = list[n]
		}
	}
	names(l.Max, "max")
	names(l.Min, "min")
	defaults, requests := l.Default, l.DefaultRequest
	if l.Type == corev1.LimitTypePod {
		const msg = "may not be specified when `type` is 'Pod'"
		if len(l.Default) > 0 {
			errs = append(errs, field.Forbidden(path.Child("default"), msg))
		}
		if len(l.DefaultRequest) > 0 {
			errs = append(errs, field.Forbidden(path.Child("defaultRequest"), msg))
		}
		defaults, requests = nil, nil
	} else {
		names(l.Default, "default")
		names(l.DefaultRequest, "defaultRequest")
	}
	if l.Type == corev1.LimitTypePersistentVolumeClaim {
		_, least := l.Min[corev1.ResourceStorage]
		_, most := l.Max[corev1.ResourceStorage]
		if !least && !most {
			errs = append(errs, field.Required(path.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
	}
	names(l.MaxLimitRequestRatio, "maxLimitRequestRatio")

	for _, n := range sortedResources(all) {
		least, hasMin := l.Min[n]
		most, hasMax := l.Max[n]
		def, hasDefault := defaults[n]
		request, hasRequest := requests[n]
		ratio, hasRatio := l.MaxLimitRequestRatio[n]
		// ordered demands that a is not greater than b.
		ordered := func(has bool, child string, bad, a, b resource.Quantity, what, than string) {
			if has && a.Cmp(b) > 0 {
				errs = append(errs, field.Invalid(path.Child(child).Key(string(n)), bad,
					fmt.Sprintf("%s value %s is greater than %s value %s", what, a.String(), than, b.String())))
			}
		}
		ordered(hasMin && hasMax, "min", least, least, most, "min", "max")
		ordered(hasRequest && hasMin, "defaultRequest", request, least, request, "min", "default request")
		ordered(hasRequest && hasMax, "defaultRequest", request, request, most, "default request", "max")
		ordered(hasRequest && hasDefault, "defaultRequest", request, request, def, "default request", "default limit")
		ordered(hasDefault && hasMin, "default", least, least, def, "min", "default")
		ordered(hasDefault && hasMax, "default", most, def, most, "default", "max")
		if hasRatio {
			errs = append(errs, validateLimitRatio(ratio, least, most, hasMin && hasMax, path.Child("maxLimitRequestRatio").Key(string(n)))...)
		}
		if !isOvercommittable(n) && hasDefault && hasRequest && def.Cmp(request) != 0 {
			errs = append(errs, field.Invalid(path.Child("defaultRequest").Key(string(n)), request,
				fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", def.String(), request.String(), n)))
		}
	}
	return errs
}

func validateLimitRatio(ratio, least, most resource.Quantity, bounded bool, path *field.Path) (errs field.ErrorList) {
	if ratio.Cmp(resource.MustParse("1")) < 0 {
		errs = append(errs, field.Invalid(path, ratio, fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	if !bounded {
		return errs
	}
	r, lo, hi := float64(ratio.Value()), least.Value(), most.Value()
	if ratio.Value() < resource.MaxMilliValue && lo < resource.MaxMilliValue && hi < resource.MaxMilliValue {
		r, lo, hi = float64(ratio.MilliValue())/1000, least.MilliValue(), most.MilliValue()
	}
	if limit := float64(hi) / float64(lo); r > limit {
		errs = append(errs, field.Invalid(path, ratio, fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), limit)))
	}
	return errs
}
