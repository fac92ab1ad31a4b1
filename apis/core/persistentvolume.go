package core

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

// PersistentVolume is a piece of storage that outlives pods.
func PersistentVolume() *kind.Kind[*corev1.PersistentVolume] {
	type pv = *corev1.PersistentVolume
	spec, status := corev1.PersistentVolumeSpec{}.SwaggerDoc(), corev1.PersistentVolumeStatus{}.SwaggerDoc()
	column := func(name, description string, value func(pv) any) kind.Column[pv] {
		return kind.Column[pv]{Name: name, Type: "string", Description: description, Value: value}
	}
	mode := column("VolumeMode", spec["volumeMode"], func(v pv) any { return string(ptr.Deref(v.Spec.VolumeMode, "<unset>")) })
	mode.Priority = 1
	return &kind.Kind[pv]{
		GVK:           corev1.SchemeGroupVersion.WithKind("PersistentVolume"),
		Resource:      "persistentvolumes",
		ReturnDeleted: true,
		ShortNames:    []string{"pv"},
		ClusterScoped: true,
		New:           func() pv { return &corev1.PersistentVolume{} },
		NewList:       func() runtime.Object { return &corev1.PersistentVolumeList{} },
		Default:       defaultPersistentVolume,
		PrepareForCreate: func(_ context.Context, v pv) {
			v.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending, LastPhaseTransitionTime: ptr.To(metav1.Now())}
		},
		PrepareForUpdate: func(_ context.Context, v, old pv) { v.Status = old.Status },
		Validate:         func(_ context.Context, v pv) field.ErrorList { return validatePersistentVolume(v) },
		ValidateUpdate: func(_ context.Context, v, old pv) (errs field.ErrorList) {
			path := field.NewPath("spec")
			if !equality.Semantic.DeepEqual(v.Spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource) {
				errs = append(errs, field.Forbidden(path.Child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation"))
			}
			return append(errs, ValidateImmutable(v.Spec.VolumeMode, old.Spec.VolumeMode, path.Child("volumeMode"))...)
		},
		Columns: []kind.Column[pv]{
			kind.NameColumn[pv](),
			column("Capacity", spec["capacity"], func(v pv) any { return v.Spec.Capacity.Storage().String() }),
			column("Access Modes", spec["accessModes"], func(v pv) any { return accessModes(v.Spec.AccessModes) }),
			column("Reclaim Policy", spec["persistentVolumeReclaimPolicy"], func(v pv) any { return string(v.Spec.PersistentVolumeReclaimPolicy) }),
			column("Status", status["phase"], func(v pv) any {
				if v.DeletionTimestamp != nil {
					return "Terminating"
				}
				return string(v.Status.Phase)
			}),
			column("Claim", spec["claimRef"], func(v pv) any {
				if v.Spec.ClaimRef == nil {
					return ""
				}
				return v.Spec.ClaimRef.Namespace + "/" + v.Spec.ClaimRef.Name
			}),
			column("StorageClass", "StorageClass of the pv", func(v pv) any {
				if class, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
					return class
				}
				return v.Spec.StorageClassName
			}),
			column("VolumeAttributesClass", "VolumeAttributesClass of the pv", func(v pv) any { return ptr.Deref(v.Spec.VolumeAttributesClassName, "<unset>") }),
			column("Reason", status["reason"], func(v pv) any { return v.Status.Reason }),
			kind.AgeColumn[pv](),
			mode,
		},
		Status: &kind.Status[pv]{
			Prepare: func(_ context.Context, v, old pv) {
				v.Spec = old.Spec
				if v.Status.Phase != old.Status.Phase && equality.Semantic.DeepEqual(v.Status.LastPhaseTransitionTime, old.Status.LastPhaseTransitionTime) {
					v.Status.LastPhaseTransitionTime = ptr.To(metav1.Now())
				}
			},
		},
		Fields: map[string]func(pv) string{"name": func(v pv) string { return v.Name }},
	}
}

func defaultPersistentVolume(v *corev1.PersistentVolume) {
	if v.Status.Phase == "" {
		v.Status.Phase = corev1.VolumePending
	}
	if v.Spec.PersistentVolumeReclaimPolicy == "" {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	if v.Spec.VolumeMode == nil {
		v.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeFilesystem)
	}
	roundResources(v.Spec.Capacity)
	if v.Spec.HostPath != nil {
		defaultHostPath(v.Spec.HostPath)
	}
	if v.Spec.ISCSI != nil {
		defaultString(&v.Spec.ISCSI.ISCSIInterface, "default")
	}
}

func validatePersistentVolume(v *corev1.PersistentVolume) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateAccessModes(v.Spec.AccessModes, spec.Child("accessModes"))
	if len(v.Spec.Capacity) == 0 {
		errs = append(errs, field.Required(spec.Child("capacity"), ""))
	}
	if _, ok := v.Spec.Capacity[corev1.ResourceStorage]; !ok || len(v.Spec.Capacity) > 1 {
		errs = append(errs, field.NotSupported(spec.Child("capacity"), v.Spec.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for _, name := range sortedResources(v.Spec.Capacity) {
		path := spec.Child("capacity").Key(string(name))
		errs = append(errs, nonnegativeQuantity(v.Spec.Capacity[name], path)...)
		errs = append(errs, positiveQuantity(v.Spec.Capacity[name], path)...)
	}
	if v.Spec.PersistentVolumeReclaimPolicy != "" {
		errs = append(errs, supported(v.Spec.PersistentVolumeReclaimPolicy, spec.Child("persistentVolumeReclaimPolicy"),
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	}
	sources, path := 0, spec
	source := &v.Spec.PersistentVolumeSource
	count := func(set bool) {
		if set {
			sources++
		}
	}
	count(source.HostPath != nil)
	count(source.NFS != nil)
	count(source.CSI != nil)
	count(source.Local != nil)
	count(source.ISCSI != nil)
	count(source.FC != nil)
	if h := source.HostPath; h != nil {
		errs = append(errs, validateHostPath(h, path.Child("hostPath"))...)
		if strings.TrimRight(h.Path, "/") == "" && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
			errs = append(errs, field.Forbidden(path.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
		}
	}
	if n := source.NFS; n != nil {
		errs = append(errs, validateNFS(n, path.Child("nfs"))...)
	}
	if l := source.Local; l != nil {
		if l.Path == "" {
			errs = append(errs, field.Required(path.Child("local", "path"), ""))
		} else {
			errs = append(errs, validateNoBacksteps(l.Path, path.Child("local", "path"))...)
		}
		if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
			errs = append(errs, field.Required(path.Child("nodeAffinity"), "Local volume requires node affinity"))
		}
	}
	if c := source.CSI; c != nil {
		if c.Driver == "" {
			errs = append(errs, field.Required(path.Child("csi", "driver"), ""))
		}
		if c.VolumeHandle == "" {
			errs = append(errs, field.Required(path.Child("csi", "volumeHandle"), ""))
		}
	}
	switch {
	case *source == (corev1.PersistentVolumeSource{}):
		errs = append(errs, field.Required(path, "must specify a volume type"))
	case sources > 1:
		errs = append(errs, field.Forbidden(path, "may not specify more than 1 volume type"))
	}
	if v.Spec.StorageClassName != "" {
		errs = append(errs, invalidEach(spec.Child("storageClassName"), v.Spec.StorageClassName, apivalidation.NameIsDNSSubdomain(v.Spec.StorageClassName, false))...)
	}
	if v.Spec.VolumeMode != nil {
		errs = append(errs, supported(*v.Spec.VolumeMode, spec.Child("volumeMode"), corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	return errs
}

func validateAccessModes(modes []corev1.PersistentVolumeAccessMode, path *field.Path) (errs field.ErrorList) {
	if len(modes) == 0 {
		errs = append(errs, field.Required(path, ""))
	}
	exclusive := false
	for _, m := range modes {
		errs = append(errs, supported(m, path, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)...)
		exclusive = exclusive || m == corev1.ReadWriteOncePod
	}
	if exclusive && len(modes) > 1 {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}
