package core

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// validatePersistentVolume checks a volume; old is nil on create.
func validatePersistentVolume(v, old *corev1.PersistentVolume) field.ErrorList {
	return append(validatePersistentVolumeSpec(v, old), validateMountOptions(v)...)
}

func validatePersistentVolumeSpec(v, old *corev1.PersistentVolume) field.ErrorList {
	s, spec := &v.Spec, field.NewPath("spec")
	errs := field.ErrorList{}
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(spec.Child("accessModes"), ""))
	}
	errs = append(errs, validateAccessModes(s.AccessModes, spec.Child("accessModes"))...)
	errs = append(errs, validateCapacity(s.Capacity, spec.Child("capacity"))...)
	if s.PersistentVolumeReclaimPolicy != "" {
		errs = append(errs, supported(s.PersistentVolumeReclaimPolicy, spec.Child("persistentVolumeReclaimPolicy"),
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	}
	if a := s.NodeAffinity; a != nil {
		required := spec.Child("nodeAffinity", "required")
		if a.Required == nil {
			errs = append(errs, field.Required(required, "must specify required node constraints"))
		} else {
			lenient := old != nil && old.Spec.NodeAffinity != nil && hasInvalidNodeValues(old.Spec.NodeAffinity.Required)
			errs = append(errs, validateNodeSelector(a.Required, lenient, required)...)
		}
	}
	errs = append(errs, validatePersistentSource(v.Name, s, spec)...)
	if h := s.HostPath; h != nil && path.Clean(h.Path) == "/" && s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(spec.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	if s.StorageClassName != "" {
		errs = append(errs, invalidEach(spec.Child("storageClassName"), s.StorageClassName, apivalidation.NameIsDNSSubdomain(s.StorageClassName, false))...)
	}
	if s.VolumeMode != nil {
		errs = append(errs, supported(*s.VolumeMode, spec.Child("volumeMode"), corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	if c := s.VolumeAttributesClassName; c != nil {
		class := spec.Child("volumeAttributesClassName")
		if *c == "" {
			errs = append(errs, field.Required(class, "an empty string is disallowed"))
		} else {
			errs = append(errs, invalidEach(class, *c, apivalidation.NameIsDNSSubdomain(*c, false))...)
		}
		if s.CSI == nil {
			errs = append(errs, field.Required(spec.Child("csi"), "has to be specified when using volumeAttributesClassName"))
		}
	}
	return errs
}

func validateCapacity(l corev1.ResourceList, at *field.Path) (errs field.ErrorList) {
	if len(l) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if _, ok := l[corev1.ResourceStorage]; !ok || len(l) > 1 {
		errs = append(errs, field.NotSupported(at, l, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for _, name := range sortedResources(l) {
		errs = append(errs, basicQuantity(l[name], at.Key(string(name)))...)
		errs = append(errs, positiveQuantity(l[name], at.Key(string(name)))...)
	}
	return errs
}

// validatePersistentSource checks that a volume has one source, and that source.
func validatePersistentSource(name string, p *corev1.PersistentVolumeSpec, spec *field.Path) field.ErrorList {
	s := &volumeSources{volume: spec}
	s.one(p.HostPath != nil, "hostPath", "hostPath", func(at *field.Path) field.ErrorList { return validateHostPath(p.HostPath, at) })
	s.one(p.GCEPersistentDisk != nil, "gcePersistentDisk", "persistentDisk", func(at *field.Path) field.ErrorList { return validateGCE(p.GCEPersistentDisk, at) })
	s.one(p.AWSElasticBlockStore != nil, "awsElasticBlockStore", "awsElasticBlockStore", func(at *field.Path) field.ErrorList { return validateAWS(p.AWSElasticBlockStore, at) })
	s.one(p.Glusterfs != nil, "glusterfs", "glusterfs", func(at *field.Path) field.ErrorList { return validateGlusterfsPersistent(p.Glusterfs, at) })
	s.one(p.Flocker != nil, "flocker", "flocker", func(at *field.Path) field.ErrorList { return validateFlocker(p.Flocker, at) })
	s.one(p.NFS != nil, "nfs", "nfs", func(at *field.Path) field.ErrorList { return validateNFS(p.NFS, at) })
	s.one(p.RBD != nil, "rbd", "rbd", func(at *field.Path) field.ErrorList { return validateRBD(p.RBD.CephMonitors, p.RBD.RBDImage, at) })
	s.one(p.Quobyte != nil, "quobyte", "quobyte", func(at *field.Path) field.ErrorList { return validateQuobyte(p.Quobyte, at) })
	s.one(p.CephFS != nil, "cephFS", "cephfs", func(at *field.Path) field.ErrorList { return validateMonitors(p.CephFS.Monitors, at) })
	s.one(p.ISCSI != nil, "iscsi", "iscsi", func(at *field.Path) field.ErrorList { return validateISCSIPersistent(p.ISCSI, name, at) })
	s.one(p.Cinder != nil, "cinder", "cinder", func(at *field.Path) field.ErrorList {
		errs := required("volumeID", p.Cinder.VolumeID)(at)
		if r := p.Cinder.SecretRef; r != nil {
			errs = append(errs, required("name", r.Name, "namespace", r.Namespace)(at.Child("secretRef"))...)
		}
		return errs
	})
	s.one(p.FC != nil, "fc", "fc", func(at *field.Path) field.ErrorList { return validateFC(p.FC, at) })
	if p.FlexVolume != nil { // nobody ever refused it beside another source
		s.found = true
		s.errs = append(s.errs, validateFlex(p.FlexVolume.Driver, p.FlexVolume.Options, spec.Child("flexVolume"))...)
	}
	s.one(p.AzureFile != nil, "azureFile", "azureFile", func(at *field.Path) field.ErrorList {
		errs := required("secretName", p.AzureFile.SecretName, "shareName", p.AzureFile.ShareName)(at)
		return append(errs, required("secretNamespace", ptr.Deref(p.AzureFile.SecretNamespace, "unset"))(at)...)
	})
	s.one(p.VsphereVolume != nil, "vsphereVolume", "vsphereVolume", func(at *field.Path) field.ErrorList {
		return required("volumePath", p.VsphereVolume.VolumePath)(at)
	})
	s.one(p.PhotonPersistentDisk != nil, "photonPersistentDisk", "photonPersistentDisk", func(at *field.Path) field.ErrorList {
		return required("pdID", p.PhotonPersistentDisk.PdID)(at)
	})
	s.one(p.PortworxVolume != nil, "portworxVolume", "portworxVolume", func(at *field.Path) field.ErrorList {
		return required("volumeID", p.PortworxVolume.VolumeID)(at)
	})
	s.one(p.AzureDisk != nil, "azureDisk", "azureDisk", func(at *field.Path) field.ErrorList { return validateAzureDisk(p.AzureDisk, at) })
	s.one(p.ScaleIO != nil, "scaleIO", "scaleIO", func(at *field.Path) field.ErrorList {
		return required("gateway", p.ScaleIO.Gateway, "system", p.ScaleIO.System, "volumeName", p.ScaleIO.VolumeName)(at)
	})
	s.one(p.Local != nil, "local", "local", func(at *field.Path) (errs field.ErrorList) {
		if p.Local.Path == "" {
			errs = append(errs, field.Required(at.Child("path"), ""))
		} else {
			errs = append(errs, validateNoBacksteps(p.Local.Path, at.Child("path"))...)
		}
		if p.NodeAffinity == nil {
			errs = append(errs, field.Required(spec.Child("nodeAffinity"), "Local volume requires node affinity"))
		}
		return errs
	})
	s.one(p.StorageOS != nil, "storageos", "storageos", func(at *field.Path) field.ErrorList {
		errs := validateStorageOS(p.StorageOS.VolumeName, p.StorageOS.VolumeNamespace, at)
		if r := p.StorageOS.SecretRef; r != nil {
			errs = append(errs, required("name", r.Name, "namespace", r.Namespace)(at.Child("secretRef"))...)
		}
		return errs
	})
	s.one(p.CSI != nil, "csi", "csi", func(at *field.Path) field.ErrorList { return validateCSIPersistent(p.CSI, at) })
	return s.end()
}

func validateGlusterfsPersistent(s *corev1.GlusterfsPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := required("endpoints", s.EndpointsName, "path", s.Path)(at)
	if n := s.EndpointsNamespace; n != nil {
		namespace := at.Child("endpointsNamespace")
		if *n == "" {
			return append(errs, field.Invalid(namespace, *n, "if the endpointnamespace is set, it must be a valid namespace name"))
		}
		errs = append(errs, invalidEach(namespace, *n, apivalidation.ValidateNamespaceName(*n, false))...)
	}
	return errs
}

// validateMountOptions: the annotation that is older than the field is for few sources.
func validateMountOptions(v *corev1.PersistentVolume) field.ErrorList {
	s := &v.Spec
	if s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.Glusterfs != nil || s.NFS != nil || s.RBD != nil ||
		s.Quobyte != nil || s.ISCSI != nil || s.Cinder != nil || s.CephFS != nil || s.AzureFile != nil ||
		s.VsphereVolume != nil || s.AzureDisk != nil || s.PhotonPersistentDisk != nil {
		return nil
	}
	if _, ok := v.Annotations[corev1.MountOptionAnnotation]; ok {
		return field.ErrorList{field.Forbidden(field.NewPath("metadata", "annotations", corev1.MountOptionAnnotation), "may not specify mount options for this volume type")}
	}
	return nil
}

// validatePersistentVolumeChange: a volume is what it is.
func validatePersistentVolumeChange(v, old *corev1.PersistentVolume) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	source, was := v.Spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource
	// A driver that learned to expand volumes may be given its secret.
	if was.CSI != nil && was.CSI.ControllerExpandSecretRef == nil && source.CSI != nil && source.CSI.ControllerExpandSecretRef != nil {
		source.CSI = source.CSI.DeepCopy()
		source.CSI.ControllerExpandSecretRef = nil
	}
	if !equality.Semantic.DeepEqual(source, was) {
		errs = append(errs, field.Forbidden(spec.Child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation\n"+diff.Diff(was, source)))
	}
	errs = append(errs, ValidateImmutable(v.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	if old.Spec.NodeAffinity != nil && !sameNodes(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(field.NewPath("nodeAffinity"), v.Spec.NodeAffinity, apivalidation.FieldImmutableErrorMsg+", except for updating from beta label to GA"))
	}
	if old.Spec.VolumeAttributesClassName != nil && v.Spec.VolumeAttributesClassName == nil {
		errs = append(errs, field.Forbidden(spec.Child("volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

// sameNodes compares affinities, except that labels may have got their final names.
func sameNodes(now, was *corev1.VolumeNodeAffinity) bool {
	if now == nil || now.Required == nil || was.Required == nil || len(now.Required.NodeSelectorTerms) != len(was.Required.NodeSelectorTerms) {
		return equality.Semantic.DeepEqual(now, was)
	}
	final := map[string]string{
		corev1.LabelFailureDomainBetaZone:   corev1.LabelTopologyZone,
		corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
		"beta.kubernetes.io/os":             corev1.LabelOSStable,
		"beta.kubernetes.io/arch":           corev1.LabelArchStable,
		corev1.LabelInstanceType:            corev1.LabelInstanceTypeStable,
	}
	was = was.DeepCopy()
	for i := range was.Required.NodeSelectorTerms {
		rename := func(before, after []corev1.NodeSelectorRequirement) {
			for j := range before {
				if j < len(after) && final[before[j].Key] == after[j].Key {
					before[j].Key = after[j].Key
				}
			}
		}
		before, after := &was.Required.NodeSelectorTerms[i], &now.Required.NodeSelectorTerms[i]
		rename(before.MatchExpressions, after.MatchExpressions)
		rename(before.MatchFields, after.MatchFields)
	}
	return equality.Semantic.DeepEqual(now, was)
}

// requireVersion: the status of volumes and claims is not overwritten blindly.
func requireVersion(o metav1.Object) field.ErrorList {
	if o.GetResourceVersion() == "" {
		return field.ErrorList{field.Required(field.NewPath("resourceVersion"), "")}
	}
	return nil
}

// validateAccessModes checks how volumes may be attached.
func validateAccessModes(modes []corev1.PersistentVolumeAccessMode, path *field.Path) (errs field.ErrorList) {
	exclusive, others := false, false
	for _, m := range modes {
		more := supported(m, path, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)
		errs = append(errs, more...)
		exclusive = exclusive || m == corev1.ReadWriteOncePod
		others = others || m != corev1.ReadWriteOncePod && len(more) == 0
	}
	if exclusive && others {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}
