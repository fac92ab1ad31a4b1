package core

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Volumes that are block devices. Pods and persistent volumes describe most of
// them by types of their own with the same fields, so the checks take values.

const longInitiatorMsg = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."

// How the iSCSI names of initiators and targets look (RFC 3720, 3.2.6.3).
var (
	iqnName = regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`)
	euiName = regexp.MustCompile(`^eui.[[:alnum:]]{16}$`)
	naaName = regexp.MustCompile(`^naa.[[:alnum:]]{32}$`)
)

func validateISCSI(s *corev1.ISCSIVolumeSource, at *field.Path) field.ErrorList {
	const starts = "must be valid format starting with iqn, eui, or naa"
	errs := required("targetPortal", s.TargetPortal)(at)
	errs = append(errs, validateTarget(s.IQN, s.Lun, (s.DiscoveryCHAPAuth || s.SessionCHAPAuth) && s.SecretRef == nil, starts, at)...)
	return append(errs, validateInitiator(s.InitiatorName, starts, at)...)
}

func validateISCSIPersistent(s *corev1.ISCSIPersistentVolumeSource, volume string, at *field.Path) field.ErrorList {
	const starts = "must be valid format"
	errs := required("targetPortal", s.TargetPortal)(at)
	if s.InitiatorName != nil && len(volume)+1+len(s.TargetPortal) > 64 {
		errs = append(errs, field.Invalid(at.Child("targetportal"), s.TargetPortal, longInitiatorMsg))
	}
	errs = append(errs, validateTarget(s.IQN, s.Lun, (s.DiscoveryCHAPAuth || s.SessionCHAPAuth) && s.SecretRef == nil, starts, at)...)
	if s.SecretRef != nil {
		errs = append(errs, required("name", s.SecretRef.Name)(at.Child("secretRef"))...)
	}
	return append(errs, validateInitiator(s.InitiatorName, starts, at)...)
}

func validateTarget(iqn string, lun int32, secretMissing bool, starts string, at *field.Path) (errs field.ErrorList) {
	if iqn == "" {
		errs = append(errs, field.Required(at.Child("iqn"), ""))
	} else {
		errs = append(errs, validateISCSIName(iqn, starts, at.Child("iqn"))...)
	}
	errs = append(errs, validateLun(lun, at.Child("lun"))...)
	if secretMissing {
		errs = append(errs, field.Required(at.Child("secretRef"), ""))
	}
	return errs
}

func validateInitiator(name *string, starts string, at *field.Path) field.ErrorList {
	if name == nil {
		return nil
	}
	return validateISCSIName(*name, starts, at.Child("initiatorname"))
}

func validateISCSIName(name, starts string, at *field.Path) field.ErrorList {
	for prefix, format := range map[string]*regexp.Regexp{"iqn": iqnName, "eui": euiName, "naa": naaName} {
		if strings.HasPrefix(name, prefix) {
			if format.MatchString(name) {
				return nil
			}
			return field.ErrorList{field.Invalid(at, name, "must be valid format")}
		}
	}
	return field.ErrorList{field.Invalid(at, name, starts)}
}

func validateLun(lun int32, at *field.Path) field.ErrorList {
	if lun < 0 || lun > 255 {
		return field.ErrorList{field.Invalid(at, lun, validation.InclusiveRangeError(0, 255))}
	}
	return nil
}

func validateFC(s *corev1.FCVolumeSource, at *field.Path) (errs field.ErrorList) {
	targets := at.Child("targetWWNs")
	switch named, wide := len(s.TargetWWNs) > 0, len(s.WWIDs) > 0; {
	case !named && !wide:
		errs = append(errs, field.Required(targets, "must specify either targetWWNs or wwids, but not both"))
	case named && wide:
		errs = append(errs, field.Invalid(targets, s.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if len(s.TargetWWNs) == 0 {
		return errs
	}
	if s.Lun == nil {
		return append(errs, field.Required(at.Child("lun"), "lun is required if targetWWNs is specified"))
	}
	return append(errs, validateLun(*s.Lun, at.Child("lun"))...)
}

func validateGCE(s *corev1.GCEPersistentDiskVolumeSource, at *field.Path) field.ErrorList {
	return append(required("pdName", s.PDName)(at), validatePartition(s.Partition, at)...)
}

func validateAWS(s *corev1.AWSElasticBlockStoreVolumeSource, at *field.Path) field.ErrorList {
	return append(required("volumeID", s.VolumeID)(at), validatePartition(s.Partition, at)...)
}

func validatePartition(n int32, at *field.Path) field.ErrorList {
	if n < 0 || n > 255 {
		return field.ErrorList{field.Invalid(at.Child("partition"), n, validation.InclusiveRangeError(1, 255))}
	}
	return nil
}

func validateAzureDisk(s *corev1.AzureDiskVolumeSource, at *field.Path) field.ErrorList {
	errs := required("diskName", s.DiskName, "diskURI", s.DataDiskURI)(at)
	if m := s.CachingMode; m != nil {
		errs = append(errs, supported(*m, at.Child("cachingMode"), corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)...)
	}
	if s.Kind == nil {
		return errs
	}
	errs = append(errs, supported(*s.Kind, at.Child("kind"), corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk)...)
	prefix, format := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *s.Kind == corev1.AzureManagedDisk {
		prefix, format = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(s.DataDiskURI, prefix) {
		errs = append(errs, field.NotSupported(at.Child("diskURI"), s.DataDiskURI, []string{format}))
	}
	return errs
}

func validateRBD(monitors []string, image string, at *field.Path) field.ErrorList {
	return append(validateMonitors(monitors, at), required("image", image)(at)...)
}

func validateMonitors(monitors []string, at *field.Path) field.ErrorList {
	if len(monitors) == 0 {
		return field.ErrorList{field.Required(at.Child("monitors"), "")}
	}
	return nil
}

// validateFlex: options in namespaces of the project's are its own.
func validateFlex(driver string, options map[string]string, at *field.Path) field.ErrorList {
	errs := required("driver", driver)(at)
	for _, key := range sorted(options) {
		namespace, _, _ := strings.Cut(key, "/")
		namespace = "." + strings.ToLower(namespace)
		if strings.HasSuffix(namespace, ".kubernetes.io") || strings.HasSuffix(namespace, ".k8s.io") {
			errs = append(errs, field.Invalid(at.Child("options").Key(key), key, "kubernetes.io and k8s.io namespaces are reserved"))
		}
	}
	return errs
}

func validateStorageOS(name, namespace string, at *field.Path) field.ErrorList {
	errs := required("volumeName", name)(at)
	if name != "" {
		errs = append(errs, ValidateDNSLabel(name, at.Child("volumeName"))...)
	}
	if namespace != "" {
		errs = append(errs, ValidateDNSLabel(namespace, at.Child("volumeNamespace"))...)
	}
	return errs
}

// validateLocalRef wants a reference to a secret of the pod's namespace to have a name.
func validateLocalRef(r *corev1.LocalObjectReference, at *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	return required("name", r.Name)(at.Child("secretRef"))
}
