package main

import (
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"proa/apis"
	"proa/apis/admission"
	"proa/apis/server"
	"proa/apis/server/authn"
	"proa/apis/server/authz"
)

// security is the cluster's own: its PKI, Node and RBAC, every admission plugin.
func (c *cluster) security(p server.Parts) (*server.Security, error) {
	chain, err := authz.FromFlags(authz.Flags{Modes: []string{authz.ModeNode, authz.ModeRBAC}})
	if err != nil {
		return nil, err
	}
	issuer := fmt.Sprintf("https://kubernetes.default.svc.%s", c.config.clusterDomain)
	s, err := securityOptions{
		clock:    c.clock,
		clientCA: c.identity.ClusterCA.CertFile, requestHeaderCA: c.identity.FrontProxyCA.CertFile,
		frontProxy:      *authn.AggregatorHeaders(nil, []string{c.identity.FrontProxyClient.Cert.Subject.CommonName}),
		bootstrapTokens: true, anonymous: authn.OnHealthPaths(),
		issuers: []string{issuer}, signingKey: c.identity.ServiceAccountKey, audiences: authenticator.Audiences{issuer},
		jwksURL:      c.url() + authn.JWKSPath,
		extendTokens: true, lookUpInSecrets: true,
		authorization: authz.Options{Configuration: chain}, nodeRules: c.bootstrap.NodeRules(),
		admits: func(name string) bool { return admission.DefaultOn(name) || name == "NodeRestriction" },
	}.build(p)
	if err != nil {
		return nil, err
	}
	maps.Copy(s.Handlers, c.metrics.handlers())
	return s, nil
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
