package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateProjected checks a volume made of several sources, whose files must
// not collide; anyPath lets tokens lie elsewhere.
func validateProjected(p *corev1.ProjectedVolumeSource, anyPath bool, at *field.Path) field.ErrorList {
	errs := validFileMode(p.DefaultMode, at.Child("defaultMode"))
	taken := map[string]bool{}
	take := func(file string, value any) {
		if file == "" {
			return
		}
		if taken[file] {
			errs = append(errs, field.Invalid(at, value, "conflicting duplicate paths"))
		}
		taken[file] = true
	}
	keyed := func(name string, items []corev1.KeyToPath, path *field.Path) {
		if name == "" {
			errs = append(errs, field.Required(path.Child("name"), ""))
		}
		for i := range items {
			errs = append(errs, validateKeyToPath(&items[i], path.Child("items").Index(i))...)
			take(items[i].Path, name)
		}
	}
	for i := range p.Sources {
		s, src := &p.Sources[i], at.Child("sources").Index(i)
		sources := 0
		if s.Secret != nil {
			sources++
			keyed(s.Secret.Name, s.Secret.Items, src.Child("secret"))
		}
		if s.ConfigMap != nil {
			sources++
			keyed(s.ConfigMap.Name, s.ConfigMap.Items, src.Child("configMap"))
		}
		if s.DownwardAPI != nil {
			sources++
			for j := range s.DownwardAPI.Items {
				errs = append(errs, validateDownwardFile(&s.DownwardAPI.Items[j], src.Child("downwardAPI"))...)
				take(s.DownwardAPI.Items[j].Path, s.DownwardAPI.Items[j].Path)
			}
		}
		if t := s.ServiceAccountToken; t != nil {
			sources++
			errs = append(errs, validateTokenSource(t, anyPath, at, src.Child("serviceAccountToken", "expirationSeconds"))...)
		}
		if b := s.ClusterTrustBundle; b != nil {
			sources++
			errs = append(errs, validateTrustBundleSource(b, src.Child("clusterTrustBundle"))...)
			take(b.Path, b.Path)
		}
		if c := s.PodCertificate; c != nil {
			sources++
			errs = append(errs, validateCertificateSource(c, src.Child("podCertificate"))...)
			for _, file := range []string{c.CredentialBundlePath, c.KeyPath, c.CertificateChainPath} {
				take(file, file)
			}
		}
		if sources > 1 {
			errs = append(errs, field.Forbidden(src, "may not specify more than 1 volume type per source"))
		}
	}
	return errs
}

func validateTokenSource(t *corev1.ServiceAccountTokenProjection, anyPath bool, at, expiration *field.Path) (errs field.ErrorList) {
	if n := t.ExpirationSeconds; n != nil {
		if *n < 10*60 {
			errs = append(errs, field.Invalid(expiration, *n, "may not specify a duration less than 10 minutes"))
		}
		if *n > 1<<32 {
			errs = append(errs, field.Invalid(expiration, *n, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	if t.Path == "" {
		return append(errs, field.Required(at.Child("path"), ""))
	}
	if anyPath {
		return errs
	}
	return append(errs, validateFilePath(t.Path, at.Child("path"))...)
}

func validateTrustBundleSource(b *corev1.ClusterTrustBundleProjection, at *field.Path) (errs field.ErrorList) {
	switch named, signed := b.Name != nil, b.SignerName != nil; {
	case named && signed:
		errs = append(errs, field.Invalid(at, b, "only one of name and signerName may be used"))
	case named:
		if *b.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), "must be a valid object name"))
		}
		if b.LabelSelector != nil {
			errs = append(errs, field.Invalid(at.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified"))
		}
	case signed:
		if *b.SignerName == "" {
			errs = append(errs, field.Required(at.Child("signerName"), "must be a valid signer name"))
		}
		errs = append(errs, metav1validation.ValidateLabelSelector(b.LabelSelector, metav1validation.LabelSelectorValidationOptions{}, at.Child("labelSelector"))...)
	default:
		errs = append(errs, field.Required(at, "either name or signerName must be specified"))
	}
	if b.Path == "" {
		errs = append(errs, field.Required(at.Child("path"), ""))
	}
	return append(errs, validateFilePath(b.Path, at.Child("path"))...)
}

func validateCertificateSource(c *corev1.PodCertificateProjection, at *field.Path) (errs field.ErrorList) {
	if types := []string{"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"}; !slices.Contains(types, c.KeyType) {
		errs = append(errs, field.NotSupported(at.Child("keyType"), c.KeyType, types))
	}
	if n := c.MaxExpirationSeconds; n != nil && *n < 3600 {
		errs = append(errs, field.Invalid(at.Child("maxExpirationSeconds"), *n, "if provided, maxExpirationSeconds must be >= 3600"))
	}
	files := 0
	for _, f := range []struct{ name, path string }{{"credentialBundlePath", c.CredentialBundlePath}, {"keyPath", c.KeyPath}, {"certificateChainPath", c.CertificateChainPath}} {
		if f.path != "" {
			files++
			errs = append(errs, validateFilePath(f.path, at.Child(f.name))...)
		}
	}
	if files == 0 {
		errs = append(errs, field.Required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
	}
	return errs
}
