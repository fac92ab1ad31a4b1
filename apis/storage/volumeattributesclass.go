package storage

import (
	"context"
	"reflect"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

type attributesClass = *storagev1.VolumeAttributesClass

// VolumeAttributesClass names attributes that a volume may be changed to (KEP-3751).
func VolumeAttributesClass() *kind.Kind[attributesClass] {
	return &kind.Kind[attributesClass]{
		GVK:           storagev1.SchemeGroupVersion.WithKind("VolumeAttributesClass"),
		Resource:      "volumeattributesclasses",
		ReturnDeleted: true,
		ShortNames:    []string{"vac"},
		ClusterScoped: true,
		New:           func() attributesClass { return &storagev1.VolumeAttributesClass{} },
		NewList:       func() runtime.Object { return &storagev1.VolumeAttributesClassList{} },
		Validate: func(_ context.Context, c attributesClass) field.ErrorList {
			parameters := field.NewPath("parameters")
			errs := validateProvisioner(c.DriverName, field.NewPath("driverName"))
			errs = append(errs, validateParameters(c.Parameters, parameters)...)
			if len(c.Parameters) == 0 {
				errs = append(errs, field.Required(parameters, "must contain at least one key/value pair"))
			}
			return errs
		},
		ValidateUpdate: func(_ context.Context, c, old attributesClass) (errs field.ErrorList) {
			if c.DriverName != old.DriverName {
				errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
			}
			if !reflect.DeepEqual(c.Parameters, old.Parameters) {
				errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
			}
			return errs
		},
		Columns: []kind.Column[attributesClass]{
			kind.NameColumn[attributesClass](),
			{Name: "DriverName", Type: "string", Description: storagev1.VolumeAttributesClass{}.SwaggerDoc()["driverName"],
				Value: func(c attributesClass) any { return c.DriverName }},
			kind.AgeColumn[attributesClass](),
		},
	}
}
