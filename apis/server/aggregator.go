package server

import (
	"fmt"
	"net/http"
	"sync"

	crdinformers "k8s.io/apiextensions-apiserver/pkg/client/informers/externalversions/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	apiregistrationv1beta1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1beta1"
	aggregatorapi "k8s.io/kube-aggregator/pkg/apiserver"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"
)

// newAggregator is the first server of the chain: it proxies to extension API
// servers and hands everything else to delegate.
func newAggregator(shared genericapiserver.Config, etcd options.EtcdOptions, o Options, shareInformers informers.SharedInformerFactory, resolver aggregatorapi.ServiceResolver, transport *http.Transport, delegate genericapiserver.DelegationTarget, crds crdinformers.CustomResourceDefinitionInformer) (*aggregatorapi.APIAggregator, error) {
	shared.PostStartHooks = map[string]genericapiserver.PostStartHookConfigEntry{}
	shared.RESTOptionsGetter = nil
	shared.SkipOpenAPIInstallation = true // it publishes the aggregated documents itself
	etcd.StorageConfig.Codec = aggregatorscheme.Codecs.LegacyCodec(apiregistrationv1.SchemeGroupVersion, apiregistrationv1beta1.SchemeGroupVersion)
	etcd.StorageConfig.EncodeVersioner = runtime.NewMultiGroupVersioner(apiregistrationv1.SchemeGroupVersion, schema.GroupKind{Group: apiregistrationv1beta1.GroupName})
	etcd.SkipHealthEndpoints = true
	if err := etcd.ApplyTo(&shared); err != nil {
		return nil, err
	}
	shared.MergedResourceConfig = aggregatorapi.DefaultAPIResourceConfigSource()
	config := &aggregatorapi.Config{
		GenericConfig: &genericapiserver.RecommendedConfig{Config: shared, SharedInformerFactory: shareInformers},
		ExtraConfig: aggregatorapi.ExtraConfig{
			ProxyClientCertFile: o.ProxyClientCert, ProxyClientKeyFile: o.ProxyClientKey,
			ServiceResolver: resolver, ProxyTransport: transport,
		},
	}
	server, err := config.Complete().NewWithDelegate(delegate)
	if err != nil {
		return nil, err
	}
	for gv, p := range priorities() {
		shared.AggregatedDiscoveryGroupManager.SetGroupVersionPriority(metav1.GroupVersion(gv), int(p.group), int(p.version))
	}
	return server, addAutoRegistration(server, shared, delegate, crds)
}

func addAutoRegistration(server *aggregatorapi.APIAggregator, shared genericapiserver.Config, delegate genericapiserver.DelegationTarget, crds crdinformers.CustomResourceDefinitionInformer) error {
	client, err := aggregatorclient.NewForConfig(shared.LoopbackClientConfig)
	if err != nil {
		return err
	}
	services := server.APIRegistrationInformers.Apiregistration().V1().APIServices()
	registration := autoregister.NewAutoRegisterController(services, client)
	names := registerBuiltins(delegate.ListedPaths(), registration)
	customs, err := newCRDRegistration(crds, registration)
	if err != nil {
		return err
	}
	err = server.GenericAPIServer.AddPostStartHook("kube-apiserver-autoregistration", func(ctx genericapiserver.PostStartHookContext) error {
		initial := make(chan struct{})
		go customs.run(ctx, initial)
		go func() {
			// Not before the custom ones are known, or its first pass would delete theirs.
			select {
			case <-initial:
				registration.Run(5, ctx.Done())
			case <-ctx.Done():
			}
		}()
		return nil
	})
	if err != nil {
		return err
	}
	check, err := availableOnce(names, services.Informer())
	if err != nil {
		return err
	}
	return server.GenericAPIServer.AddBootSequenceHealthChecks(check)
}

// availableOnce is healthy once every named APIService has been seen available.
func availableOnce(names []string, informer cache.SharedIndexInformer) (healthz.HealthChecker, error) {
	var mu sync.Mutex
	pending := sets.New(names...)
	seen := func(obj any) {
		if s, ok := obj.(*apiregistrationv1.APIService); ok && helper.IsAPIServiceConditionTrue(s, apiregistrationv1.Available) {
			mu.Lock()
			defer mu.Unlock()
			pending.Delete(s.Name)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: seen, UpdateFunc: func(_, obj any) { seen(obj) }})
	return healthz.NamedCheck("autoregister-completion", func(*http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		if len(pending) > 0 {
			return fmt.Errorf("missing APIService: %v", sets.List(pending))
		}
		return nil
	}), err
}
