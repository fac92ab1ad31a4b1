package authz

import (
	"errors"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/union"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Options configure New.
type Options struct {
	// Informers watch this same API server; New asks it for the RBAC kinds and pods
	// (and PersistentVolumes and VolumeAttachments, if Volumes says they are served)
	// before it is started.
	Informers informers.SharedInformerFactory
	Volumes   bool
	// NodeRules are what every node may do (the rules of ClusterRole system:node).
	NodeRules []rbacv1.PolicyRule
}

// Authorization is what New builds.
type Authorization struct {
	authorizer.Authorizer
	// RBAC resolves rules, for SelfSubjectRulesReviews and escalation checks.
	RBAC *RBAC
	// Synced say that the informers behind it have seen everything once.
	Synced []cache.InformerSynced
}

// Rules resolves the rules of all authorizers of the chain.
func (a *Authorization) Rules() authorizer.RuleResolver {
	return union.NewRuleResolvers(nodeRuleResolver{}, a.RBAC)
}

// New builds the chain: system:masters, Node, RBAC.
func New(o Options) (*Authorization, error) {
	if o.Informers == nil {
		return nil, errors.New("authz: Options.Informers is required")
	}
	source, err := newInformerSource(o.Informers)
	if err != nil {
		return nil, err
	}
	graph := NewGraph()
	synced, err := graph.follow(o.Informers, o.Volumes)
	if err != nil {
		return nil, err
	}
	rbac := NewRBAC(source)
	chain, err := union.New(
		union.NamedAuthorizer{AuthorizerName: "masters", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)},
		union.NamedAuthorizer{AuthorizerName: "node", Authorizer: NewNode(graph, o.NodeRules)},
		union.NamedAuthorizer{AuthorizerName: "rbac", Authorizer: rbac},
	)
	if err != nil {
		return nil, err
	}
	return &Authorization{Authorizer: chain, RBAC: rbac, Synced: append(synced, source.synced...)}, nil
}
