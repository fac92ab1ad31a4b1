package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	extensionsapi "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/features"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	utilproxy "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	aggregatorapi "k8s.io/kube-aggregator/pkg/apiserver"
	"k8s.io/utils/clock"

	"proa/apis/kind"
)

// stepRetry is the pause before a failed start-up step is tried again.
const stepRetry = 200 * time.Millisecond

// shutdownTimeout is how long open connections are waited for at the end;
// clients' watches would hold them forever.
const shutdownTimeout = 2 * time.Second

// Server is the API server as a component.
type Server struct {
	transport *inMemory
	tokens    map[string]string // user name to bearer token
	loopback  *rest.Config
	chain     *aggregatorapi.APIAggregator
	informers informers.SharedInformerFactory
	address   net.Addr
	ready     chan struct{}
}

// New builds the server and opens its listener; ctx ends background work that
// building starts.
func New(ctx context.Context, o Options) (*Server, error) {
	scheme, err := NewScheme(o.Kinds, o.Conversions...)
	if err != nil {
		return nil, err
	}
	codecs := NewCodecs(scheme)
	s := &Server{transport: &inMemory{}, tokens: map[string]string{}, ready: make(chan struct{})}
	c, err := genericConfig(o, scheme, codecs, s.transport)
	if err != nil {
		return nil, err
	}
	s.loopback, s.address = c.LoopbackClientConfig, c.SecureServing.Listener.Addr()

	client, err := kubernetes.NewForConfig(s.loopback)
	if err != nil {
		return nil, err
	}
	s.informers = informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trimManagedFields))

	if err := o.Settings.applyWithClient(c, client, s.informers); err != nil {
		return nil, err
	}
	c.MergedResourceConfig, err = enabledAPIs(o.Settings.APIs.RuntimeConfig, o.Kinds, scheme, c.FlowControl != nil)
	if err != nil {
		return nil, err
	}
	o.Kinds = enabledKinds(o.Kinds, c.MergedResourceConfig)
	addPreviews(c, o.Kinds)
	etcd := o.Settings.storage(c)
	factory := storageFactory(etcd, c, o.Kinds, scheme, codecs)
	if err := etcd.ApplyWithStorageFactoryTo(factory, c); err != nil {
		return nil, fmt.Errorf("etcd at %v: %w", etcd.StorageConfig.Transport.ServerList, err)
	}

	local := map[string]user.Info{}
	for _, u := range o.LocalUsers {
		token := uuid.NewString()
		local[token], s.tokens[u.GetName()] = u, token
	}
	dialer := newNodeDialer(client, o)
	resolver := aggregatorapi.NewEndpointServiceResolver(s.informers.Core().V1().Services().Lister(), s.endpointSlices())
	resolver = aggregatorapi.NewLoopbackServiceResolver(resolver, &url.URL{Scheme: "https", Host: s.address.String()})
	auth := webhook.NewDefaultAuthenticationInfoResolverWrapper(dialer.proxy, c.EgressSelector, s.loopback, c.TracerProvider)

	security, err := o.Security(Parts{
		Context: ctx, Loopback: s.loopback, Client: client, Informers: s.informers, Local: local,
		Services: resolver, WebhookAuthentication: auth, Drained: c.DrainedNotify(), ServerID: c.APIServerID,
	})
	if err != nil {
		return nil, err
	}
	applySecurity(c, security)

	last := genericapiserver.NewEmptyDelegateWithCustomHandler(notfoundhandler.New(codecs, genericapifilters.NoMuxAndDiscoveryIncompleteKey))
	extensions, err := newExtensions(*c, *etcd, s.informers, resolver, auth, last)
	if err != nil {
		return nil, fmt.Errorf("custom resource server: %w", err)
	}
	deps := &kind.Deps{
		Scheme: scheme, RESTOptions: c.RESTOptionsGetter, Clock: o.Clock, Client: client, Informers: s.informers,
		APIAudiences: security.Audiences, Tokens: security.Tokens, Nodes: dialer,
		EventTTL: o.EventTTL, ServiceCIDRs: o.ServiceCIDRs, NodePorts: o.NodePorts,
		Metrics: legacyregistry.Register, Components: o.Components,
	}
	kinds, err := s.newKinds(c, o, deps, codecs, security, extensions)
	if err != nil {
		return nil, err
	}
	s.chain, err = newAggregator(*c, *etcd, o, s.informers, resolver, dialer.proxy, kinds,
		extensions.Informers.Apiextensions().V1().CustomResourceDefinitions())
	if err != nil {
		return nil, fmt.Errorf("aggregator: %w", err)
	}
	return s, nil
}

// newKinds is the server of the built-in kinds.
func (s *Server) newKinds(c *genericapiserver.Config, o Options, deps *kind.Deps, codecs serializer.CodecFactory, security *Security, extensions *extensionsapi.CustomResourceDefinitions) (*genericapiserver.GenericAPIServer, error) {
	server, err := c.Complete(s.informers).New("proa", extensions.GenericAPIServer)
	if err != nil {
		return nil, err
	}
	// Completing the config added the loopback user to both.
	deps.Authenticator, deps.Authorizer, deps.RuleResolver = c.Authentication.Authenticator, c.Authorization.Authorizer, c.RuleResolver
	steps := slices.Clone(o.PostStart)
	deps.AfterStart = func(name string, step func(context.Context) error) {
		steps = append(steps, PostStart{Name: name, Run: func(ctx context.Context, _ *rest.Config) error { return step(ctx) }})
	}
	if err := installKinds(server, o.Kinds, deps, deps.Scheme, codecs); err != nil {
		return nil, err
	}
	installHandlers(server, security.Handlers)
	if err := s.addHooks(server, deps.Client, o.Clock); err != nil {
		return nil, err
	}
	for _, step := range steps {
		err := server.AddPostStartHook(step.Name, func(ctx genericapiserver.PostStartHookContext) error {
			return s.runStep(ctx, step)
		})
		if err != nil {
			return nil, err
		}
	}
	return server, nil
}

// addHooks adds what every cluster's API server keeps, under upstream's names.
func (s *Server) addHooks(server *genericapiserver.GenericAPIServer, client kubernetes.Interface, clock clock.WithTicker) error {
	upkeep := fairness{client: client.FlowcontrolV1(), informers: s.informers, clock: clock}
	if err := server.AddPostStartHook(fairnessHook, upkeep.start); err != nil {
		return err
	}
	namespaces := s.informers.Core().V1().Namespaces()
	namespaces.Informer() // started with the others
	err := server.AddPostStartHook(systemNamespacesHook, func(ctx genericapiserver.PostStartHookContext) error {
		return s.runStep(ctx, PostStart{Name: systemNamespacesHook, Run: func(context.Context, *rest.Config) error {
			return keepSystemNamespaces(ctx, client.CoreV1(), namespaces)
		}})
	})
	if err != nil {
		return err
	}
	if err := server.AddPostStartHook("storage-readiness", server.StorageReadinessHook.Hook); err != nil {
		return err
	}
	if utilfeature.DefaultFeatureGate.Enabled(features.APIServerIdentity) {
		return addIdentityLease(server, client, clock)
	}
	return nil
}

// runStep runs a step until it succeeds: /readyz tells meanwhile that it has
// not, and a passing fault (a store election) does not end the process.
func (s *Server) runStep(ctx context.Context, step PostStart) error {
	for {
		err := step.Run(ctx, s.loopback)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		klog.FromContext(ctx).Error(err, "Start-up step failed, trying again", "step", step.Name)
		select {
		case <-ctx.Done():
		case <-time.After(stepRetry):
		}
	}
}

func (s *Server) endpointSlices() utilproxy.EndpointSliceGetter {
	getter, err := utilproxy.NewEndpointSliceIndexerGetter(s.informers.Discovery().V1().EndpointSlices())
	if err != nil {
		panic(err) // the indexer is fixed; it cannot clash in a fresh factory
	}
	return getter
}

// Name implements the component.
func (*Server) Name() string { return "apiserver" }

// Ready is closed when /readyz answers ok.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Address is where TLS is served.
func (s *Server) Address() net.Addr { return s.address }

// Handler is the whole chain, for tests.
func (s *Server) Handler() http.Handler { return s.chain.GenericAPIServer.Handler }

// LocalConfig is an in-memory client configuration for one of Options.LocalUsers;
// the empty name is the privileged loopback user.
func (s *Server) LocalConfig(userName string) *rest.Config {
	if userName == "" {
		return rest.CopyConfig(s.loopback)
	}
	return s.transport.config(s.tokens[userName])
}

// Run serves until ctx ends, then drains.
func (s *Server) Run(ctx context.Context) error {
	s.chain.GenericAPIServer.ShutdownTimeout = shutdownTimeout
	prepared, err := s.chain.PrepareRun()
	if err != nil {
		return err
	}
	var handler http.Handler = s.chain.GenericAPIServer.Handler
	s.transport.handler.Store(&handler)
	go s.announce(ctx)
	s.informers.Start(ctx.Done())
	return prepared.Run(ctx)
}

// trimManagedFields saves the informers' memory; nothing reads them there.
func trimManagedFields(obj any) (any, error) {
	if m, err := meta.Accessor(obj); err == nil && m.GetManagedFields() != nil {
		m.SetManagedFields(nil)
	}
	return obj, nil
}
