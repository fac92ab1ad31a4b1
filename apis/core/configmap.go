package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

const immutableSetMsg = "field is immutable when `immutable` is set"

// ConfigMap is configuration data that pods consume.
func ConfigMap() *kind.Kind[*corev1.ConfigMap] {
	return &kind.Kind[*corev1.ConfigMap]{
		GVK:        corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		Resource:   "configmaps",
		ShortNames: []string{"cm"},
		New:        func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		NewList:    func() runtime.Object { return &corev1.ConfigMapList{} },
		Validate: func(_ context.Context, c *corev1.ConfigMap) field.ErrorList {
			return validateConfigMap(c)
		},
		ValidateUpdate: func(_ context.Context, c, old *corev1.ConfigMap) field.ErrorList {
			return validateConfigMapUpdate(c, old)
		},
		Columns: []kind.Column[*corev1.ConfigMap]{
			kind.NameColumn[*corev1.ConfigMap](),
			{Name: "Data", Type: "string", Description: corev1.ConfigMap{}.SwaggerDoc()["data"],
				Value: func(c *corev1.ConfigMap) any { return int64(len(c.Data) + len(c.BinaryData)) }},
			kind.AgeColumn[*corev1.ConfigMap](),
		},
	}
}

func validateConfigMap(c *corev1.ConfigMap) (errs field.ErrorList) {
	size := 0
	check := func(key string, length int, twice bool, here, there string) {
		path := field.NewPath(here).Key(key)
		errs = append(errs, invalidEach(path, key, validation.IsConfigMapKey(key))...)
		if twice {
			errs = append(errs, field.Invalid(path, key, "duplicate of key present in "+there))
		}
		size += length
	}
	for _, key := range sorted(c.Data) {
		_, twice := c.BinaryData[key]
		check(key, len(c.Data[key]), twice, "data", "binaryData")
	}
	for _, key := range sorted(c.BinaryData) {
		_, twice := c.Data[key]
		check(key, len(c.BinaryData[key]), twice, "binaryData", "data")
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize))
	}
	return errs
}

func validateConfigMapUpdate(c, old *corev1.ConfigMap) (errs field.ErrorList) {
	if old.Immutable == nil || !*old.Immutable {
		return nil
	}
	if c.Immutable == nil || !*c.Immutable {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), immutableSetMsg))
	}
	if !equality.Semantic.DeepEqual(c.Data, old.Data) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), immutableSetMsg))
	}
	if !equality.Semantic.DeepEqual(c.BinaryData, old.BinaryData) {
		errs = append(errs, field.Forbidden(field.NewPath("binaryData"), immutableSetMsg))
	}
	return errs
}
