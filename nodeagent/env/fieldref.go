package env

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// PodFields is what the pod's own object may not say yet when its containers
// start: the addresses, which the sandbox and the node decide.
type PodFields struct {
	// PodIPs are the addresses of the pod, the primary one first.
	PodIPs []string
	// HostIPs are the addresses of the node, the primary one first.
	HostIPs []string
}

// Field returns the value of a downward API field of the pod, such as
// metadata.name, metadata.labels['app'], spec.nodeName or status.podIP.
// Every path that the API server admits in an environment variable is known.
func (f PodFields) Field(pod *v1.Pod, path string) (string, error) {
	switch path {
	case "spec.nodeName", "spec.host":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		if len(f.HostIPs) == 0 {
			return pod.Status.HostIP, nil
		}
		return f.HostIPs[0], nil
	case "status.hostIPs":
		return strings.Join(f.HostIPs, ","), nil
	case "status.podIP":
		if len(f.PodIPs) == 0 {
			return "", nil
		}
		return f.PodIPs[0], nil
	case "status.podIPs":
		return strings.Join(f.PodIPs, ","), nil
	}
	return Metadata(pod, path)
}

// Metadata returns the value of a metadata field of the pod: name, namespace,
// uid, and labels and annotations, whole (one key="value" a line, sorted) or
// by subscript. These are the fields that a downwardAPI volume may name.
func Metadata(pod *v1.Pod, path string) (string, error) {
	if field, key, ok := subscript(path); ok {
		switch field {
		case "metadata.annotations":
			if errs := validation.IsQualifiedName(strings.ToLower(key)); len(errs) > 0 {
				return "", fmt.Errorf("invalid key subscript in %s: %s", path, strings.Join(errs, ";"))
			}
			return pod.Annotations[key], nil
		case "metadata.labels":
			if errs := validation.IsQualifiedName(key); len(errs) > 0 {
				return "", fmt.Errorf("invalid key subscript in %s: %s", path, strings.Join(errs, ";"))
			}
			return pod.Labels[key], nil
		}
		return "", fmt.Errorf("fieldPath %q does not support subscript", path)
	}
	switch path {
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %v", path)
}

// subscript splits path['key'] into path and key.
func subscript(path string) (field, key string, ok bool) {
	head, found := strings.CutSuffix(path, "']")
	if !found {
		return path, "", false
	}
	field, key, found = strings.Cut(head, "['")
	if !found || field == "" {
		return path, "", false
	}
	return field, key, true
}

func formatMap(m map[string]string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out []byte
	for i, k := range keys {
		if i > 0 {
			out = append(out, '\n')
		}
		out = append(out, k...)
		out = append(out, '=')
		out = strconv.AppendQuote(out, m[k])
	}
	return string(out)
}
