package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkVolumes checks the volumes, and remembers the good ones for the mounts.
func (c *podChecker) checkVolumes(list *field.Path) {
	c.volumes = map[string]corev1.VolumeSource{}
	seen, made := map[string]bool{}, map[string]bool{}
	if c.meta != nil && c.meta.Name != "" {
		for _, v := range c.spec.Volumes {
			if v.Ephemeral != nil {
				made[c.meta.Name+"-"+v.Name] = true
			}
		}
	}
	for i := range c.spec.Volumes {
		v, at := &c.spec.Volumes[i], list.Index(i)
		errs := c.validateVolume(v, at)
		if v.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			errs = append(errs, ValidateDNSLabel(v.Name, at.Child("name"))...)
		}
		if seen[v.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		}
		if len(errs) == 0 {
			seen[v.Name] = true
			c.volumes[v.Name] = v.VolumeSource
		}
		c.add(errs...)
		if p := v.PersistentVolumeClaim; p != nil && made[p.ClaimName] {
			c.add(field.Invalid(at.Child("persistentVolumeClaim", "claimName"), p.ClaimName, "must not reference a PVC that gets created for an ephemeral volume"))
		}
	}
}

// volumeSources finds which one source a volume has; others beside it are refused.
type volumeSources struct {
	volume *field.Path
	found  bool
	errs   field.ErrorList
}

// one takes a source, that messages know by name. Its own errors are at the path at.
func (s *volumeSources) one(set bool, name, at string, check func(*field.Path) field.ErrorList) {
	switch {
	case !set:
	case s.found:
		s.errs = append(s.errs, field.Forbidden(s.volume.Child(name), "may not specify more than 1 volume type"))
	default:
		s.found = true
		s.errs = append(s.errs, check(s.volume.Child(at))...)
	}
}

// end returns what was wrong with the sources.
func (s *volumeSources) end() field.ErrorList {
	if !s.found {
		s.errs = append(s.errs, field.Required(s.volume, "must specify a volume type"))
	}
	return s.errs
}

// required wants strings that are not empty, given as name, value pairs.
func required(pairs ...string) func(*field.Path) field.ErrorList {
	return func(p *field.Path) (errs field.ErrorList) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] == "" {
				errs = append(errs, field.Required(p.Child(pairs[i]), ""))
			}
		}
		return errs
	}
}

// validateVolume checks that a volume has one source, and that source. Names in
// paths are what clients have always been told, which is not always the field's.
func (c *podChecker) validateVolume(v *corev1.Volume, at *field.Path) field.ErrorList {
	s := &volumeSources{volume: at}
	s.one(v.EmptyDir != nil, "emptyDir", "emptyDir", func(p *field.Path) field.ErrorList {
		if l := v.EmptyDir.SizeLimit; l != nil && l.Sign() < 0 {
			return field.ErrorList{field.Forbidden(p.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")}
		}
		return nil
	})
	s.one(v.HostPath != nil, "hostPath", "hostPath", func(p *field.Path) field.ErrorList { return validateHostPath(v.HostPath, p) })
	s.one(v.GitRepo != nil, "gitRepo", "gitRepo", func(p *field.Path) field.ErrorList {
		return append(required("repository", v.GitRepo.Repository)(p), validateDescendingPath(v.GitRepo.Directory, p.Child("directory"))...)
	})
	s.one(v.GCEPersistentDisk != nil, "gcePersistentDisk", "persistentDisk", func(p *field.Path) field.ErrorList { return validateGCE(v.GCEPersistentDisk, p) })
	s.one(v.AWSElasticBlockStore != nil, "awsElasticBlockStore", "awsElasticBlockStore", func(p *field.Path) field.ErrorList { return validateAWS(v.AWSElasticBlockStore, p) })
	s.one(v.Secret != nil, "secret", "secret", func(p *field.Path) field.ErrorList {
		return validateKeyed(v.Secret.SecretName, "secretName", v.Secret.DefaultMode, v.Secret.Items, p)
	})
	s.one(v.NFS != nil, "nfs", "nfs", func(p *field.Path) field.ErrorList { return validateNFS(v.NFS, p) })
	s.one(v.ISCSI != nil, "iscsi", "iscsi", func(p *field.Path) field.ErrorList { return validateISCSI(v.ISCSI, p) })
	if i := v.ISCSI; i != nil && i.InitiatorName != nil && len(v.Name)+1+len(i.TargetPortal) > 64 {
		s.errs = append(s.errs, field.Invalid(at.Child("name"), v.Name, longInitiatorMsg))
	}
	s.one(v.Glusterfs != nil, "glusterfs", "glusterfs", func(p *field.Path) field.ErrorList {
		return required("endpoints", v.Glusterfs.EndpointsName, "path", v.Glusterfs.Path)(p)
	})
	s.one(v.Flocker != nil, "flocker", "flocker", func(p *field.Path) field.ErrorList { return validateFlocker(v.Flocker, p) })
	s.one(v.PersistentVolumeClaim != nil, "persistentVolumeClaim", "persistentVolumeClaim", func(p *field.Path) field.ErrorList {
		return required("claimName", v.PersistentVolumeClaim.ClaimName)(p)
	})
	s.one(v.RBD != nil, "rbd", "rbd", func(p *field.Path) field.ErrorList { return validateRBD(v.RBD.CephMonitors, v.RBD.RBDImage, p) })
	s.one(v.Cinder != nil, "cinder", "cinder", func(p *field.Path) field.ErrorList {
		return append(required("volumeID", v.Cinder.VolumeID)(p), validateLocalRef(v.Cinder.SecretRef, p)...)
	})
	s.one(v.CephFS != nil, "cephFS", "cephfs", func(p *field.Path) field.ErrorList { return validateMonitors(v.CephFS.Monitors, p) })
	s.one(v.Quobyte != nil, "quobyte", "quobyte", func(p *field.Path) field.ErrorList { return validateQuobyte(v.Quobyte, p) })
	s.one(v.DownwardAPI != nil, "downwarAPI", "downwardAPI", func(p *field.Path) (errs field.ErrorList) {
		errs = validFileMode(v.DownwardAPI.DefaultMode, p.Child("defaultMode"))
		for i := range v.DownwardAPI.Items {
			errs = append(errs, validateDownwardFile(&v.DownwardAPI.Items[i], p)...)
		}
		return errs
	})
	s.one(v.FC != nil, "fc", "fc", func(p *field.Path) field.ErrorList { return validateFC(v.FC, p) })
	s.one(v.FlexVolume != nil, "flexVolume", "flexVolume", func(p *field.Path) field.ErrorList {
		return validateFlex(v.FlexVolume.Driver, v.FlexVolume.Options, p)
	})
	s.one(v.ConfigMap != nil, "configMap", "configMap", func(p *field.Path) field.ErrorList {
		return validateKeyed(v.ConfigMap.Name, "name", v.ConfigMap.DefaultMode, v.ConfigMap.Items, p)
	})
	s.one(v.AzureFile != nil, "azureFile", "azureFile", func(p *field.Path) field.ErrorList {
		return required("secretName", v.AzureFile.SecretName, "shareName", v.AzureFile.ShareName)(p)
	})
	s.one(v.VsphereVolume != nil, "vsphereVolume", "vsphereVolume", func(p *field.Path) field.ErrorList {
		return required("volumePath", v.VsphereVolume.VolumePath)(p)
	})
	s.one(v.PhotonPersistentDisk != nil, "photonPersistentDisk", "photonPersistentDisk", func(p *field.Path) field.ErrorList {
		return required("pdID", v.PhotonPersistentDisk.PdID)(p)
	})
	s.one(v.PortworxVolume != nil, "portworxVolume", "portworxVolume", func(p *field.Path) field.ErrorList {
		return required("volumeID", v.PortworxVolume.VolumeID)(p)
	})
	s.one(v.AzureDisk != nil, "azureDisk", "azureDisk", func(p *field.Path) field.ErrorList { return validateAzureDisk(v.AzureDisk, p) })
	s.one(v.StorageOS != nil, "storageos", "storageos", func(p *field.Path) field.ErrorList {
		return append(validateStorageOS(v.StorageOS.VolumeName, v.StorageOS.VolumeNamespace, p), validateLocalRef(v.StorageOS.SecretRef, p)...)
	})
	s.one(v.Projected != nil, "projected", "projected", func(p *field.Path) field.ErrorList {
		return validateProjected(v.Projected, c.lenient.tokenPaths, p)
	})
	s.one(v.ScaleIO != nil, "scaleIO", "scaleIO", func(p *field.Path) field.ErrorList {
		return required("gateway", v.ScaleIO.Gateway, "system", v.ScaleIO.System, "volumeName", v.ScaleIO.VolumeName)(p)
	})
	s.one(v.CSI != nil, "csi", "csi", func(p *field.Path) field.ErrorList { return validateCSIVolume(v.CSI, p) })
	s.one(v.Ephemeral != nil, "ephemeral", "ephemeral", func(p *field.Path) field.ErrorList { return c.validateEphemeralVolume(v, at, p) })
	s.one(v.Image != nil, "image", "image", func(p *field.Path) (errs field.ErrorList) {
		if c.pod && v.Image.Reference == "" {
			errs = append(errs, field.Required(p.Child("reference"), ""))
		}
		return append(errs, validatePullPolicy(v.Image.PullPolicy, p.Child("pullPolicy"))...)
	})
	return s.end()
}

func validateHostPath(h *corev1.HostPathVolumeSource, at *field.Path) field.ErrorList {
	if h.Path == "" {
		return field.ErrorList{field.Required(at.Child("path"), "")}
	}
	errs := validateNoBacksteps(h.Path, at.Child("path"))
	if h.Type != nil {
		errs = append(errs, supported(*h.Type, at.Child("type"), corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev,
			corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
	}
	return errs
}

func (c *podChecker) validateEphemeralVolume(v *corev1.Volume, volume, at *field.Path) (errs field.ErrorList) {
	if t := v.Ephemeral.VolumeClaimTemplate; t == nil {
		errs = append(errs, field.Required(at.Child("volumeClaimTemplate"), ""))
	} else {
		template := at.Child("volumeClaimTemplate")
		errs = append(errs, ValidateObjectTemplateMeta(&t.ObjectMeta, template.Child("metadata"))...)
		errs = append(errs, ValidateClaimSpec(&t.Spec, nil, template.Child("spec"))...)
	}
	if c.meta != nil && c.meta.Name != "" && v.Name != "" {
		name := c.meta.Name + "-" + v.Name
		for _, msg := range apivalidation.NameIsDNSSubdomain(name, false) {
			errs = append(errs, field.Invalid(volume.Child("name"), v.Name, fmt.Sprintf("PVC name %q: %v", name, msg)))
		}
	}
	return errs
}

// ValidateObjectTemplateMeta checks the metadata of a template of a claim: what is
// made from it takes its labels and annotations, nothing else.
func ValidateObjectTemplateMeta(m *metav1.ObjectMeta, at *field.Path) field.ErrorList {
	errs := apivalidation.ValidateAnnotations(m.Annotations, at.Child("annotations"))
	errs = append(errs, metav1validation.ValidateLabels(m.Labels, at.Child("labels"))...)
	forbid := func(set bool, name string) {
		if set {
			errs = append(errs, field.Forbidden(at.Child(name), "cannot be set"))
		}
	}
	forbid(m.Name != "", "name")
	forbid(m.GenerateName != "", "generateName")
	forbid(m.Namespace != "", "namespace")
	forbid(m.SelfLink != "", "selfLink")
	forbid(m.UID != "", "uID")
	forbid(m.ResourceVersion != "", "resourceVersion")
	forbid(m.Generation != 0, "generation")
	forbid(m.CreationTimestamp != metav1.Time{}, "creationTimestamp")
	forbid(m.DeletionTimestamp != nil, "deletionTimestamp")
	forbid(m.DeletionGracePeriodSeconds != nil, "deletionGracePeriodSeconds")
	forbid(m.OwnerReferences != nil, "ownerReferences")
	forbid(m.Finalizers != nil, "finalizers")
	forbid(m.ManagedFields != nil, "managedFields")
	return errs
}

// validateKeyed checks a volume of a secret's or config map's keys.
func validateKeyed(name, nameField string, mode *int32, items []corev1.KeyToPath, at *field.Path) (errs field.ErrorList) {
	if name == "" {
		errs = append(errs, field.Required(at.Child(nameField), ""))
	}
	errs = append(errs, validFileMode(mode, at.Child("defaultMode"))...)
	for i := range items {
		errs = append(errs, validateKeyToPath(&items[i], at.Child("items").Index(i))...)
	}
	return errs
}

func validateKeyToPath(k *corev1.KeyToPath, at *field.Path) (errs field.ErrorList) {
	if k.Key == "" {
		errs = append(errs, field.Required(at.Child("key"), ""))
	}
	if k.Path == "" {
		errs = append(errs, field.Required(at.Child("path"), ""))
	}
	errs = append(errs, validateFilePath(k.Path, at.Child("path"))...)
	return append(errs, validFileMode(k.Mode, at.Child("mode"))...)
}

func validateDownwardFile(f *corev1.DownwardAPIVolumeFile, at *field.Path) (errs field.ErrorList) {
	if f.Path == "" {
		errs = append(errs, field.Required(at.Child("path"), ""))
	}
	errs = append(errs, validateFilePath(f.Path, at.Child("path"))...)
	switch {
	case f.FieldRef != nil:
		errs = append(errs, validateFieldRef(f.FieldRef, volumeFields, at.Child("fieldRef"))...)
		if f.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case f.ResourceFieldRef != nil:
		errs = append(errs, validateResourceRef(f.ResourceFieldRef, true, at.Child("resourceFieldRef"))...)
	default:
		errs = append(errs, field.Required(at, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, validFileMode(f.Mode, at.Child("mode"))...)
}
