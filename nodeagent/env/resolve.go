package env

import (
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/object"
)

// Inputs is what a container's environment depends on besides the pod.
type Inputs struct {
	PodFields
	// Objects gives the config maps and secrets of the pod's namespace.
	Objects object.Source
	// Services gives the services; nil means no service links at all.
	Services Services
	// Allocatable is what the node has for pods: the value of a limit that
	// the container does not set.
	Allocatable v1.ResourceList
}

// Resolve returns the environment of a container, sorted by name so that the
// same inputs always give the same container. It fails where a config map, a
// secret or a key is missing and not optional; the error's text is fit for a
// container's waiting message (reason CreateContainerConfigError).
func Resolve(ctx context.Context, pod *v1.Pod, c *v1.Container, in Inputs) ([]*runtimeapi.KeyValue, error) {
	vars, err := Map(ctx, pod, c, in)
	if err != nil {
		return nil, err
	}
	out := make([]*runtimeapi.KeyValue, 0, len(vars))
	for k, v := range vars {
		out = append(out, &runtimeapi.KeyValue{Key: k, Value: []byte(v)})
	}
	slices.SortFunc(out, func(a, b *runtimeapi.KeyValue) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out, nil
}

// Map is Resolve with the variables by name; command, arguments and
// subPathExpr are expanded with it.
func Map(ctx context.Context, pod *v1.Pod, c *v1.Container, in Inputs) (map[string]string, error) {
	links, err := serviceLinks(pod, in.Services)
	if err != nil {
		return nil, err
	}
	r := resolver{pod: pod, container: c, in: in, configMaps: map[string]*v1.ConfigMap{}, secrets: map[string]*v1.Secret{}}
	declared := map[string]string{}
	for i := range c.EnvFrom {
		if err := r.from(ctx, &c.EnvFrom[i], declared); err != nil {
			return nil, err
		}
	}
	// A reference sees the variables above it, and all service links.
	lookup := Lookup(declared, links)
	for i := range c.Env {
		e := &c.Env[i]
		switch {
		case e.Value != "":
			declared[e.Name] = Expand(e.Value, lookup)
		case e.ValueFrom != nil:
			value, ok, err := r.value(ctx, e.ValueFrom)
			if err != nil {
				return nil, err
			}
			if ok {
				declared[e.Name] = value
			}
		default:
			declared[e.Name] = ""
		}
	}
	for k, v := range links {
		if _, ok := declared[k]; !ok {
			declared[k] = v
		}
	}
	return declared, nil
}

// resolver reads each object at most once for one container, so that all its
// variables come from the same version.
type resolver struct {
	pod        *v1.Pod
	container  *v1.Container
	in         Inputs
	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
}

func (r *resolver) from(ctx context.Context, from *v1.EnvFromSource, into map[string]string) error {
	switch {
	case from.ConfigMapRef != nil:
		cm, err := r.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		if err != nil || cm == nil {
			return err
		}
		for k, v := range cm.Data {
			into[from.Prefix+k] = v
		}
	case from.SecretRef != nil:
		s, err := r.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
		if err != nil || s == nil {
			return err
		}
		for k, v := range s.Data {
			into[from.Prefix+k] = string(v)
		}
	}
	return nil
}

// value returns the value of a valueFrom; ok is false where an optional
// source is missing, and the variable with it.
func (r *resolver) value(ctx context.Context, from *v1.EnvVarSource) (value string, ok bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = r.in.Field(r.pod, from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = ResourceValue(from.ResourceFieldRef, r.pod, r.container, r.in.Allocatable)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		cm, err := r.configMap(ctx, ref.Name, ref.Optional)
		if err != nil || cm == nil {
			return "", false, err
		}
		value, ok = cm.Data[ref.Key]
		if !ok && !isTrue(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, r.pod.Namespace, ref.Name)
		}
		return value, ok, nil
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, err := r.secret(ctx, ref.Name, ref.Optional)
		if err != nil || s == nil {
			return "", false, err
		}
		data, ok := s.Data[ref.Key]
		if !ok && !isTrue(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, r.pod.Namespace, ref.Name)
		}
		return string(data), ok, nil
	case from.FileKeyRef != nil:
		return "", false, fmt.Errorf("valueFrom.fileKeyRef is not supported by this node: use a configMapKeyRef or a secretKeyRef")
	}
	return "", true, nil
}

// configMap returns the object, or nil if it is missing and optional.
func (r *resolver) configMap(ctx context.Context, name string, optional *bool) (*v1.ConfigMap, error) {
	if cm, ok := r.configMaps[name]; ok {
		return cm, nil
	}
	cm, err := r.in.Objects.ConfigMap(ctx, r.pod.Namespace, name)
	if err != nil {
		if apierrors.IsNotFound(err) && isTrue(optional) {
			return nil, nil
		}
		return nil, err
	}
	r.configMaps[name] = cm
	return cm, nil
}

// secret returns the object, or nil if it is missing and optional.
func (r *resolver) secret(ctx context.Context, name string, optional *bool) (*v1.Secret, error) {
	if s, ok := r.secrets[name]; ok {
		return s, nil
	}
	s, err := r.in.Objects.Secret(ctx, r.pod.Namespace, name)
	if err != nil {
		if apierrors.IsNotFound(err) && isTrue(optional) {
			return nil, nil
		}
		return nil, err
	}
	r.secrets[name] = s
	return s, nil
}

func isTrue(b *bool) bool { return b != nil && *b }
