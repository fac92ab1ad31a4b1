package main

import (
	"context"
	"crypto"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	k8sadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/dynamic"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/apis/admission"
	"proa/apis/server"
	"proa/apis/server/authn"
	"proa/apis/server/authz"
)

// securityOptions describe who may do what at an API server, as flags say it.
type securityOptions struct {
	clock clock.PassiveClock

	// clientCA and requestHeaderCA are PEM files, re-read when they change; empty
	// turns the way off. frontProxy is what else is said of the latter.
	clientCA, requestHeaderCA string
	frontProxy                authn.FrontProxy
	// tokens are fixed bearer tokens.
	tokens          map[string]user.Info
	bootstrapTokens bool
	anonymous       apiserver.AnonymousAuthConfig
	// jwt are other issuers, webhook is a server that is asked; nil and empty for none.
	jwt     *authn.JWTOptions
	webhook webhookFlags

	// issuers and keys: the first issuer and the signing key make service-account
	// tokens, the others are accepted too.
	issuers          []string
	signingKey       crypto.Signer
	otherKeys        []crypto.PublicKey
	audiences        authenticator.Audiences
	maxTokenLifetime time.Duration
	// extendTokens and lookUpInSecrets are upstream's defaults when true.
	extendTokens, lookUpInSecrets bool
	// jwksURL is where the token keys can be fetched.
	jwksURL string

	// authorization has the chain; what depends on the server is filled in here.
	authorization authz.Options
	nodeRules     []rbacv1.PolicyRule

	// admits says which admission plugins run.
	admits func(name string) bool
	// admissionConfig has admission plugins' own configuration; nil for none.
	admissionConfig k8sadmission.ConfigProvider
}

// build implements server.Options.Security.
func (o securityOptions) build(p server.Parts) (*server.Security, error) {
	metrics := authn.NewMetrics(legacyregistry.Register)
	objects := authn.NewGetter(p.Informers, p.Client)
	tokens, err := authn.NewServiceAccountTokens(authn.ServiceAccountOptions{
		Clock: o.clock, Issuer: o.issuers[0], OtherIssuers: o.issuers[1:], Key: o.signingKey, OtherKeys: o.otherKeys,
		Audiences: o.audiences, Objects: objects, MaxLifetime: o.maxTokenLifetime, Extend: o.extendTokens, Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	inSecrets := authn.LegacyOptions{
		Clock: o.clock, Keys: append([]crypto.PublicKey{o.signingKey.Public()}, o.otherKeys...), Audiences: o.audiences, Client: p.Client, Metrics: metrics,
	}
	if o.lookUpInSecrets {
		inSecrets.Objects = objects
	}
	legacy, err := authn.NewLegacyTokens(inSecrets)
	if err != nil {
		return nil, err
	}
	authentication, err := o.authenticator(p, tokens, legacy)
	if err != nil {
		return nil, err
	}
	chain := o.authorization
	chain.Informers, chain.Served, chain.NodeRules = p.Informers, served(), o.nodeRules
	chain.ServerID, chain.WebhookBackoff = p.ServerID, *options.DefaultAuthWebhookRetryBackoff()
	authorization, err := authz.New(p.Context, chain)
	if err != nil {
		return nil, err
	}
	anything, err := dynamic.NewForConfig(p.Loopback)
	if err != nil {
		return nil, err
	}
	plugins, err := admission.Plugins(admission.Options{
		Context: p.Context, Drained: p.Drained, Clock: o.clock,
		Client: p.Client, Informers: p.Informers, Authorizer: authorization, Served: served(),
		Admits: o.admits, Config: o.admissionConfig,
		Webhooks: &admission.Webhooks{
			Dynamic: anything, Services: p.Services, Authentication: p.WebhookAuthentication, Authorizer: authorization,
		},
	})
	if err != nil {
		return nil, err
	}
	var admits []server.NamedAdmission
	for _, a := range plugins {
		admits = append(admits, server.NamedAdmission(a))
	}
	s := &server.Security{
		Admission: admits, Authenticator: authentication, Authorizer: authorization, RuleResolver: authorization,
		Tokens: tokens, Audiences: o.audiences,
	}
	s.Handlers = map[string]http.Handler{}
	if f := o.frontProxy; o.requestHeaderCA != "" {
		s.RequestHeaders = &authenticatorfactory.RequestHeaderConfig{
			UsernameHeaders: headerrequest.StaticStringSlice(f.UserHeaders), UIDHeaders: headerrequest.StaticStringSlice(f.UIDHeaders),
			GroupHeaders: headerrequest.StaticStringSlice(f.GroupHeaders), ExtraHeaderPrefixes: headerrequest.StaticStringSlice(f.ExtraHeaderPrefixes),
		}
	}
	// The issuer's documents are served only where they can be conforming.
	discovery, err := tokens.Discovery(o.jwksURL)
	if err != nil {
		klog.FromContext(p.Context).Info("The documents of the issuer of service-account tokens are not served", "reason", err)
		return s, nil
	}
	s.Handlers[authn.OpenIDConfigurationPath], s.Handlers[authn.JWKSPath] = discovery.Configuration, discovery.Keys
	return s, nil
}

func (o securityOptions) authenticator(p server.Parts, tokens *authn.ServiceAccountTokens, legacy *authn.LegacyTokens) (authenticator.Request, error) {
	static := maps.Clone(p.Local)
	if static == nil {
		static = map[string]user.Info{}
	}
	maps.Copy(static, o.tokens)
	a := authn.Options{
		Clock: o.clock, Audiences: o.audiences, Anonymous: o.anonymous,
		StaticTokens: static, ServiceAccounts: tokens, LegacyServiceAccounts: legacy,
	}
	var err error
	if a.ClientCA, err = verifier(p.Context, "client-ca", o.clientCA); err != nil {
		return nil, err
	}
	if o.requestHeaderCA != "" {
		front := o.frontProxy
		if front.CA, err = verifier(p.Context, "request-header-ca", o.requestHeaderCA); err != nil {
			return nil, err
		}
		a.FrontProxy = &front
	}
	if o.bootstrapTokens {
		a.BootstrapClient = p.Client
	}
	if o.jwt != nil {
		j := *o.jwt
		j.ServerID = p.ServerID
		if a.JWT, err = authn.NewJWT(p.Context, j); err != nil {
			return nil, err
		}
	}
	if w := o.webhook; w.kubeconfig != "" {
		if a.Webhook, err = authn.NewWebhook(w.kubeconfig, w.version, w.ttl, o.audiences, *options.DefaultAuthWebhookRetryBackoff()); err != nil {
			return nil, fmt.Errorf("--authentication-token-webhook-config-file: %w", err)
		}
	}
	return authn.New(a), nil
}

// verifier reads a CA bundle, again when it changes, until ctx ends; nil without a file.
func verifier(ctx context.Context, name, file string) (x509request.VerifyOptionFunc, error) {
	if file == "" {
		return nil, nil
	}
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile(name, file)
	if err != nil {
		return nil, err
	}
	go ca.Run(ctx, 1)
	return ca.VerifyOptions, nil
}

// usesRBAC says whether somebody looks at roles.
func (o *securityOptions) usesRBAC() bool {
	return slices.ContainsFunc(o.authorization.Configuration.Authorizers, func(a apiserver.AuthorizerConfiguration) bool {
		return string(a.Type) == "RBAC"
	})
}
