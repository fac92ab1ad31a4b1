package admission

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	utilcompatibility "k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// Webhooks are what the plugins that ask webhooks and CEL policies depend on
// beyond Options.
type Webhooks struct {
	// Context ends the plugins' background work.
	Context context.Context
	// Dynamic reads the parameters of policies, from this same API server.
	Dynamic dynamic.Interface
	// Services finds a webhook's endpoint by its Service.
	Services webhookutil.ServiceResolver
	// Authentication says how to authenticate to webhooks.
	Authentication webhookutil.AuthenticationInfoResolverWrapper
	// Drained is closed when the last request is answered: policies hold until then.
	Drained <-chan struct{}
	// Authorizer answers the questions of expressions and match conditions.
	Authorizer authorizer.Authorizer
}

// rediscover is how often the kinds of policies' parameters are looked up anew
// (when a policy next needs one).
const rediscover = 30 * time.Second

// reviews are not for webhooks and policies to see: a webhook's own
// authentication may depend on them.
func reviews() []schema.GroupResource {
	return []schema.GroupResource{
		{Group: "authentication.k8s.io", Resource: "selfsubjectreviews"},
		{Group: "authentication.k8s.io", Resource: "tokenreviews"},
		{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"},
		{Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"},
		{Group: "authorization.k8s.io", Resource: "selfsubjectrulesreviews"},
		{Group: "authorization.k8s.io", Resource: "subjectaccessreviews"},
	}
}

// newWebhooks makes the library's plugins in upstream's order and gives them
// what they need.
func newWebhooks(o Options) ([]Named, error) {
	w := o.Webhooks
	if w.Context == nil || w.Dynamic == nil || w.Services == nil || w.Authentication == nil || w.Drained == nil || w.Authorizer == nil {
		return nil, fmt.Errorf("admission: Webhooks: every field is required")
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(o.Client.Discovery()))
	initializers := admission.PluginInitializers{
		initializer.New(o.Client, w.Dynamic, o.Informers, w.Authorizer, utilfeature.DefaultFeatureGate,
			utilcompatibility.DefaultBuildEffectiveVersion(), w.Drained, mapper),
		webhookinit.NewPluginInitializer(w.Authentication, w.Services),
	}
	namespaces := o.Informers.Core().V1().Namespaces().Informer().HasSynced
	var out []Named
	for _, p := range []struct {
		name string
		make func() (admission.Interface, error)
	}{
		{mutatingpolicy.PluginName, func() (admission.Interface, error) { return mutatingpolicy.NewPlugin(nil) }},
		{mutatingwebhook.PluginName, func() (admission.Interface, error) { return mutatingwebhook.NewMutatingWebhook(nil) }},
		{validatingpolicy.PluginName, func() (admission.Interface, error) { return validatingpolicy.NewPlugin(nil) }},
		{validatingwebhook.PluginName, func() (admission.Interface, error) { return validatingwebhook.NewValidatingAdmissionWebhook(nil) }},
	} {
		if o.Admits != nil && !o.Admits(p.name) {
			continue // not even its background work
		}
		plugin, err := p.make()
		if err != nil {
			return nil, fmt.Errorf("admission: %s: %w", p.name, err)
		}
		if e, ok := plugin.(initializer.WantsExcludedAdmissionResources); ok {
			e.SetExcludedAdmissionResources(reviews())
		}
		initializers.Initialize(plugin)
		switch f := o.Informers.Admissionregistration().V1(); p.name {
		case mutatingpolicy.PluginName:
			plugin = deferSetup(w.Context, p.name, plugin, namespaces, f.MutatingAdmissionPolicies().Informer().HasSynced, f.MutatingAdmissionPolicyBindings().Informer().HasSynced)
		case validatingpolicy.PluginName:
			plugin = deferSetup(w.Context, p.name, plugin, namespaces, f.ValidatingAdmissionPolicies().Informer().HasSynced, f.ValidatingAdmissionPolicyBindings().Informer().HasSynced)
		}
		out = append(out, Named{p.name, plugin})
	}
	go wait.UntilWithContext(w.Context, func(context.Context) { mapper.Reset() }, rediscover)
	return out, nil
}
