// Package node holds the kinds of group node.k8s.io.
package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
	"proa/apis/kind"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any { return []kind.Any{RuntimeClass()} }

type runtimeClass = *nodev1.RuntimeClass

// RuntimeClass names a way in which nodes run containers.
func RuntimeClass() *kind.Kind[runtimeClass] {
	return &kind.Kind[runtimeClass]{
		GVK:           nodev1.SchemeGroupVersion.WithKind("RuntimeClass"),
		Resource:      "runtimeclasses",
		ClusterScoped: true,
		New:           func() runtimeClass { return &nodev1.RuntimeClass{} },
		NewList:       func() runtime.Object { return &nodev1.RuntimeClassList{} },
		Validate:      func(_ context.Context, c runtimeClass) field.ErrorList { return validateRuntimeClass(c) },
		ValidateUpdate: func(_ context.Context, c, old runtimeClass) field.ErrorList {
			return core.ValidateImmutable(c.Handler, old.Handler, field.NewPath("handler"))
		},
		Warnings:                  func(_ context.Context, c, _ runtimeClass) []string { return warnings(c) },
		AllowCreateOnUpdate:       true,
		RefuseUnconditionalUpdate: true,
		Columns: []kind.Column[runtimeClass]{
			kind.NameColumn[runtimeClass](),
			{Name: "Handler", Type: "string", Value: func(c runtimeClass) any { return c.Handler }},
			kind.AgeColumn[runtimeClass](),
		},
	}
}

func validateRuntimeClass(c runtimeClass) (errs field.ErrorList) {
	handler := field.NewPath("handler")
	if c.Handler == "" {
		errs = append(errs, field.Required(handler, ""))
	} else {
		errs = append(errs, core.ValidateDNSLabel(c.Handler, handler)...)
	}
	if c.Overhead != nil {
		errs = append(errs, core.ValidateContainerLimits(c.Overhead.PodFixed, field.NewPath("overhead"))...)
	}
	if s := c.Scheduling; s != nil {
		path := field.NewPath("scheduling")
		errs = append(errs, metav1validation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
		errs = append(errs, validateTolerations(s.Tolerations, path.Child("tolerations"))...)
	}
	return errs
}

func validateTolerations(list []corev1.Toleration, path *field.Path) field.ErrorList {
	errs := core.ValidateTolerations(list, path)
	type key struct{ key, operator, value, effect string }
	seen := map[key]bool{}
	for i, t := range list {
		k := key{t.Key, string(t.Operator), t.Value, string(t.Effect)}
		if seen[k] {
			errs = append(errs, field.Duplicate(path.Index(i), t))
		}
		seen[k] = true
	}
	return errs
}

func warnings(c runtimeClass) (list []string) {
	if c.Scheduling == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(c.Scheduling.NodeSelector)) {
		if msg := core.DeprecatedNodeLabel(key); msg != "" {
			list = append(list, fmt.Sprintf("%s: %s", field.NewPath("scheduling", "nodeSelector"), msg))
		}
	}
	return list
}
