package main

import (
	"crypto"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	k8sadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/union"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"

	"proa/apis/admission"
	"proa/apis/server"
	"proa/apis/server/authn"
	"proa/apis/server/authz"
)

// securityOptions describe who may do what at an API server, as flags say it.
type securityOptions struct {
	clock clock.PassiveClock

	// clientCA and requestHeaderCA are PEM files; empty turns the way off.
	clientCA, requestHeaderCA string
	// frontProxyNames may use the X-Remote-* headers; empty means all.
	frontProxyNames []string
	// tokens are fixed bearer tokens.
	tokens          map[string]user.Info
	bootstrapTokens bool
	anonymous       bool

	// issuers and keys: the first issuer and the signing key make service-account
	// tokens, the others are accepted too.
	issuers          []string
	signingKey       crypto.Signer
	otherKeys        []crypto.PublicKey
	audiences        authenticator.Audiences
	maxTokenLifetime time.Duration
	// jwksURL is where the token keys can be fetched.
	jwksURL string

	// modes are upstream's --authorization-mode.
	modes     []string
	nodeRules []rbacv1.PolicyRule

	// admits says which admission plugins run.
	admits func(name string) bool
	// admissionConfig has admission plugins' own configuration; nil for none.
	admissionConfig k8sadmission.ConfigProvider
}

// build implements server.Options.Security.
func (o securityOptions) build(p server.Parts) (*server.Security, error) {
	tokens, err := authn.NewServiceAccountTokens(authn.ServiceAccountOptions{
		Clock: o.clock, Issuer: o.issuers[0], OtherIssuers: o.issuers[1:], Key: o.signingKey, OtherKeys: o.otherKeys,
		Audiences: o.audiences, Objects: authn.NewGetter(p.Informers, p.Client), MaxLifetime: o.maxTokenLifetime,
	})
	if err != nil {
		return nil, err
	}
	authentication, err := o.authenticator(p, tokens)
	if err != nil {
		return nil, err
	}
	authorization, rules, err := o.authorizer(p)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(p.Loopback)
	if err != nil {
		return nil, err
	}
	plugins, err := admission.Plugins(admission.Options{
		Context: p.Context, Drained: p.Drained, Clock: o.clock,
		Client: p.Client, Informers: p.Informers, Authorizer: authorization, Served: served(),
		Admits: o.admits, Config: o.admissionConfig,
		Webhooks: &admission.Webhooks{
			Dynamic: objects, Services: p.Services, Authentication: p.WebhookAuthentication, Authorizer: authorization,
		},
	})
	if err != nil {
		return nil, err
	}
	var chain []server.NamedAdmission
	for _, a := range plugins {
		chain = append(chain, server.NamedAdmission(a))
	}
	s := &server.Security{
		Admission: chain, Authenticator: authentication, Authorizer: authorization, RuleResolver: rules,
		Tokens: tokens, Audiences: o.audiences,
	}
	// Upstream serves the issuer's documents only where they can be conforming.
	if strings.HasPrefix(o.issuers[0], "https://") {
		discovery, err := tokens.Discovery(o.jwksURL)
		if err != nil {
			return nil, err
		}
		s.Handlers = map[string]http.Handler{
			authn.OpenIDConfigurationPath: discovery.Configuration,
			authn.JWKSPath:                discovery.Keys,
		}
	}
	return s, nil
}

func (o securityOptions) authenticator(p server.Parts, tokens *authn.ServiceAccountTokens) (authenticator.Request, error) {
	static := maps.Clone(p.Local)
	if static == nil {
		static = map[string]user.Info{}
	}
	maps.Copy(static, o.tokens)
	a := authn.Options{
		Clock: o.clock, Audiences: o.audiences, FrontProxyNames: o.frontProxyNames,
		StaticTokens: static, ServiceAccounts: tokens,
	}
	var err error
	if a.ClientCA, err = verifier("client-ca", o.clientCA); err != nil {
		return nil, err
	}
	if a.FrontProxyCA, err = verifier("request-header-ca", o.requestHeaderCA); err != nil {
		return nil, err
	}
	if o.bootstrapTokens {
		a.BootstrapClient = p.Client
	}
	if o.anonymous {
		a.AnonymousPaths = authn.HealthPaths()
	}
	return authn.New(a), nil
}

// verifier reads a CA bundle, again when it changes; nil without a file.
func verifier(name, file string) (x509request.VerifyOptionFunc, error) {
	if file == "" {
		return nil, nil
	}
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile(name, file)
	if err != nil {
		return nil, err
	}
	return ca.VerifyOptions, nil
}

// checkModes refuses authorization modes that there are not.
func checkModes(modes []string) error {
	have := map[string]bool{}
	for _, m := range modes {
		switch m {
		case "AlwaysAllow", "Node", "RBAC":
			have[m] = true
		default:
			return fmt.Errorf("--authorization-mode: %q: must be of AlwaysAllow, Node, RBAC", m)
		}
	}
	if len(have) == 0 || have["Node"] && !have["RBAC"] && !have["AlwaysAllow"] {
		return fmt.Errorf("--authorization-mode %s: must have RBAC or AlwaysAllow", strings.Join(modes, ","))
	}
	return nil
}

func (o securityOptions) authorizer(p server.Parts) (authorizer.Authorizer, authorizer.RuleResolver, error) {
	have := map[string]bool{}
	for _, m := range o.modes {
		have[m] = true
	}
	if have["AlwaysAllow"] {
		all := authorizerfactory.NewAlwaysAllowAuthorizer()
		return all, all, nil
	}
	a, err := authz.New(authz.Options{Informers: p.Informers, NodeRules: o.nodeRules})
	if err != nil {
		return nil, nil, err
	}
	if have["Node"] {
		return a, a.Rules(), nil
	}
	only, err := union.New(
		union.NamedAuthorizer{AuthorizerName: "masters", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)},
		union.NamedAuthorizer{AuthorizerName: "rbac", Authorizer: a.RBAC},
	)
	return only, a.RBAC, err
}
