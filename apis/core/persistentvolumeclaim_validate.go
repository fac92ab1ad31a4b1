package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// ValidateClaimSpec checks the spec of a claim or of a template of one. What was
// wrong with old already is let pass; nil if there is none.
func ValidateClaimSpec(s, old *corev1.PersistentVolumeClaimSpec, path *field.Path) (errs field.ErrorList) {
	selector := metav1validation.LabelSelectorValidationOptions{}
	anyGroup := false
	if old != nil {
		selector.AllowInvalidLabelValueInSelector = len(metav1validation.ValidateLabelSelector(old.Selector, selector, nil)) > 0
		anyGroup = old.DataSource != nil && old.DataSource.APIGroup != nil || old.DataSourceRef != nil && old.DataSourceRef.APIGroup != nil
	}
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), "at least 1 access mode is required"))
	}
	if s.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, selector, path.Child("selector"))...)
	}
	errs = append(errs, validateAccessModes(s.AccessModes, path.Child("accessModes"))...)
	storage := path.Child("resources").Key(string(corev1.ResourceStorage))
	if q, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(storage, ""))
	} else {
		errs = append(errs, positiveQuantity(q, storage)...)
	}
	if c := ptr.Deref(s.StorageClassName, ""); c != "" {
		errs = append(errs, invalidEach(path.Child("storageClassName"), c, apivalidation.NameIsDNSSubdomain(c, false))...)
	}
	if s.VolumeMode != nil {
		errs = append(errs, supported(*s.VolumeMode, path.Child("volumeMode"), corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	errs = append(errs, validateClaimSources(s, anyGroup, path)...)
	if c := ptr.Deref(s.VolumeAttributesClassName, ""); c != "" {
		errs = append(errs, invalidEach(path.Child("volumeAttributesClassName"), c, apivalidation.NameIsDNSSubdomain(c, false))...)
	}
	return errs
}

func validateClaimSources(s *corev1.PersistentVolumeClaimSpec, anyGroup bool, path *field.Path) (errs field.ErrorList) {
	source := func(group *string, kind, name string, at *field.Path) {
		errs = append(errs, required("name", name, "kind", kind)(at)...)
		switch g := ptr.Deref(group, ""); {
		case g == "" && kind != "PersistentVolumeClaim":
			errs = append(errs, field.Invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
		case g != "" && !anyGroup:
			errs = append(errs, invalidEach(at.Child("apiGroup"), g, validation.IsDNS1123Subdomain(g))...)
		}
	}
	d, r := s.DataSource, s.DataSourceRef
	if d != nil {
		source(d.APIGroup, d.Kind, d.Name, path.Child("dataSource"))
	}
	namespace := ""
	if r != nil {
		source(r.APIGroup, r.Kind, r.Name, path.Child("dataSourceRef"))
		if namespace = ptr.Deref(r.Namespace, ""); namespace != "" {
			errs = append(errs, invalidEach(path.Child("dataSourceRef", "namespace"), namespace, apivalidation.ValidateNamespaceName(namespace, false))...)
		}
	}
	switch {
	case d == nil || r == nil:
	case namespace != "":
		errs = append(errs, field.Invalid(path, path.Child("dataSource"), "may not be specified when dataSourceRef.namespace is specified"))
	case !ptr.Equal(d.APIGroup, r.APIGroup) || d.Kind != r.Kind || d.Name != r.Name:
		errs = append(errs, field.Invalid(path, path.Child("dataSource"), "must match dataSourceRef"))
	}
	return errs
}

// validateClaimUpdate: a bound claim may only grow and change its attributes' class.
func validateClaimUpdate(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	spec := field.NewPath("spec")
	was, now := old.Spec.DeepCopy(), c.Spec.DeepCopy()
	agreeSources(was) // claims of old servers
	errs := append(ValidateMeta(c, true), ValidateClaimSpec(&c.Spec, was, spec)...)
	if was.VolumeName == "" {
		was.VolumeName = now.VolumeName // binding sets it once
	}
	errs = append(errs, validateClassChange(c, old, now, was)...)
	if c.Status.Phase == corev1.ClaimBound {
		if now.Resources.Requests != nil {
			now.Resources.Requests[corev1.ResourceStorage] = old.Spec.Resources.Requests[corev1.ResourceStorage]
		}
		now.VolumeAttributesClassName = was.VolumeAttributesClassName
	}
	if !equality.Semantic.DeepEqual(now, was) {
		errs = append(errs, field.Forbidden(spec, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"+diff.Diff(was, now)))
	}
	// Shrinking is how one gives up an expansion that failed (KEP-1790).
	size, before, has := c.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage], old.Status.Capacity[corev1.ResourceStorage]
	if size.Cmp(before) < 0 && size.Cmp(has) <= 0 {
		errs = append(errs, field.Forbidden(spec.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
	}
	errs = append(errs, ValidateImmutable(c.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	class := c.Spec.VolumeAttributesClassName
	if !ptr.Equal(class, old.Spec.VolumeAttributesClassName) && old.Status.CurrentVolumeAttributesClassName != nil {
		switch at := spec.Child("volumeAttributesClassName"); {
		case class == nil:
			errs = append(errs, field.Forbidden(at, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil"))
		case *class == "":
			errs = append(errs, field.Forbidden(at, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil"))
		}
	}
	return errs
}

// validateClassChange: a claim gets its storage class once; it may move from the
// old annotation to the field. What is allowed it makes equal in now and was.
func validateClassChange(c, old *corev1.PersistentVolumeClaim, now, was *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	annotated, found := old.Annotations[corev1.BetaStorageClassAnnotation]
	annotation, kept := c.Annotations[corev1.BetaStorageClassAnnotation]
	class, fresh := c.Spec.StorageClassName, old.Spec.StorageClassName == nil
	if found && fresh && class != nil && *class == annotated && (!kept || annotation == annotated) {
		now.StorageClassName = nil
		return nil
	}
	if fresh && class != nil && (!found || *class == annotated) {
		now.StorageClassName = was.StorageClassName
	}
	if annotation != annotated {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations", corev1.BetaStorageClassAnnotation), annotation, apivalidation.FieldImmutableErrorMsg)}
	}
	return nil
}

func validateClaimStatus(c *corev1.PersistentVolumeClaim) (errs field.ErrorList) {
	if len(c.Spec.AccessModes) == 0 {
		errs = append(errs, field.Required(field.NewPath("Spec", "accessModes"), ""))
	}
	s, path := &c.Status, field.NewPath("status")
	for _, name := range sortedResources(s.Capacity) {
		errs = append(errs, basicQuantity(s.Capacity[name], path.Child("capacity").Key(string(name)))...)
	}
	states := []corev1.ClaimResourceStatus{corev1.PersistentVolumeClaimControllerResizeInfeasible, corev1.PersistentVolumeClaimControllerResizeInProgress,
		corev1.PersistentVolumeClaimNodeResizeInfeasible, corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizePending}
	at := path.Child("allocatedResourceStatuses")
	for _, name := range sortedKeys(s.AllocatedResourceStatuses) {
		errs = append(errs, validateClaimResource(name, at)...)
		if len(supported(s.AllocatedResourceStatuses[name], at, states...)) > 0 {
			errs = append(errs, field.NotSupported(at, name, states))
		}
	}
	at = path.Child("allocatedResources")
	for _, name := range sortedResources(s.AllocatedResources) {
		if bad := validateClaimResource(name, at); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		errs = append(errs, basicQuantity(s.AllocatedResources[name], at.Key(string(name)))...)
	}
	return errs
}

// validateClaimResource: of the resources without a domain, claims have storage.
func validateClaimResource(name corev1.ResourceName, at *field.Path) field.ErrorList {
	if errs := invalidEach(at, string(name), validation.IsQualifiedName(string(name))); len(errs) > 0 {
		return errs
	}
	if isNativeResource(name) && name != corev1.ResourceStorage {
		return field.ErrorList{field.NotSupported(at, string(name), []corev1.ResourceName{corev1.ResourceStorage})}
	}
	return nil
}
