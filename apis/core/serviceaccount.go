package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	"proa/apis/authentication"
	"proa/apis/kind"
)

const enforceMountableSecrets = "kubernetes.io/enforce-mountable-secrets"

// ServiceAccount is an identity for processes in pods.
func ServiceAccount() *kind.Kind[*corev1.ServiceAccount] {
	return &kind.Kind[*corev1.ServiceAccount]{
		GVK:              corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
		Resource:         "serviceaccounts",
		ReturnDeleted:    true,
		ShortNames:       []string{"sa"},
		New:              func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} },
		NewList:          func() runtime.Object { return &corev1.ServiceAccountList{} },
		PrepareForCreate: func(_ context.Context, a *corev1.ServiceAccount) { keepSecretNames(a) },
		PrepareForUpdate: func(_ context.Context, a, _ *corev1.ServiceAccount) { keepSecretNames(a) },
		Warnings:         serviceAccountWarnings,
		Columns: []kind.Column[*corev1.ServiceAccount]{
			kind.NameColumn[*corev1.ServiceAccount](),
			kind.AgeColumn[*corev1.ServiceAccount](),
		},
		Extend: func(d *kind.Deps, _ *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
			return nil, map[string]rest.Storage{"token": authentication.NewTokenREST(d)}, nil
		},
	}
}

// keepSecretNames: a reference to a secret is its name only.
func keepSecretNames(a *corev1.ServiceAccount) {
	for i := range a.Secrets {
		a.Secrets[i] = corev1.ObjectReference{Name: a.Secrets[i].Name}
	}
}

func serviceAccountWarnings(_ context.Context, a, old *corev1.ServiceAccount) []string {
	if _, has := a.Annotations[enforceMountableSecrets]; !has {
		return nil
	}
	if old != nil {
		if _, had := old.Annotations[enforceMountableSecrets]; had {
			return nil
		}
	}
	path := field.NewPath("metadata", "annotations").Key(enforceMountableSecrets)
	return []string{path.String() + ": deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"}
}
