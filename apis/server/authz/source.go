package authz

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/client-go/informers"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/client-go/tools/cache"
)

// Source finds the RBAC objects that a decision needs. Subjects are named by
// subjectKey: bindings are found by who they are for, so that a request looks at
// its own few and not at all of a cluster's.
type Source interface {
	Role(namespace, name string) (*rbacv1.Role, error)
	ClusterRole(name string) (*rbacv1.ClusterRole, error)
	RoleBindings(namespace, subject string) ([]*rbacv1.RoleBinding, error)
	ClusterRoleBindings(subject string) ([]*rbacv1.ClusterRoleBinding, error)
}

// subjectKey names a subject of a binding: "u:<user>" or "g:<group>". A service
// account is its user. It is empty for a subject that matches nobody.
func subjectKey(s rbacv1.Subject, bindingNamespace string) string {
	switch s.Kind {
	case rbacv1.UserKind:
		return "u:" + s.Name
	case rbacv1.GroupKind:
		return "g:" + s.Name
	case rbacv1.ServiceAccountKind:
		namespace := s.Namespace
		if namespace == "" {
			namespace = bindingNamespace
		}
		if namespace != "" {
			return "u:" + serviceaccount.MakeUsername(namespace, s.Name)
		}
	}
	return ""
}

func subjectKeys(subjects []rbacv1.Subject, namespace string) []string {
	keys := make([]string, 0, len(subjects))
	for _, s := range subjects {
		if k := subjectKey(s, namespace); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

const subjectIndex = "proa.subject"

// informerSource is a Source over shared informers with an index by subject.
type informerSource struct {
	roles                             rbaclisters.RoleLister
	clusterRoles                      rbaclisters.ClusterRoleLister
	roleBindings, clusterRoleBindings cache.Indexer
}

func newInformerSource(f informers.SharedInformerFactory) (*informerSource, error) {
	r := f.Rbac().V1()
	err := r.RoleBindings().Informer().AddIndexers(cache.Indexers{subjectIndex: func(o any) ([]string, error) {
		b, ok := o.(*rbacv1.RoleBinding)
		if !ok {
			return nil, nil
		}
		keys := subjectKeys(b.Subjects, b.Namespace)
		for i, k := range keys {
			keys[i] = b.Namespace + "/" + k
		}
		return keys, nil
	}})
	if err != nil {
		return nil, fmt.Errorf("authz: index role bindings: %w", err)
	}
	err = r.ClusterRoleBindings().Informer().AddIndexers(cache.Indexers{subjectIndex: func(o any) ([]string, error) {
		b, ok := o.(*rbacv1.ClusterRoleBinding)
		if !ok {
			return nil, nil
		}
		return subjectKeys(b.Subjects, ""), nil
	}})
	if err != nil {
		return nil, fmt.Errorf("authz: index cluster role bindings: %w", err)
	}
	return &informerSource{
		roles:               r.Roles().Lister(),
		clusterRoles:        r.ClusterRoles().Lister(),
		roleBindings:        r.RoleBindings().Informer().GetIndexer(),
		clusterRoleBindings: r.ClusterRoleBindings().Informer().GetIndexer(),
	}, nil
}

func (s *informerSource) Role(namespace, name string) (*rbacv1.Role, error) {
	return s.roles.Roles(namespace).Get(name)
}

func (s *informerSource) ClusterRole(name string) (*rbacv1.ClusterRole, error) {
	return s.clusterRoles.Get(name)
}

func (s *informerSource) RoleBindings(namespace, subject string) ([]*rbacv1.RoleBinding, error) {
	return indexed[*rbacv1.RoleBinding](s.roleBindings, namespace+"/"+subject)
}

func (s *informerSource) ClusterRoleBindings(subject string) ([]*rbacv1.ClusterRoleBinding, error) {
	return indexed[*rbacv1.ClusterRoleBinding](s.clusterRoleBindings, subject)
}

func indexed[T any](i cache.Indexer, key string) ([]T, error) {
	objs, err := i.ByIndex(subjectIndex, key)
	if err != nil || len(objs) == 0 {
		return nil, err
	}
	out := make([]T, 0, len(objs))
	for _, o := range objs {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out, nil
}
