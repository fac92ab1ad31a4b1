package authz

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	authorizationmetrics "k8s.io/apiserver/pkg/authorization/metrics"
	"k8s.io/apiserver/pkg/authorization/union"
	configmetrics "k8s.io/apiserver/pkg/server/options/authorizationconfig/metrics"
	"k8s.io/apiserver/pkg/util/filesystem"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook"
	webhookmetrics "k8s.io/apiserver/plugin/pkg/authorizer/webhook/metrics"
	"k8s.io/klog/v2"
)

// mastersName is the chain's first, which no configuration names.
const mastersName = "system:masters"

// chain is the authorizers of one configuration.
type chain struct {
	authorizer.Authorizer
	rules authorizer.RuleResolver
}

// resolving is what every mode is.
type resolving interface {
	authorizer.Authorizer
	authorizer.RuleResolver
}

// build makes the chain of a valid configuration.
func (a *Authorization) build(c *apiserver.AuthorizationConfiguration) (*chain, error) {
	links := []union.NamedAuthorizer{{AuthorizerName: mastersName, Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)}}
	var rules []authorizer.RuleResolver
	for _, conf := range c.Authorizers {
		one, err := a.one(&conf)
		if err != nil {
			return nil, err
		}
		links = append(links, union.NamedAuthorizer{
			AuthorizerName: conf.Name,
			Authorizer:     authorizationmetrics.InstrumentedAuthorizer(string(conf.Type), conf.Name, one),
		})
		rules = append(rules, one)
	}
	all, err := union.New(links...)
	if err != nil {
		return nil, err
	}
	return &chain{all, union.NewRuleResolvers(rules...)}, nil
}

// one is the authorizer that an entry of the configuration means.
func (a *Authorization) one(c *apiserver.AuthorizerConfiguration) (resolving, error) {
	late := fmt.Errorf("authorizer type %s is not allowed if it was not enabled at initial server startup", c.Type)
	switch string(c.Type) {
	case ModeAlwaysAllow:
		return authorizerfactory.NewAlwaysAllowAuthorizer(), nil
	case ModeAlwaysDeny:
		return authorizerfactory.NewAlwaysDenyAuthorizer(), nil
	case ModeNode:
		if a.node == nil {
			return nil, late
		}
		return a.node, nil
	case ModeRBAC:
		if a.rbac == nil {
			return nil, late
		}
		return a.rbac, nil
	case ModeABAC:
		if a.abac == nil {
			return nil, late
		}
		return a.abac, nil
	case ModeWebhook:
		return a.webhook(c.Name, c.Webhook)
	}
	return nil, fmt.Errorf("unknown authorization mode %s specified", c.Type)
}

// webhookMetrics leaves out those of single requests, as upstream's server does.
type webhookMetrics struct {
	webhookmetrics.NoopRequestMetrics
	webhookmetrics.WebhookMetrics
	authorizationcel.MatcherMetrics
}

func (a *Authorization) webhook(name string, c *apiserver.WebhookConfiguration) (resolving, error) {
	client, err := webhookutil.LoadKubeconfig(*c.ConnectionInfo.KubeConfigFile, nil)
	if err != nil {
		return nil, fmt.Errorf("authorization webhook %s: %w", name, err)
	}
	if c.Timeout.Duration != 0 {
		client.Timeout = c.Timeout.Duration
	}
	onError := authorizer.DecisionNoOpinion
	switch c.FailurePolicy {
	case apiserver.FailurePolicyNoOpinion:
	case apiserver.FailurePolicyDeny:
		onError = authorizer.DecisionDeny
	default:
		return nil, fmt.Errorf("authorization webhook %s: unknown failurePolicy %q", name, c.FailurePolicy)
	}
	allowed, refused := c.AuthorizedTTL.Duration, c.UnauthorizedTTL.Duration
	if !c.CacheAuthorizedRequests {
		allowed = 0
	}
	if !c.CacheUnauthorizedRequests {
		refused = 0
	}
	w, err := webhook.New(client, c.SubjectAccessReviewVersion, allowed, refused, a.o.WebhookBackoff, onError, c.MatchConditions, name,
		webhookMetrics{WebhookMetrics: webhookmetrics.NewWebhookMetrics(), MatcherMetrics: authorizationcel.NewMatcherMetrics()}, a.compiler)
	if err != nil {
		return nil, fmt.Errorf("authorization webhook %s: %w", name, err)
	}
	return w, nil
}

// followFile replaces the chain when the file has another valid configuration;
// it looks at once at a change, and each interval. It ends with ctx.
func (a *Authorization) followFile(ctx context.Context, interval time.Duration) {
	configmetrics.RegisterMetrics()
	configmetrics.RecordAuthorizationConfigLastConfigInfo(a.o.ServerID, string(a.data))
	log := klog.FromContext(ctx).WithValues("file", a.o.ReloadFile)
	filesystem.WatchUntil(ctx, interval, a.o.ReloadFile, func() {
		switch changed, err := a.reload(); {
		case err != nil:
			log.Error(err, "Authorization configuration could not be reloaded; the last one stays")
			configmetrics.RecordAuthorizationConfigAutomaticReloadFailure(a.o.ServerID)
		case changed:
			log.Info("Authorization configuration reloaded")
			configmetrics.RecordAuthorizationConfigAutomaticReloadSuccess(a.o.ServerID, string(a.data))
		}
	}, func(err error) { log.Error(err, "Authorization configuration cannot be watched") })
}

// reload reads the file once, and says whether the chain is another one now.
func (a *Authorization) reload() (bool, error) {
	data, err := os.ReadFile(a.o.ReloadFile)
	if err != nil {
		return false, err
	}
	if bytes.Equal(data, a.data) {
		return false, nil
	}
	a.data = data
	// What keeps state for the process must stay configured, as upstream demands.
	required := sets.New[string]()
	for _, c := range a.o.Configuration.Authorizers {
		if c.Type != apiserver.TypeWebhook {
			required.Insert(string(c.Type))
		}
	}
	c, err := ParseConfiguration(data, a.compiler, required)
	if err != nil {
		return false, err
	}
	if equality.Semantic.DeepEqual(c, a.loaded) {
		return false, nil
	}
	a.loaded = c
	next, err := a.build(c)
	if err != nil {
		return false, err
	}
	a.current.Store(next)
	return true, nil
}
