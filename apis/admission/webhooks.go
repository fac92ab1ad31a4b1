package admission

import (
	"context"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	utilcompatibility "k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/restmapper"
)

// Webhooks are what the plugins that ask webhooks and CEL policies depend on
// beyond Options.
type Webhooks struct {
	// Dynamic reads the parameters of policies, from this same API server.
	Dynamic dynamic.Interface
	// Services finds a webhook's endpoint by its Service.
	Services webhookutil.ServiceResolver
	// Authentication says how to authenticate to webhooks.
	Authentication webhookutil.AuthenticationInfoResolverWrapper
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

func newMutatingWebhook(o Options, config io.Reader) (admission.Interface, error) {
	if o.Webhooks == nil {
		return nil, nil
	}
	plugin, err := mutatingwebhook.NewMutatingWebhook(config)
	if err != nil {
		return nil, err
	}
	return plugin, o.initialize(o.Context, plugin)
}

func newValidatingWebhook(o Options, config io.Reader) (admission.Interface, error) {
	if o.Webhooks == nil {
		return nil, nil
	}
	plugin, err := validatingwebhook.NewValidatingAdmissionWebhook(config)
	if err != nil {
		return nil, err
	}
	return plugin, o.initialize(o.Context, plugin)
}

// initialize gives a library's plugin all it may want. Its background work ends
// with ctx, or once the server has drained.
func (o Options) initialize(ctx context.Context, plugin admission.Interface) error {
	w := o.Webhooks
	if w.Dynamic == nil || w.Services == nil || w.Authentication == nil || w.Authorizer == nil || o.Drained == nil {
		return fmt.Errorf("admission: Drained and every field of Webhooks are required")
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-o.Drained:
		case <-ctx.Done():
		}
	}()
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(o.Client.Discovery()))
	if e, ok := plugin.(initializer.WantsExcludedAdmissionResources); ok {
		e.SetExcludedAdmissionResources(reviews())
	}
	admission.PluginInitializers{
		initializer.New(o.Client, w.Dynamic, steadyInformers{o.Informers, o.Context.Done()}, w.Authorizer, utilfeature.DefaultFeatureGate,
			utilcompatibility.DefaultBuildEffectiveVersion(), ctx.Done(), mapper),
		webhookinit.NewPluginInitializer(w.Authentication, w.Services),
	}.Initialize(plugin)
	if _, ok := plugin.(initializer.WantsRESTMapper); ok {
		go wait.UntilWithContext(ctx, func(context.Context) { mapper.Reset() }, rediscover)
	}
	return nil
}

// steadyInformers run until the server stops, whoever starts them: the library
// starts the informer of a policy's parameters for as long as that policy lives,
// after which the factory would take it for running for ever.
type steadyInformers struct {
	informers.SharedInformerFactory
	stop <-chan struct{}
}

// Start implements informers.SharedInformerFactory.
func (s steadyInformers) Start(<-chan struct{}) { s.SharedInformerFactory.Start(s.stop) }
