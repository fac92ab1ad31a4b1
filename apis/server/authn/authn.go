package authn

import (
	"context"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// tokenTTL is how long a checked token is trusted without looking again: as
// upstream, so that a deleted pod's token ends within it.
const tokenTTL = 10 * time.Second

// Options says which ways to authenticate there are; a nil field leaves its way out.
type Options struct {
	Clock clock.PassiveClock
	// Audiences are those this server accepts in tokens.
	Audiences authenticator.Audiences

	// ClientCA verifies client certificates (dynamiccertificates' VerifyOptions).
	ClientCA x509request.VerifyOptionFunc
	// FrontProxy may name the user in headers.
	FrontProxy *FrontProxy

	// StaticTokens are fixed bearer tokens: the process's own loopback clients, and
	// those of a file.
	StaticTokens map[string]user.Info
	// ServiceAccounts signs and checks service-account tokens; LegacyServiceAccounts
	// checks those that Secrets hold.
	ServiceAccounts       *ServiceAccountTokens
	LegacyServiceAccounts *LegacyTokens
	// BootstrapClient reads bootstrap token Secrets; it may be set to a client that
	// works only once the server serves.
	BootstrapClient kubernetes.Interface
	// JWT checks the tokens of other issuers, Webhook asks another server about tokens.
	JWT     *JWT
	Webhook authenticator.Token

	// Anonymous lets requests without credentials pass as system:anonymous, with
	// conditions on their paths only.
	Anonymous apiserver.AnonymousAuthConfig
}

// FrontProxy is who may name the user in headers, and in which.
type FrontProxy struct {
	// CA verifies the proxy's client certificate.
	CA x509request.VerifyOptionFunc
	// Names are the common names of proxies; empty allows all.
	Names []string
	// The names of the headers; the first that a request has counts.
	UserHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string
}

// AggregatorHeaders are those that the aggregator sends.
func AggregatorHeaders(ca x509request.VerifyOptionFunc, names []string) *FrontProxy {
	return &FrontProxy{
		CA: ca, Names: names, UserHeaders: []string{"X-Remote-User"}, UIDHeaders: []string{"X-Remote-Uid"},
		GroupHeaders: []string{"X-Remote-Group"}, ExtraHeaderPrefixes: []string{"X-Remote-Extra-"},
	}
}

// OnHealthPaths lets nobody pass but on the paths of health and version.
func OnHealthPaths() apiserver.AnonymousAuthConfig {
	a := apiserver.AnonymousAuthConfig{Enabled: true}
	for _, p := range []string{"/livez", "/readyz", "/healthz", "/version"} {
		a.Conditions = append(a.Conditions, apiserver.AnonymousAuthCondition{Path: p})
	}
	return a
}

// New builds the request authenticator, upstream's order of ways.
func New(o Options) authenticator.Request {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	var requests []authenticator.Request
	if p := o.FrontProxy; p != nil {
		front := headerrequest.NewDynamicVerifyOptionsSecure(p.CA,
			headerrequest.StaticStringSlice(p.Names), headerrequest.StaticStringSlice(p.UserHeaders), headerrequest.StaticStringSlice(p.UIDHeaders),
			headerrequest.StaticStringSlice(p.GroupHeaders), headerrequest.StaticStringSlice(p.ExtraHeaderPrefixes))
		requests = append(requests, authenticator.WrapAudienceAgnosticRequest(o.Audiences, onlyWithHeader{front, p.UserHeaders}))
	}
	if o.ClientCA != nil {
		requests = append(requests, newCertificates(o.ClientCA, o.Clock))
	}
	if tokens := o.tokens(); len(tokens) > 0 {
		token := cache.New(tokenunion.New(tokens...), true, tokenTTL, 0)
		requests = append(requests, bearertoken.New(token), websocket.NewProtocolAuthenticator(token))
	}
	auth := group.NewAuthenticatedGroupAdder(union.New(requests...))
	if !o.Anonymous.Enabled {
		return auth
	}
	// Wrong credentials are an error, and do not make somebody anonymous.
	return union.NewFailOnError(auth, anonymous.NewAuthenticator(o.Anonymous.Conditions))
}

// tokens are the authenticators of bearer tokens, those that need no other server first.
func (o *Options) tokens() []authenticator.Token {
	var tokens []authenticator.Token
	if len(o.StaticTokens) > 0 {
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.Audiences, staticTokens(o.StaticTokens)))
	}
	if o.LegacyServiceAccounts != nil {
		tokens = append(tokens, o.LegacyServiceAccounts)
	}
	if o.ServiceAccounts != nil {
		tokens = append(tokens, o.ServiceAccounts)
	}
	if o.BootstrapClient != nil {
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.Audiences, newBootstrapTokens(o.BootstrapClient, o.Clock)))
	}
	if o.JWT != nil {
		tokens = append(tokens, o.JWT)
	}
	if o.Webhook != nil {
		tokens = append(tokens, o.Webhook)
	}
	return tokens
}

// onlyWithHeader asks the front-proxy authenticator only about requests that
// name a user in a header: every other one would verify its certificate in vain.
type onlyWithHeader struct {
	authenticator.Request
	headers []string
}

func (o onlyWithHeader) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	for _, h := range o.headers {
		if r.Header.Get(h) != "" {
			return o.Request.AuthenticateRequest(r)
		}
	}
	return nil, false, nil
}

// staticTokens authenticates by a fixed table.
type staticTokens map[string]user.Info

// AuthenticateToken implements authenticator.Token.
func (s staticTokens) AuthenticateToken(_ context.Context, token string) (*authenticator.Response, bool, error) {
	u, ok := s[token]
	if !ok {
		return nil, false, nil
	}
	return &authenticator.Response{User: u}, true, nil
}
