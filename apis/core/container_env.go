package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Fields of a pod that its containers can be told (the downward API).
var (
	envFields = []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
	volumeFields   = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	knownFields    = append([]string{"metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"}, envFields...)
	resourceFields = []string{"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"}
	byteDivisors   = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
)

func validateEnv(vars []corev1.EnvVar, path *field.Path) (errs field.ErrorList) {
	for i, v := range vars {
		at := path.Index(i)
		if v.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			errs = append(errs, invalidEach(at.Child("name"), v.Name, validation.IsRelaxedEnvVarName(v.Name))...)
		}
		if v.ValueFrom != nil {
			errs = append(errs, validateEnvSource(v.ValueFrom, v.Value, at.Child("valueFrom"))...)
		}
	}
	return errs
}

func validateEnvSource(s *corev1.EnvVarSource, value string, path *field.Path) (errs field.ErrorList) {
	sources := 0
	add := func(more field.ErrorList) {
		sources++
		errs = append(errs, more...)
	}
	if s.FieldRef != nil {
		add(validateFieldRef(s.FieldRef, envFields, path.Child("fieldRef")))
	}
	if s.ResourceFieldRef != nil {
		add(validateResourceRef(s.ResourceFieldRef, false, path.Child("resourceFieldRef")))
	}
	if r := s.ConfigMapKeyRef; r != nil {
		add(validateKeyRef(r.Name, r.Key, path.Child("configMapKeyRef")))
	}
	if r := s.SecretKeyRef; r != nil {
		add(validateKeyRef(r.Name, r.Key, path.Child("secretKeyRef")))
	}
	if r := s.FileKeyRef; r != nil {
		add(validateFileKeyRef(r, path.Child("fileKeyRef")))
	}
	switch {
	case sources == 0:
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case value != "":
		errs = append(errs, field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case sources > 1:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKeyRef(name, key string, path *field.Path) field.ErrorList {
	errs := invalidEach(path.Child("name"), name, apivalidation.NameIsDNSSubdomain(name, false))
	if key == "" {
		return append(errs, field.Required(path.Child("key"), ""))
	}
	return append(errs, invalidEach(path.Child("key"), key, validation.IsConfigMapKey(key))...)
}

func validateFileKeyRef(r *corev1.FileKeySelector, path *field.Path) (errs field.ErrorList) {
	if r.Key == "" {
		errs = append(errs, field.Required(path.Child("key"), ""))
	} else {
		errs = append(errs, invalidEach(path.Child("key"), r.Key, validation.IsRelaxedEnvVarName(r.Key))...)
	}
	if r.VolumeName == "" {
		errs = append(errs, field.Required(path.Child("volumeName"), ""))
	} else {
		errs = append(errs, ValidateDNSLabel(r.VolumeName, path.Child("volumeName"))...)
	}
	if r.Path == "" {
		return append(errs, field.Required(path.Child("path"), ""))
	}
	return append(errs, validateNoBacksteps(r.Path, path.Child("path"))...)
}

// checkFileKeyRefs: variables come from files of emptyDir volumes (KEP-3721).
func (c *podChecker) checkFileKeyRefs(spec *field.Path) {
	eachContainer(c.spec, spec, func(ctr *corev1.Container, at *field.Path) {
		for i, v := range ctr.Env {
			if v.ValueFrom == nil || v.ValueFrom.FileKeyRef == nil {
				continue
			}
			name, path := v.ValueFrom.FileKeyRef.VolumeName, at.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
			n := slices.IndexFunc(c.spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
			switch {
			case n < 0:
				c.add(field.NotFound(path, name))
			case c.spec.Volumes[n].EmptyDir == nil:
				c.add(field.Invalid(path, name, "referenced volume must be of type emptyDir"))
			}
		}
	})
}

// validateFieldRef checks a reference to one of the allowed fields; labels and
// annotations can be named one by one ("metadata.labels['app']").
func validateFieldRef(f *corev1.ObjectFieldSelector, allowed []string, path *field.Path) (errs field.ErrorList) {
	if f.APIVersion == "" {
		return field.ErrorList{field.Required(path.Child("apiVersion"), "")}
	}
	if f.FieldPath == "" {
		return field.ErrorList{field.Required(path.Child("fieldPath"), "")}
	}
	unconvertible := func(why string) field.ErrorList {
		return field.ErrorList{field.Invalid(path.Child("fieldPath"), f.FieldPath, "error converting fieldPath: "+why)}
	}
	if f.APIVersion != "v1" {
		return unconvertible("unsupported pod version: " + f.APIVersion)
	}
	if name, key, ok := splitSubscript(f.FieldPath); ok {
		switch name {
		case "metadata.annotations":
			return ValidateQualifiedName(strings.ToLower(key), path)
		case "metadata.labels":
			return ValidateQualifiedName(key, path)
		}
		return unconvertible(fmt.Sprintf("field label does not support subscript: %s", f.FieldPath))
	}
	if !slices.Contains(knownFields, f.FieldPath) {
		return unconvertible("field label not supported: " + f.FieldPath)
	}
	if !slices.Contains(allowed, f.FieldPath) {
		errs = append(errs, field.NotSupported(path.Child("fieldPath"), f.FieldPath, allowed))
	}
	return errs
}

// splitSubscript splits "metadata.labels['app']".
func splitSubscript(path string) (name, key string, ok bool) {
	rest, closed := strings.CutSuffix(path, "']")
	if !closed {
		return path, "", false
	}
	name, key, ok = strings.Cut(rest, "['")
	return name, key, ok && name != ""
}

func validateResourceRef(r *corev1.ResourceFieldSelector, volume bool, path *field.Path) (errs field.ErrorList) {
	huge := strings.HasPrefix(r.Resource, "requests.hugepages-") || strings.HasPrefix(r.Resource, "limits.hugepages-")
	switch {
	case volume && r.ContainerName == "":
		errs = append(errs, field.Required(path.Child("containerName"), ""))
	case r.Resource == "":
		errs = append(errs, field.Required(path.Child("resource"), ""))
	case !huge && !slices.Contains(resourceFields, r.Resource):
		errs = append(errs, field.NotSupported(path.Child("resource"), r.Resource, resourceFields))
	}
	if r.Divisor.IsZero() {
		return errs
	}
	wrong := func(what string, allowed []string) {
		if !slices.Contains(allowed, r.Divisor.String()) {
			errs = append(errs, field.Invalid(path.Child("divisor"), r.Resource, fmt.Sprintf("only divisor's values %s are supported with the %s resource", strings.Join(allowed, ", "), what)))
		}
	}
	switch {
	case r.Resource == "limits.cpu" || r.Resource == "requests.cpu":
		if d := r.Divisor.String(); d != "1m" && d != "1" {
			errs = append(errs, field.Invalid(path.Child("divisor"), r.Resource, "only divisor's values 1m and 1 are supported with the cpu resource"))
		}
	case r.Resource == "limits.memory" || r.Resource == "requests.memory":
		wrong("memory", byteDivisors)
	case r.Resource == "limits.ephemeral-storage" || r.Resource == "requests.ephemeral-storage":
		wrong("local ephemeral storage", byteDivisors)
	case huge:
		wrong("hugepages", byteDivisors)
	}
	return errs
}

func validateEnvFrom(list []corev1.EnvFromSource, path *field.Path) (errs field.ErrorList) {
	for i, s := range list {
		at := path.Index(i)
		if s.Prefix != "" {
			errs = append(errs, invalidEach(at.Child("prefix"), s.Prefix, validation.IsRelaxedEnvVarName(s.Prefix))...)
		}
		sources := 0
		named := func(name, child string) {
			sources++
			if name == "" {
				errs = append(errs, field.Required(at.Child(child, "name"), ""))
			} else {
				errs = append(errs, invalidEach(at.Child(child, "name"), name, apivalidation.NameIsDNSSubdomain(name, true))...)
			}
		}
		if s.ConfigMapRef != nil {
			named(s.ConfigMapRef.Name, "configMapRef")
		}
		if s.SecretRef != nil {
			named(s.SecretRef.Name, "secretRef")
		}
		switch {
		case sources == 0:
			errs = append(errs, field.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
		case sources > 1:
			errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}
