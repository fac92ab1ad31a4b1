// Package config holds the objects that every cluster has from its first start,
// as YAML (also a kustomize base), and writes them to a cluster: namespaces,
// priority classes, RBAC roles and bindings.
package config

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

//go:embed core/*.yaml rbac/*.yaml
var files embed.FS

const (
	autoupdate    = "rbac.authorization.kubernetes.io/autoupdate"
	bootstrapping = "kubernetes.io/bootstrapping"
	rbacDefaults  = "rbac-defaults"
)

// Objects are the bootstrap objects, sorted by kind.
type Objects struct {
	Namespaces          []*corev1.Namespace
	PriorityClasses     []*schedulingv1.PriorityClass
	ClusterRoles        []*rbacv1.ClusterRole
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	Roles               []*rbacv1.Role
	RoleBindings        []*rbacv1.RoleBinding
}

// Load reads the embedded objects. RBAC objects get the label and annotation by
// which administrators know, and can turn off, their upkeep.
func Load() (*Objects, error) {
	o := &Objects{}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "kustomization.yaml") {
			return err
		}
		data, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		for docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("config/%s: %w", path, err)
			}
			if blank(doc) {
				continue
			}
			obj, _, err := decoder.Decode(doc, nil, nil)
			if err != nil {
				return fmt.Errorf("config/%s: %w", path, err)
			}
			if err := o.add(obj); err != nil {
				return fmt.Errorf("config/%s: %w", path, err)
			}
		}
	})
	return o, err
}

// blank says whether a document holds comments only.
func blank(doc []byte) bool {
	for _, line := range strings.Split(string(doc), "\n") {
		if line = strings.TrimSpace(line); line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func (o *Objects) add(obj runtime.Object) error {
	mark := func(labels, annotations *map[string]string) {
		if *labels == nil {
			*labels = map[string]string{}
		}
		if *annotations == nil {
			*annotations = map[string]string{}
		}
		(*labels)[bootstrapping] = rbacDefaults
		(*annotations)[autoupdate] = "true"
	}
	switch x := obj.(type) {
	case *corev1.Namespace:
		o.Namespaces = append(o.Namespaces, x)
	case *schedulingv1.PriorityClass:
		o.PriorityClasses = append(o.PriorityClasses, x)
	case *rbacv1.ClusterRole:
		mark(&x.Labels, &x.Annotations)
		o.ClusterRoles = append(o.ClusterRoles, x)
	case *rbacv1.ClusterRoleBinding:
		mark(&x.Labels, &x.Annotations)
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, x)
	case *rbacv1.Role:
		mark(&x.Labels, &x.Annotations)
		o.Roles = append(o.Roles, x)
	case *rbacv1.RoleBinding:
		mark(&x.Labels, &x.Annotations)
		o.RoleBindings = append(o.RoleBindings, x)
	default:
		return fmt.Errorf("a %T is no bootstrap object: add its kind to Objects", obj)
	}
	return nil
}

// NodeRules are the rules of ClusterRole system:node: what the Node authorizer
// lets every node do.
func (o *Objects) NodeRules() []rbacv1.PolicyRule {
	for _, r := range o.ClusterRoles {
		if r.Name == "system:node" {
			return r.Rules
		}
	}
	return nil
}
