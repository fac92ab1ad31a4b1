package main

import (
	"fmt"
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"

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
	static := map[string]*user.DefaultInfo{}
	for token, u := range p.Local {
		static[token] = &user.DefaultInfo{Name: u.GetName(), Groups: u.GetGroups()}
	}
	authenticator := authn.New(authn.Options{
		Clock: c.clock, Audiences: audiences, ClientCA: ca.VerifyOptions, FrontProxyCA: proxyCA.VerifyOptions,
		FrontProxyNames: []string{c.identity.FrontProxyClient.Cert.Subject.CommonName},
		StaticTokens:    static, ServiceAccounts: tokens, BootstrapClient: p.Client, AnonymousPaths: authn.HealthPaths(),
	})
	authorization, err := authz.New(authz.Options{Informers: p.Informers})
	if err != nil {
		return nil, err
	}
	discovery, err := tokens.Discovery(c.url() + authn.JWKSPath)
	if err != nil {
		return nil, err
	}
	return &server.Security{
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
