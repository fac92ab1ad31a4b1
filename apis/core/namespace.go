package core

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// Namespace is a scope for names. Its deletion is a process: namespace_rest.go.
func Namespace() *kind.Kind[*corev1.Namespace] {
	phase := func(n *corev1.Namespace) string { return string(n.Status.Phase) }
	return &kind.Kind[*corev1.Namespace]{
		GVK:           corev1.SchemeGroupVersion.WithKind("Namespace"),
		Resource:      "namespaces",
		ShortNames:    []string{"ns"},
		ClusterScoped: true,
		New:           func() *corev1.Namespace { return &corev1.Namespace{} },
		NewList:       func() runtime.Object { return &corev1.NamespaceList{} },
		Default:       defaultNamespace,
		// A generated name is not known yet when defaults are set.
		Canonicalize: labelNamespace,
		PrepareForCreate: func(_ context.Context, n *corev1.Namespace) {
			n.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
			if !slices.Contains(n.Spec.Finalizers, corev1.FinalizerKubernetes) {
				n.Spec.Finalizers = append(n.Spec.Finalizers, corev1.FinalizerKubernetes)
			}
		},
		PrepareForUpdate: func(_ context.Context, n, old *corev1.Namespace) {
			n.Spec.Finalizers = old.Spec.Finalizers
			n.Status = old.Status
		},
		ValidateName: apivalidation.ValidateNamespaceName,
		Validate: func(_ context.Context, n *corev1.Namespace) field.ErrorList {
			return validateNamespaceFinalizers(n.Spec.Finalizers, false)
		},
		Columns: []kind.Column[*corev1.Namespace]{
			kind.NameColumn[*corev1.Namespace](),
			{Name: "Status", Type: "string", Description: "The status of the namespace",
				Value: func(n *corev1.Namespace) any { return phase(n) }},
			kind.AgeColumn[*corev1.Namespace](),
		},
		Fields: map[string]func(*corev1.Namespace) string{
			"status.phase": phase,
		},
		Status: &kind.Status[*corev1.Namespace]{
			Prepare:  func(_ context.Context, n, old *corev1.Namespace) { n.Spec = old.Spec },
			Validate: func(_ context.Context, n, _ *corev1.Namespace) field.ErrorList { return validateNamespacePhase(n) },
		},
		Extend: extendNamespace,
	}
}

func defaultNamespace(n *corev1.Namespace) {
	if n.Name != "" {
		labelNamespace(n)
	}
	if n.Status.Phase == "" {
		n.Status.Phase = corev1.NamespaceActive
	}
}

func labelNamespace(n *corev1.Namespace) {
	if n.Labels[corev1.LabelMetadataName] == n.Name {
		return
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	n.Labels[corev1.LabelMetadataName] = n.Name
}

func validateNamespaceFinalizers(finalizers []corev1.FinalizerName, indexed bool) (errs field.ErrorList) {
	for i, f := range finalizers {
		path := field.NewPath("spec", "finalizers")
		if indexed {
			path = path.Index(i)
		}
		errs = append(errs, ValidateQualifiedName(string(f), path)...)
		standard := f == corev1.FinalizerKubernetes || f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
		if !strings.Contains(string(f), "/") && !standard {
			errs = append(errs, field.Invalid(path, string(f), "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

func validateNamespacePhase(n *corev1.Namespace) field.ErrorList {
	want, when := corev1.NamespaceActive, "empty"
	if n.DeletionTimestamp != nil {
		want, when = corev1.NamespaceTerminating, "not empty"
	}
	if n.Status.Phase == want {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("status", "Phase"), n.Status.Phase,
		fmt.Sprintf("may only be '%s' if `deletionTimestamp` is %s", want, when))}
}
