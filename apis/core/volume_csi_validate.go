package core

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateCSIDriverName wants a name by which a CSI driver can be known.
func ValidateCSIDriverName(name string, at *field.Path) (errs field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if len(name) > 63 {
		errs = append(errs, field.TooLong(at, "", 63))
	}
	return append(errs, invalidEach(at, name, validation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}

func validateCSIVolume(s *corev1.CSIVolumeSource, at *field.Path) field.ErrorList {
	errs := ValidateCSIDriverName(s.Driver, at.Child("driver"))
	if r := s.NodePublishSecretRef; r != nil {
		if r.Name == "" {
			errs = append(errs, field.Required(at.Child("nodePublishSecretRef", "name"), ""))
		} else {
			errs = append(errs, invalidEach(at.Child("name"), r.Name, apivalidation.NameIsDNSSubdomain(r.Name, false))...)
		}
	}
	return errs
}

func validateCSIPersistent(s *corev1.CSIPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := ValidateCSIDriverName(s.Driver, at.Child("driver"))
	errs = append(errs, required("volumeHandle", s.VolumeHandle)(at)...)
	secret := func(r *corev1.SecretReference, name string) {
		if r != nil {
			errs = append(errs, validateSecretRef(r, at.Child(name))...)
		}
	}
	secret(s.ControllerPublishSecretRef, "controllerPublishSecretRef")
	secret(s.ControllerExpandSecretRef, "controllerExpandSecretRef")
	secret(s.NodePublishSecretRef, "nodePublishSecretRef")
	secret(s.NodeExpandSecretRef, "nodeExpandSecretRef")
	return errs
}

// validateSecretRef checks a reference to a secret of any namespace.
func validateSecretRef(r *corev1.SecretReference, at *field.Path) (errs field.ErrorList) {
	if r.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else {
		errs = append(errs, ValidateDNSSubdomain(r.Name, at.Child("name"))...)
	}
	if r.Namespace == "" {
		return append(errs, field.Required(at.Child("namespace"), ""))
	}
	return append(errs, ValidateDNSLabel(r.Namespace, at.Child("namespace"))...)
}
