package core

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
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

// validateVolume checks that a volume has one source, and that source.
func (c *podChecker) validateVolume(v *corev1.Volume, at *field.Path) (errs field.ErrorList) {
	found := false
	one := func(set bool, name string, check func(*field.Path) field.ErrorList) {
		switch {
		case !set:
		case found:
			errs = append(errs, field.Forbidden(at.Child(name), "may not specify more than 1 volume type"))
		default:
			found = true
			if check != nil {
				errs = append(errs, check(at.Child(name))...)
			}
		}
	}
	// required wants strings that are not empty, given as name, value pairs.
	required := func(pairs ...string) func(*field.Path) field.ErrorList {
		return func(p *field.Path) (errs field.ErrorList) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i+1] == "" {
					errs = append(errs, field.Required(p.Child(pairs[i]), ""))
				}
			}
			return errs
		}
	}
	one(v.EmptyDir != nil, "emptyDir", func(p *field.Path) field.ErrorList {
		if l := v.EmptyDir.SizeLimit; l != nil && l.Sign() < 0 {
			return field.ErrorList{field.Forbidden(p.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")}
		}
		return nil
	})
	one(v.HostPath != nil, "hostPath", func(p *field.Path) field.ErrorList { return validateHostPath(v.HostPath, p) })
	if g := v.GitRepo; g != nil {
		one(true, "gitRepo", func(p *field.Path) field.ErrorList {
			return append(required("repository", g.Repository)(p), validateFilePath(g.Directory, p.Child("directory"))...)
		})
	}
	if d := v.GCEPersistentDisk; d != nil {
		one(true, "gcePersistentDisk", required("pdName", d.PDName))
	}
	if d := v.AWSElasticBlockStore; d != nil {
		one(true, "awsElasticBlockStore", required("volumeID", d.VolumeID))
	}
	one(v.Secret != nil, "secret", func(p *field.Path) field.ErrorList {
		return validateKeyed(v.Secret.SecretName, "secretName", v.Secret.DefaultMode, v.Secret.Items, p)
	})
	one(v.NFS != nil, "nfs", func(p *field.Path) field.ErrorList { return validateNFS(v.NFS, p) })
	if s := v.ISCSI; s != nil {
		one(true, "iscsi", required("targetPortal", s.TargetPortal, "iqn", s.IQN))
	}
	if s := v.Glusterfs; s != nil {
		one(true, "glusterfs", required("endpoints", s.EndpointsName, "path", s.Path))
	}
	one(v.Flocker != nil, "flocker", nil)
	if s := v.PersistentVolumeClaim; s != nil {
		one(true, "persistentVolumeClaim", required("claimName", s.ClaimName))
	}
	one(v.RBD != nil, "rbd", nil)
	if s := v.Cinder; s != nil {
		one(true, "cinder", required("volumeID", s.VolumeID))
	}
	one(v.CephFS != nil, "cephfs", nil)
	one(v.Quobyte != nil, "quobyte", nil)
	one(v.DownwardAPI != nil, "downwardAPI", func(p *field.Path) (errs field.ErrorList) {
		errs = validFileMode(v.DownwardAPI.DefaultMode, p.Child("defaultMode"))
		for i := range v.DownwardAPI.Items {
			errs = append(errs, validateDownwardFile(&v.DownwardAPI.Items[i], p)...)
		}
		return errs
	})
	one(v.FC != nil, "fc", nil)
	if s := v.FlexVolume; s != nil {
		one(true, "flexVolume", required("driver", s.Driver))
	}
	one(v.ConfigMap != nil, "configMap", func(p *field.Path) field.ErrorList {
		return validateKeyed(v.ConfigMap.Name, "name", v.ConfigMap.DefaultMode, v.ConfigMap.Items, p)
	})
	if s := v.AzureFile; s != nil {
		one(true, "azureFile", required("secretName", s.SecretName, "shareName", s.ShareName))
	}
	if s := v.VsphereVolume; s != nil {
		one(true, "vsphereVolume", required("volumePath", s.VolumePath))
	}
	one(v.PhotonPersistentDisk != nil, "photonPersistentDisk", nil)
	if s := v.PortworxVolume; s != nil {
		one(true, "portworxVolume", required("volumeID", s.VolumeID))
	}
	if s := v.AzureDisk; s != nil {
		one(true, "azureDisk", required("diskName", s.DiskName, "diskURI", s.DataDiskURI))
	}
	one(v.StorageOS != nil, "storageos", nil)
	one(v.Projected != nil, "projected", func(p *field.Path) field.ErrorList { return validateProjected(v.Projected, p) })
	one(v.ScaleIO != nil, "scaleIO", nil)
	one(v.CSI != nil, "csi", func(p *field.Path) field.ErrorList { return validateCSIVolume(v.CSI, p) })
	one(v.Ephemeral != nil, "ephemeral", func(p *field.Path) field.ErrorList { return c.validateEphemeralVolume(v, at, p) })
	one(v.Image != nil, "image", func(p *field.Path) (errs field.ErrorList) {
		if c.pod && v.Image.Reference == "" {
			errs = append(errs, field.Required(p.Child("reference"), ""))
		}
		return append(errs, validatePullPolicy(v.Image.PullPolicy, p.Child("pullPolicy"))...)
	})
	if !found {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	return errs
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

func validateNFS(n *corev1.NFSVolumeSource, at *field.Path) (errs field.ErrorList) {
	if n.Server == "" {
		errs = append(errs, field.Required(at.Child("server"), ""))
	}
	if n.Path == "" {
		errs = append(errs, field.Required(at.Child("path"), ""))
	}
	if !path.IsAbs(n.Path) {
		errs = append(errs, field.Invalid(at.Child("path"), n.Path, "must be an absolute path"))
	}
	return errs
}

func validateCSIVolume(s *corev1.CSIVolumeSource, at *field.Path) (errs field.ErrorList) {
	if s.Driver == "" {
		errs = append(errs, field.Required(at.Child("driver"), ""))
	} else {
		if len(s.Driver) > 63 {
			errs = append(errs, field.TooLong(at.Child("driver"), "", 63))
		}
		errs = append(errs, invalidEach(at.Child("driver"), s.Driver, validation.IsDNS1123Subdomain(s.Driver))...)
	}
	if r := s.NodePublishSecretRef; r != nil {
		if r.Name == "" {
			errs = append(errs, field.Required(at.Child("nodePublishSecretRef", "name"), ""))
		} else {
			errs = append(errs, invalidEach(at.Child("name"), r.Name, apivalidation.NameIsDNSSubdomain(r.Name, false))...)
		}
	}
	return errs
}

func (c *podChecker) validateEphemeralVolume(v *corev1.Volume, volume, at *field.Path) (errs field.ErrorList) {
	if t := v.Ephemeral.VolumeClaimTemplate; t == nil {
		errs = append(errs, field.Required(at.Child("volumeClaimTemplate"), ""))
	} else {
		template := at.Child("volumeClaimTemplate")
		errs = append(errs, metav1validation.ValidateLabels(t.Labels, template.Child("metadata", "labels"))...)
		errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, template.Child("metadata", "annotations"))...)
		errs = append(errs, ValidateClaimSpec(&t.Spec, template.Child("spec"))...)
	}
	if c.meta != nil && c.meta.Name != "" && v.Name != "" {
		name := c.meta.Name + "-" + v.Name
		for _, msg := range apivalidation.NameIsDNSSubdomain(name, false) {
			errs = append(errs, field.Invalid(volume.Child("name"), v.Name, fmt.Sprintf("PVC name %q: %v", name, msg)))
		}
	}
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
