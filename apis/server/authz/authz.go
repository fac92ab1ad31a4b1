package authz

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/client-go/informers"
)

// The authorization modes, upstream's words for them.
const (
	ModeAlwaysAllow = "AlwaysAllow"
	ModeAlwaysDeny  = "AlwaysDeny"
	ModeABAC        = "ABAC"
	ModeWebhook     = "Webhook"
	ModeRBAC        = "RBAC"
	ModeNode        = "Node"
)

// Modes lists the modes as upstream's help does.
func Modes() []string {
	return []string{ModeAlwaysAllow, ModeAlwaysDeny, ModeABAC, ModeWebhook, ModeRBAC, ModeNode}
}

// Options configure New.
type Options struct {
	// Configuration is the chain in its order, valid (see FromFlags, LoadConfiguration).
	Configuration *apiserver.AuthorizationConfiguration
	// ReloadFile, when set, is where Configuration was read from, and Data what was
	// read; the chain follows the file's changes.
	ReloadFile string
	Data       []byte
	// ServerID labels the metrics of reloads.
	ServerID string

	// Informers watch this same API server; New asks it for what the modes need
	// before it is started. Served says which resources it serves.
	Informers informers.SharedInformerFactory
	Served    func(schema.GroupVersionResource) bool
	// NodeRules are what every node may do (the rules of ClusterRole system:node).
	NodeRules []rbacv1.PolicyRule
	// PolicyFile is the one of mode ABAC.
	PolicyFile string
	// WebhookBackoff is how failed calls of webhooks are repeated.
	WebhookBackoff wait.Backoff
}

// Authorization is the chain of authorizers as it is configured now.
type Authorization struct {
	o        Options
	compiler authorizationcel.Compiler
	// node, rbac and abac live as long as the process; nil when their mode was not
	// configured at the start.
	node *Node
	rbac *RBAC
	abac *ABAC

	current atomic.Pointer[chain]
	// data and loaded are what was last read and last understood of ReloadFile;
	// only the goroutine that follows it uses them.
	data   []byte
	loaded *apiserver.AuthorizationConfiguration
}

var (
	_ authorizer.Authorizer   = &Authorization{}
	_ authorizer.RuleResolver = &Authorization{}
)

// New builds the authorizers and their chain; system:masters comes before all.
// ctx ends the following of ReloadFile.
func New(ctx context.Context, o Options) (*Authorization, error) {
	if o.Configuration == nil || len(o.Configuration.Authorizers) == 0 {
		return nil, errors.New("at least one authorization mode must be passed")
	}
	a := &Authorization{o: o, compiler: authorizationcel.NewDefaultCompiler(), data: o.Data, loaded: o.Configuration}
	for _, c := range o.Configuration.Authorizers {
		var err error
		switch string(c.Type) {
		case ModeNode:
			graph := NewGraph()
			if err = graph.follow(o.Informers, o.Served); err == nil {
				a.node = NewNode(graph, o.NodeRules)
			}
		case ModeRBAC:
			var source *informerSource
			if source, err = newInformerSource(o.Informers); err == nil {
				a.rbac = NewRBAC(source)
			}
		case ModeABAC:
			a.abac, err = ReadABAC(o.PolicyFile)
		}
		if err != nil {
			return nil, err
		}
	}
	first, err := a.build(o.Configuration)
	if err != nil {
		return nil, err
	}
	a.current.Store(first)
	if o.ReloadFile != "" {
		go a.followFile(ctx, time.Minute)
	}
	return a, nil
}

// Authorize implements authorizer.Authorizer.
func (a *Authorization) Authorize(ctx context.Context, attrs authorizer.Attributes) (authorizer.Decision, string, error) {
	return a.current.Load().Authorize(ctx, attrs)
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (a *Authorization) ConditionsAwareAuthorize(ctx context.Context, attrs authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return a.current.Load().ConditionsAwareAuthorize(ctx, attrs)
}

// EvaluateConditions implements authorizer.Authorizer.
func (a *Authorization) EvaluateConditions(ctx context.Context, d authorizer.ConditionsAwareDecision, data authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return a.current.Load().EvaluateConditions(ctx, d, data)
}

// RulesFor implements authorizer.RuleResolver.
func (a *Authorization) RulesFor(ctx context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	return a.current.Load().rules.RulesFor(ctx, u, namespace)
}
