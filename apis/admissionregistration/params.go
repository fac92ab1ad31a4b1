package admissionregistration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/discovery"

	"proa/apis/kind"
)

// params decides who may make policies read objects: only who may read them.
type params struct {
	authorizer authorizer.UnconditionalAuthorizer
	resolve    func(schema.GroupVersionKind) (resource string, err error)
	// paramKind is that of the named policy.
	paramKind func(ctx context.Context, policy string) (*registrationv1.ParamKind, error)
}

// newParams makes the check; policies is the resource that bindings name.
func newParams(d *kind.Deps, policies string) params {
	return params{
		authorizer: d.Authorizer,
		resolve: func(gvk schema.GroupVersionKind) (string, error) {
			return resolveResource(d.Client.Discovery(), gvk)
		},
		paramKind: func(ctx context.Context, policy string) (*registrationv1.ParamKind, error) {
			store := d.StoreOf(schema.GroupResource{Group: registrationv1.GroupName, Resource: policies})
			if store == nil {
				return nil, fmt.Errorf("%s are not served", policies)
			}
			o, err := store.Get(ctx, policy, &metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			switch p := o.(type) {
			case *registrationv1.ValidatingAdmissionPolicy:
				return p.Spec.ParamKind, nil
			case *registrationv1.MutatingAdmissionPolicy:
				return p.Spec.ParamKind, nil
			}
			return nil, fmt.Errorf("storage of %s holds a %T", policies, o)
		},
	}
}

func resolveResource(client discovery.DiscoveryInterface, gvk schema.GroupVersionKind) (string, error) {
	list, err := client.ServerResourcesForGroupVersion(gvk.GroupVersion().String())
	if err != nil {
		return "", err
	}
	for _, r := range list.APIResources {
		if r.Kind == gvk.Kind && !strings.Contains(r.Name, "/") && (r.Group == "" || r.Group == gvk.Group) && (r.Version == "" || r.Version == gvk.Version) {
			return r.Name, nil
		}
	}
	return "", &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
}

// superuser is who is not asked: the API server itself and its administrators.
func superuser(ctx context.Context) bool {
	u, ok := request.UserFrom(ctx)
	return ok && slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup)
}

// checkKind returns an error unless the user may read all objects of the kind.
func (p params) checkKind(ctx context.Context, k, old *registrationv1.ParamKind) error {
	if k == nil || old != nil && *k == *old || superuser(ctx) {
		return nil
	}
	u, ok := request.UserFrom(ctx)
	if !ok {
		return errors.New("cannot identify user to authorize read access to paramKind resources")
	}
	a := authorizer.AttributesRecord{User: u, Verb: "get", ResourceRequest: true, Name: "*", Namespace: "*", APIGroup: "*", APIVersion: "*", Resource: "*"}
	if gv, err := schema.ParseGroupVersion(k.APIVersion); err == nil {
		a.APIGroup, a.APIVersion = gv.Group, gv.Version
		if resource, err := p.resolve(gv.WithKind(k.Kind)); err == nil {
			a.Resource = resource
		}
	}
	decision, _, err := p.authorizer.Authorize(ctx, a)
	if err != nil {
		return err
	}
	if decision != authorizer.DecisionAllow {
		return fmt.Errorf(`user %v must have "get" permission on all objects of the referenced paramKind (kind=%s, apiVersion=%s)`, u, k.Kind, k.APIVersion)
	}
	return nil
}

// checkRef returns an error unless the user may read what the binding refers to.
func (p params) checkRef(ctx context.Context, policy string, ref *registrationv1.ParamRef) error {
	if ref == nil || superuser(ctx) {
		return nil
	}
	u, ok := request.UserFrom(ctx)
	if !ok {
		return errors.New("cannot identify user to authorize read access to paramRef object")
	}
	verb := "get"
	if ref.Name == "" {
		verb = "list"
	}
	a := authorizer.AttributesRecord{User: u, Verb: verb, ResourceRequest: true, Name: ref.Name, Namespace: ref.Namespace, APIGroup: "*", APIVersion: "*", Resource: "*"}
	unknown := "" // why only permission for everything would do
	k, err := p.paramKind(ctx, policy)
	if err != nil {
		unknown = "unable to get policy " + policy
	} else if k != nil {
		if gv, err := schema.ParseGroupVersion(k.APIVersion); err != nil {
			unknown = fmt.Sprintf("unable to parse paramKind %v", k)
		} else {
			a.APIGroup, a.APIVersion = gv.Group, gv.Version
			if resource, err := p.resolve(gv.WithKind(k.Kind)); err != nil {
				unknown = fmt.Sprintf("unable to resolve paramKind %v", k)
			} else {
				a.Resource = resource
			}
		}
	}
	decision, _, err := p.authorizer.Authorize(ctx, a)
	switch {
	case err != nil:
		return fmt.Errorf("failed to authorize request: %w", err)
	case decision == authorizer.DecisionAllow:
		return nil
	case unknown != "":
		return fmt.Errorf(`%s to determine minimum required permissions and user %v does not have "%v" permission for all groups, versions and resources`, unknown, u, verb)
	}
	return fmt.Errorf(`user %v does not have "%v" permission on the object referenced by paramRef`, u, verb)
}

// asking makes the storage ask check about objects that are valid otherwise;
// old is nil on create.
func asking[T kind.Object](r *kind.REST, path *field.Path, check func(ctx context.Context, obj, old T) error) {
	r.CreateStrategy = askOnCreate[T]{r.CreateStrategy, path, check}
	r.UpdateStrategy = askOnUpdate[T]{r.UpdateStrategy, path, check}
}

type askOnCreate[T kind.Object] struct {
	rest.RESTCreateStrategy
	path  *field.Path
	check func(ctx context.Context, obj, old T) error
}

func (s askOnCreate[T]) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	errs := s.RESTCreateStrategy.Validate(ctx, obj)
	if o, ok := obj.(T); ok && len(errs) == 0 {
		var none T
		if err := s.check(ctx, o, none); err != nil {
			errs = append(errs, field.Forbidden(s.path, err.Error()))
		}
	}
	return errs
}

type askOnUpdate[T kind.Object] struct {
	rest.RESTUpdateStrategy
	path  *field.Path
	check func(ctx context.Context, obj, old T) error
}

func (s askOnUpdate[T]) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	errs := s.RESTUpdateStrategy.ValidateUpdate(ctx, obj, old)
	n, ok := obj.(T)
	o, was := old.(T)
	if ok && was && len(errs) == 0 {
		if err := s.check(ctx, n, o); err != nil {
			errs = append(errs, field.Forbidden(s.path, err.Error()))
		}
	}
	return errs
}
