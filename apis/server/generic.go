package server

import (
	"fmt"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	admissionmetrics "k8s.io/apiserver/pkg/admission/metrics"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/filters"
)

// genericConfig is the configuration that the three servers of the chain share.
func genericConfig(o Options, scheme *runtime.Scheme, codecs serializer.CodecFactory, transport *inMemory) (*genericapiserver.Config, error) {
	c := genericapiserver.NewConfig(codecs)
	c.LoopbackClientConfig = transport.config(uuid.NewString())
	if err := o.Settings.apply(c); err != nil {
		return nil, err
	}
	if o.ClientCAFile != "" {
		ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", o.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("client CA %s: %w", o.ClientCAFile, err)
		}
		c.SecureServing.ClientCA = ca
	}
	if o.RequestHeaderCAFile != "" {
		ca, err := dynamiccertificates.NewDynamicCAContentFromFile("request-header-ca", o.RequestHeaderCAFile)
		if err != nil {
			return nil, fmt.Errorf("request header CA %s: %w", o.RequestHeaderCAFile, err)
		}
		if c.SecureServing.ClientCA == nil {
			c.SecureServing.ClientCA = ca
		} else {
			c.SecureServing.ClientCA = dynamiccertificates.NewUnionCAContentProvider(c.SecureServing.ClientCA, ca)
		}
	}
	external, err := externalScheme()
	if err != nil {
		return nil, err
	}
	setOpenAPI(c, openapinamer.NewDefinitionNamer(external, extensionsScheme(), aggregatorScheme()))

	c.LongRunningFunc = filters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"), sets.NewString("attach", "exec", "proxy", "log", "portforward"))
	c.AggregatedDiscoveryGroupManager = aggregated.NewResourceManager("apis")
	return c, nil
}

// applySecurity puts authentication, authorization and admission into the config.
func applySecurity(c *genericapiserver.Config, s *Security) {
	c.Authentication.Authenticator = s.Authenticator
	c.Authentication.APIAudiences = s.Audiences
	c.Authentication.RequestHeaderConfig = s.RequestHeaders
	c.Authorization.Authorizer = s.Authorizer
	c.RuleResolver = s.RuleResolver
	var chain []admission.Interface
	for _, a := range s.Admission {
		chain = append(chain, admissionmetrics.WithControllerMetrics(a.Plugin, a.Name))
	}
	// Webhooks and policies that change an object may be asked again after others did.
	c.AdmissionControl = admissionmetrics.WithStepMetrics(reinvoking{admission.NewChainHandler(chain...)})
}
