package core

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidatePodTemplate checks the template from which a controller makes pods.
// Some of what was wrong with old already is let pass; nil if there is none.
func ValidatePodTemplate(t, old *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	var l lenience
	if old != nil {
		l = lenienceFor(&old.Spec, &old.ObjectMeta)
	}
	spec := path.Child("spec")
	errs := ValidateTemplateMeta(t, old, path)
	errs = append(errs, validatePodSpec(&t.Spec, nil, l, spec, false)...)
	errs = append(errs, validateAnnotationsAgree(&t.ObjectMeta, &t.Spec, spec)...)
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

// ValidateTemplateMeta checks a template's labels and annotations alone.
func ValidateTemplateMeta(t, old *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	var l lenience
	if old != nil {
		l = lenienceFor(&old.Spec, &old.ObjectMeta)
	}
	errs := metav1validation.ValidateLabels(t.Labels, path.Child("labels"))
	errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, path.Child("annotations"))...)
	return append(errs, validatePodAnnotations(t.Annotations, &t.Spec, l, path.Child("annotations"))...)
}
