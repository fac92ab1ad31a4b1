package admission

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"
)

// ownerReferences lets only those give an object owners who may delete it, and
// only those block an owner's deletion who may set its finalizers
// (OwnerReferencesPermissionEnforcement).
type ownerReferences struct {
	*admission.Handler
	authorizer authorizer.UnconditionalAuthorizer
	discovery  discovery.DiscoveryInterface

	mu     sync.Mutex
	mapper meta.RESTMapper // of the last discovery; nil before the first
}

func newOwnerReferences(o Options) *ownerReferences {
	return &ownerReferences{Handler: admission.NewHandler(admission.Create, admission.Update), authorizer: o.Authorizer, discovery: o.Client.Discovery()}
}

// mappings are the resources of an owner's kind; kinds that are not known are
// looked for once more.
func (p *ownerReferences) mappings(ref metav1.OwnerReference) ([]*meta.RESTMapping, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	kind := schema.GroupKind{Group: gv.Group, Kind: ref.Kind}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mapper != nil {
		if out, err := p.mapper.RESTMappings(kind, gv.Version); !meta.IsNoMatchError(err) {
			return out, err
		}
	}
	groups, err := restmapper.GetAPIGroupResources(p.discovery)
	if err != nil {
		return nil, err
	}
	p.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	return p.mapper.RESTMappings(kind, gv.Version)
}

// Validate implements admission.ValidationInterface.
func (p *ownerReferences) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() == (schema.GroupResource{Resource: "pods"}) && a.GetSubresource() == "status" {
		return nil
	}
	now, err := meta.Accessor(a.GetObject())
	if err != nil {
		return nil
	}
	var had []metav1.OwnerReference
	if old, err := meta.Accessor(a.GetOldObject()); err == nil && a.GetOldObject() != nil {
		had = old.GetOwnerReferences()
	}
	refs := now.GetOwnerReferences()
	if equality.Semantic.DeepEqual(refs, had) {
		return nil
	}
	gvr := a.GetResource()
	if a.GetOperation() != admission.Create {
		if decision, reason, err := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
			User: a.GetUserInfo(), Verb: "delete", Namespace: a.GetNamespace(), APIGroup: gvr.Group, APIVersion: gvr.Version,
			Resource: gvr.Resource, Subresource: a.GetSubresource(), Name: a.GetName(), ResourceRequest: true,
		}); decision != authorizer.DecisionAllow {
			return admission.NewForbidden(a, fmt.Errorf("cannot set an ownerRef on a resource you can't delete: %v, %v", reason, err))
		}
	}
	blocking := newlyBlocking(refs, had)
	if len(blocking) == 0 {
		return nil
	}
	finalizers := authorizer.AttributesRecord{User: a.GetUserInfo(), Verb: "update", APIGroup: "*", APIVersion: "*", Resource: "*", Subresource: "finalizers", Name: "*", ResourceRequest: true}
	if decision, _, _ := p.authorizer.Authorize(ctx, finalizers); decision == authorizer.DecisionAllow {
		return nil
	}
	for _, ref := range blocking {
		mappings, err := p.mappings(ref)
		if err != nil {
			return admission.NewForbidden(a, fmt.Errorf("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %s Kind %s: %v", ref.APIVersion, ref.Kind, err))
		}
		for _, m := range mappings {
			r := finalizers
			r.APIGroup, r.APIVersion, r.Resource, r.Name = m.Resource.Group, m.Resource.Version, m.Resource.Resource, ref.Name
			if m.Scope.Name() == meta.RESTScopeNameNamespace {
				r.Namespace = a.GetNamespace()
			}
			if decision, reason, err := p.authorizer.Authorize(ctx, r); decision != authorizer.DecisionAllow {
				return admission.NewForbidden(a, fmt.Errorf("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %v, %v", reason, err))
			}
		}
	}
	return nil
}

// newlyBlocking are the references that block their owner's deletion and did not before.
func newlyBlocking(refs, had []metav1.OwnerReference) []metav1.OwnerReference {
	blocks := func(r metav1.OwnerReference) bool { return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion }
	before := map[types.UID]bool{}
	for _, r := range had {
		before[r.UID] = blocks(r)
	}
	var out []metav1.OwnerReference
	for _, r := range refs {
		if blocks(r) && !before[r.UID] {
			out = append(out, r)
		}
	}
	return out
}
