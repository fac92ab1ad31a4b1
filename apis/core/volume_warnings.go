package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// volumeFile is a file that a volume is to have, and what puts it there.
type volumeFile struct{ path, source string }

func (f volumeFile) String() string {
	if f.source == "" {
		return fmt.Sprintf("%q", f.path)
	}
	return fmt.Sprintf("%q (%s)", f.path, f.source)
}

// overlaps warns about files of a volume that are one, or the other's folder.
func (w *podWarner) overlaps(volumes []corev1.Volume) {
	check := func(volume, kind string, files []volumeFile) {
		for i := range files {
			files[i].path = strings.TrimRight(files[i].path, "/")
			for _, other := range files[:i] {
				if collide(files[i], other) {
					w.warn("volume %q (%s): overlapping paths: %s with %s", volume, kind, files[i], other)
				}
			}
		}
	}
	for _, v := range volumes {
		if s := v.ConfigMap; s != nil {
			check(v.Name, fmt.Sprintf("ConfigMap %q", s.Name), keyFiles(s.Items, ""))
		}
		if s := v.Secret; s != nil {
			check(v.Name, fmt.Sprintf("Secret %q", s.SecretName), keyFiles(s.Items, ""))
		}
		if s := v.DownwardAPI; s != nil {
			check(v.Name, "DownwardAPI", fieldFiles(s.Items, ""))
		}
		if v.Projected == nil {
			continue
		}
		var all []volumeFile
		for i := range v.Projected.Sources {
			s := &v.Projected.Sources[i]
			if *s == (corev1.VolumeProjection{}) {
				w.warn("volume %q (Projected) has no sources provided", v.Name)
			}
			all = append(all, projectedFiles(s)...)
		}
		check(v.Name, "Projected", all)
	}
}

func collide(a, b volumeFile) bool {
	return a.path != "" && b.path != "" && (strings.HasPrefix(a.path+"/", b.path+"/") || strings.HasPrefix(b.path+"/", a.path+"/"))
}

// projectedFiles are those of the first source that names files.
func projectedFiles(s *corev1.VolumeProjection) []volumeFile {
	switch {
	case s.ConfigMap != nil && s.ConfigMap.Items != nil:
		return keyFiles(s.ConfigMap.Items, fmt.Sprintf("ConfigMap %q", s.ConfigMap.Name))
	case s.Secret != nil && s.Secret.Items != nil:
		return keyFiles(s.Secret.Items, fmt.Sprintf("Secret %q", s.Secret.Name))
	case s.DownwardAPI != nil && s.DownwardAPI.Items != nil:
		return fieldFiles(s.DownwardAPI.Items, "DownwardAPI")
	case s.ServiceAccountToken != nil:
		return []volumeFile{{s.ServiceAccountToken.Path, "ServiceAccountToken"}}
	case s.ClusterTrustBundle != nil:
		name := ptr.Deref(s.ClusterTrustBundle.Name, ptr.Deref(s.ClusterTrustBundle.SignerName, ""))
		return []volumeFile{{s.ClusterTrustBundle.Path, fmt.Sprintf("ClusterTrustBundle %q", name)}}
	case s.PodCertificate != nil:
		c := s.PodCertificate
		return []volumeFile{{c.CertificateChainPath, "PodCertificate chain"}, {c.KeyPath, "PodCertificate key"}, {c.CredentialBundlePath, "PodCertificate credential bundle"}}
	}
	return nil
}

func keyFiles(items []corev1.KeyToPath, source string) (files []volumeFile) {
	for _, i := range items {
		files = append(files, volumeFile{i.Path, source})
	}
	return files
}

func fieldFiles(items []corev1.DownwardAPIVolumeFile, source string) (files []volumeFile) {
	for _, i := range items {
		files = append(files, volumeFile{i.Path, source})
	}
	return files
}
