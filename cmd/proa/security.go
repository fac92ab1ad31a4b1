package main

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"

	"proa/apis"
	"proa/apis/admission"
	"proa/apis/server"
	"proa/apis/server/authn"
	"proa/apis/server/authz"
)

// security wires authentication, authorization and admission.
func (c *cluster) security(p server.Parts) (*server.Security, error) {
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", c.identity.ClusterCA.CertFile)
	if err != nil {
		return nil, err
	}
	proxyCA, err := dynamiccertificates.NewDynamicCAContentFromFile("request-header-ca", c.identity.FrontProxyCA.CertFile)
	if err != nil {
		return nil, err
	}
	issuer := fmt.Sprintf("https://kubernetes.default.svc.%s", c.config.clusterDomain)
	audiences := authenticator.Audiences{issuer}
	tokens, err := authn.NewServiceAccountTokens(authn.ServiceAccountOptions{
		Clock: c.clock, Issuer: issuer, Key: c.identity.ServiceAccountKey, Audiences: audiences,
		Objects: authn.NewGetter(p.Informers, p.Client),
	})
	if err != nil {
		return nil, err
	}
	authenticator := authn.New(authn.Options{
		Clock: c.clock, Audiences: audiences, ClientCA: ca.VerifyOptions, FrontProxyCA: proxyCA.VerifyOptions,
		FrontProxyNames: []string{c.identity.FrontProxyClient.Cert.Subject.CommonName},
		StaticTokens:    p.Local, ServiceAccounts: tokens, BootstrapClient: p.Client, AnonymousPaths: authn.HealthPaths(),
	})
	authorization, err := authz.New(authz.Options{Informers: p.Informers, NodeRules: c.bootstrap.NodeRules()})
	if err != nil {
		return nil, err
	}
	discovery, err := tokens.Discovery(c.url() + authn.JWKSPath)
	if err != nil {
		return nil, err
	}
	plugins, err := admission.Plugins(admission.Options{
		Client: p.Client, Informers: p.Informers, Authorizer: authorization, Served: served(),
	})
	if err != nil {
		return nil, err
	}
	var chain []server.NamedAdmission
	for _, a := range plugins {
		chain = append(chain, server.NamedAdmission(a))
	}
	return &server.Security{
		Admission:     chain,
		Authenticator: authenticator,
		Authorizer:    authorization,
		RuleResolver:  authorization.Rules(),
		Tokens:        tokens,
		Audiences:     audiences,
		Handlers: map[string]http.Handler{
			authn.OpenIDConfigurationPath: discovery.Configuration,
			authn.JWKSPath:                discovery.Keys,
		},
	}, nil
}

// served says which of the built-in resources the API server has.
func served() func(schema.GroupVersionResource) bool {
	have := map[schema.GroupVersionResource]bool{}
	for _, k := range apis.Kinds() {
		d := k.Description()
		have[d.GVK.GroupVersion().WithResource(d.Resource)] = true
	}
	return func(r schema.GroupVersionResource) bool { return have[r] }
}
