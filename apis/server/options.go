package server

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"proa/apis/kind"
)

// Options is what an API server is made of.
type Options struct {
	// Kinds are the served built-in kinds, in no particular order.
	Kinds []kind.Any
	// Conversions are added to the scheme (kinds with several versions).
	Conversions []func(*runtime.Scheme) error

	// Settings are what upstream's flags of the library say: where TLS is served,
	// the store, auditing, limits and the like.
	Settings *Settings
	// ClientCAFile verifies client certificates.
	ClientCAFile string
	// RequestHeaderCAFile, with the proxy certificate, serves aggregated APIs.
	RequestHeaderCAFile             string
	ProxyClientCert, ProxyClientKey string
	// KubeletClientCert and Key authenticate this server to node agents, whose
	// serving certificates ClusterCAFile verifies.
	KubeletClientCert, KubeletClientKey string

	// NoDial are addresses that no request is ever proxied to (simulated nodes').
	NoDial []netip.Prefix

	ServiceCIDRs []netip.Prefix
	NodePorts    utilnet.PortRange
	// EventTTL is how long events are kept; upstream keeps them an hour.
	EventTTL time.Duration

	// Security builds authentication, authorization and admission from what the
	// server has by then.
	Security func(Parts) (*Security, error)

	// PostStart runs once when the server serves, before it is ready; each is a
	// part of /readyz under its name.
	PostStart []PostStart

	// Components answer for their ComponentStatus (kind.Deps).
	Components map[string]kind.Check

	// LocalUsers are the identities that in-process clients may have (LocalConfig).
	LocalUsers []user.Info

	Clock clock.WithTicker
}

// Parts are the means for building security: clients of this very server, lazily connected.
type Parts struct {
	Context   context.Context
	Loopback  *rest.Config
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	// Services and WebhookAuthentication reach webhooks.
	Services              webhook.ServiceResolver
	WebhookAuthentication webhook.AuthenticationInfoResolverWrapper
	// Drained is closed when the server has answered its last request.
	Drained <-chan struct{}
	// ServerID names this server in metrics.
	ServerID string
	// Local authenticates the in-process clients' bearer tokens.
	Local map[string]user.Info
}

// Security is who may do what.
type Security struct {
	Authenticator authenticator.Request
	// RequestHeaders are those that name users, which no handler must see; beside
	// X-Remote-*, which none sees anyway.
	RequestHeaders *authenticatorfactory.RequestHeaderConfig
	Authorizer     authorizer.Authorizer
	RuleResolver   authorizer.RuleResolver
	// Admission runs in order.
	Admission []NamedAdmission
	Tokens    kind.TokenIssuer
	Audiences authenticator.Audiences
	// Handlers are further public documents by path (JWKS, OIDC discovery).
	Handlers map[string]http.Handler
}

// NamedAdmission is one admission plugin and the name that metrics and errors use.
type NamedAdmission struct {
	Name   string
	Plugin admission.Interface
}

// PostStart is a named step after start-up.
type PostStart struct {
	Name string
	Run  func(ctx context.Context, loopback *rest.Config) error
}
