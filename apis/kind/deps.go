package kind

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/metrics"
	"k8s.io/utils/clock"
)

// Deps is what storages may need beyond their own kind. The API server fills
// it before any storage is built; fields documented as lazy may be called only
// while serving.
type Deps struct {
	// Scheme knows every served type; its first version of a type is the hub.
	Scheme      *runtime.Scheme
	RESTOptions generic.RESTOptionsGetter
	Clock       clock.WithTicker

	// Client and Informers reach this same API server over its loopback; lazy.
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory

	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer
	RuleResolver  authorizer.RuleResolver
	// APIAudiences are the audiences this server accepts.
	APIAudiences authenticator.Audiences
	Tokens       TokenIssuer

	// Nodes dials node agents for log, exec, attach, port-forward and proxy.
	Nodes NodeDialer

	// EventTTL is how long events are kept.
	EventTTL time.Duration

	// ServiceCIDRs are the ranges of cluster IPs; the first one's family is the default.
	ServiceCIDRs []netip.Prefix
	// NodePorts is the range for Service node ports.
	NodePorts net.PortRange

	// StoreOf returns another kind's storage; lazy, nil if that resource is not served.
	StoreOf func(schema.GroupResource) *REST

	// AfterStart has a step run once when the server serves; until the step returned
	// it is a failing part of /readyz under its name. ctx ends with the server.
	AfterStart func(name string, step func(ctx context.Context) error)
	// Components are asked for their ComponentStatus, by name; those of a process of
	// their own may be left out.
	Components map[string]Check
	// Metrics registers with what /metrics shows.
	Metrics func(metrics.Registerable) error
}

// TokenIssuer signs service-account tokens (TokenRequest API).
type TokenIssuer interface {
	// Issue returns a token for the service account bound to the given object
	// (bound may be zero: then to nothing but the account), and when it ends.
	Issue(ctx context.Context, sa *corev1.ServiceAccount, bound BoundObject, audiences []string, lifetime time.Duration) (token string, expires time.Time, err error)
	// MaxLifetime caps spec.expirationSeconds; zero for no cap.
	MaxLifetime() time.Duration
}

// BoundObject is the object whose deletion ends a token: a Pod, Secret or Node.
type BoundObject struct {
	Ref authenticationv1.BoundObjectReference
	// NodeName and NodeUID are added for pods, so that the token tells its node.
	NodeName string
	NodeUID  types.UID
}

// NodeDialer finds a node agent's endpoint.
type NodeDialer interface {
	// NodeURL returns the https base URL of the named node's agent and a transport
	// that authenticates the API server to it.
	NodeURL(ctx context.Context, nodeName string) (*url.URL, http.RoundTripper, error)
	// ProxyTransport is the transport for proxying to pods and services.
	ProxyTransport() http.RoundTripper
}

// Check asks a component how it is: "ok" if it is well.
type Check func(ctx context.Context) (message string, err error)
