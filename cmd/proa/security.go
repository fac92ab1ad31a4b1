package main

import (
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"

	"proa/apis/server"
	"proa/apis/server/authn"
)

// security wires authentication, authorization and admission.
func (c *cluster) security(p server.Parts) (*server.Security, error) {
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", c.identity.ClusterCA.CertFile)
	if err != nil {
		return nil, err
	}
	static := map[string]*user.DefaultInfo{}
	for token, u := range p.Local {
		static[token] = u.(*user.DefaultInfo)
	}
	authenticator := authn.New(authn.Options{
		Clock: c.clock, ClientCA: ca.VerifyOptions, StaticTokens: static, AnonymousPaths: authn.HealthPaths(),
	})
	return &server.Security{
		Authenticator: authenticator,
		Authorizer:    authorizerfactory.NewAlwaysAllowAuthorizer(),
		RuleResolver:  authorizerfactory.NewAlwaysAllowAuthorizer(),
	}, nil
}
