package storage

import (
	"context"
	"math"

	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

const (
	maxMetadataBytes = 256 << 10
	maxErrorBytes    = 1024
)

type attachment = *storagev1.VolumeAttachment

// VolumeAttachment asks that a volume be attached to a node.
func VolumeAttachment() *kind.Kind[attachment] {
	spec := storagev1.VolumeAttachmentSpec{}.SwaggerDoc()
	return &kind.Kind[attachment]{
		GVK:           storagev1.SchemeGroupVersion.WithKind("VolumeAttachment"),
		Resource:      "volumeattachments",
		GenerateName:  kind.PrefixEverywhere,
		ReturnDeleted: true,
		ClusterScoped: true,
		New:           func() attachment { return &storagev1.VolumeAttachment{} },
		NewList:       func() runtime.Object { return &storagev1.VolumeAttachmentList{} },
		Default: func(a attachment) {
			if s := a.Spec.Source.InlineVolumeSpec; s != nil {
				core.DefaultResourceList(s.Capacity)
				core.DefaultPersistentSource(&s.PersistentVolumeSource)
			}
		},
		PrepareForCreate:          func(_ context.Context, a attachment) { a.Status = storagev1.VolumeAttachmentStatus{} },
		PrepareForUpdate:          func(_ context.Context, a, old attachment) { a.Status = old.Status },
		Validate:                  func(_ context.Context, a attachment) field.ErrorList { return validateAttachment(a) },
		ValidateUpdate:            validateAttachmentSpecKept,
		RefuseUnconditionalUpdate: true,
		Columns: []kind.Column[attachment]{
			kind.NameColumn[attachment](),
			{Name: "Attacher", Type: "string", Format: "name", Description: spec["attacher"], Value: func(a attachment) any { return a.Spec.Attacher }},
			{Name: "PV", Type: "string", Description: storagev1.VolumeAttachmentSource{}.SwaggerDoc()["persistentVolumeName"],
				Value: func(a attachment) any { return ptr.Deref(a.Spec.Source.PersistentVolumeName, "") }},
			{Name: "Node", Type: "string", Description: spec["nodeName"], Value: func(a attachment) any { return a.Spec.NodeName }},
			{Name: "Attached", Type: "boolean", Description: storagev1.VolumeAttachmentStatus{}.SwaggerDoc()["attached"],
				Value: func(a attachment) any { return a.Status.Attached }},
			kind.AgeColumn[attachment](),
		},
		Status: &kind.Status[attachment]{
			ResetFields: []string{"metadata", "spec"},
			Prepare: func(_ context.Context, a, old attachment) {
				a.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&a.ObjectMeta, &old.ObjectMeta)
			},
			Validate: func(ctx context.Context, a, old attachment) field.ErrorList {
				return append(validateAttachment(a), validateAttachmentSpecKept(ctx, a, old)...)
			},
		},
	}
}

func validateAttachmentSpecKept(_ context.Context, a, old attachment) field.ErrorList {
	return core.ValidateImmutable(a.Spec, old.Spec, field.NewPath("spec"))
}

func validateAttachment(a attachment) field.ErrorList {
	spec, status := field.NewPath("spec"), field.NewPath("status")
	errs := validateDriverName(a.Spec.Attacher, spec.Child("attacher"))
	errs = append(errs, validateSource(&a.Spec.Source, spec.Child("source"))...)
	errs = append(errs, core.ValidateDNSSubdomain(a.Spec.NodeName, spec.Child("nodeName"))...)
	if size(a.Status.AttachmentMetadata) > maxMetadataBytes {
		errs = append(errs, field.TooLong(status.Child("attachmentMetadata"), "" /* the value is not shown */, maxMetadataBytes))
	}
	errs = append(errs, validateVolumeError(a.Status.AttachError, status.Child("attachError"))...)
	errs = append(errs, validateVolumeError(a.Status.DetachError, status.Child("detachError"))...)
	if name := a.Spec.Source.PersistentVolumeName; name != nil {
		for _, msg := range apivalidation.NameIsDNSSubdomain(*name, false) {
			errs = append(errs, field.Invalid(field.NewPath("spec.source.persistentVolumeName"), *name, msg))
		}
	}
	return errs
}

func validateSource(s *storagev1.VolumeAttachmentSource, path *field.Path) field.ErrorList {
	const one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
	switch name, inline := s.PersistentVolumeName, s.InlineVolumeSpec; {
	case inline == nil && name == nil:
		return field.ErrorList{field.Required(path, one)}
	case inline != nil && name != nil:
		return field.ErrorList{field.Forbidden(path, one)}
	case inline != nil:
		return core.ValidateInlineVolume(inline, path.Child("inlineVolumeSpec"))
	case *name == "":
		return field.ErrorList{field.Required(path.Child("persistentVolumeName"), "must specify non empty persistentVolumeName")}
	}
	return nil
}

func validateVolumeError(e *storagev1.VolumeError, path *field.Path) (errs field.ErrorList) {
	if e == nil {
		return nil
	}
	if len(e.Message) > maxErrorBytes {
		// The limit named is upstream's.
		errs = append(errs, field.TooLong(path.Child("message"), "" /* the value is not shown */, maxMetadataBytes))
	}
	if e.ErrorCode != nil && *e.ErrorCode < 0 {
		errs = append(errs, field.Invalid(path.Child("errorCode"), *e.ErrorCode, validation.InclusiveRangeError(0, math.MaxInt32)))
	}
	return errs
}
