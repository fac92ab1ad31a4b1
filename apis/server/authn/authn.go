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
	// FrontProxyCA verifies the aggregator's client certificate; with it the
	// X-Remote-* headers name the user.
	FrontProxyCA x509request.VerifyOptionFunc
	// FrontProxyNames are the common names allowed to use those headers; empty allows all.
	FrontProxyNames []string

	// StaticTokens are fixed bearer tokens: the process's own loopback clients.
	StaticTokens map[string]user.Info
	// ServiceAccounts signs and checks service-account tokens.
	ServiceAccounts *ServiceAccountTokens
	// BootstrapClient reads bootstrap token Secrets; it may be set to a client that
	// works only once the server serves.
	BootstrapClient kubernetes.Interface

	// AnonymousPaths are the only paths for which a request without credentials
	// passes as system:anonymous; none turns it off. See HealthPaths.
	AnonymousPaths []string
}

// HealthPaths are the paths that answer without credentials.
func HealthPaths() []string { return []string{"/livez", "/readyz", "/healthz", "/version"} }

// The headers with which the front proxy names the user, as upstream's defaults.
const (
	userHeader        = "X-Remote-User"
	uidHeader         = "X-Remote-Uid"
	groupHeader       = "X-Remote-Group"
	extraHeaderPrefix = "X-Remote-Extra-"
)

// New builds the request authenticator, upstream's order of ways.
func New(o Options) authenticator.Request {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	var requests []authenticator.Request
	if o.FrontProxyCA != nil {
		front := headerrequest.NewDynamicVerifyOptionsSecure(o.FrontProxyCA,
			headerrequest.StaticStringSlice(o.FrontProxyNames),
			headerrequest.StaticStringSlice{userHeader},
			headerrequest.StaticStringSlice{uidHeader},
			headerrequest.StaticStringSlice{groupHeader},
			headerrequest.StaticStringSlice{extraHeaderPrefix})
		requests = append(requests, authenticator.WrapAudienceAgnosticRequest(o.Audiences, onlyWithHeader{front}))
	}
	if o.ClientCA != nil {
		requests = append(requests, newCertificates(o.ClientCA, o.Clock))
	}
	var tokens []authenticator.Token
	if len(o.StaticTokens) > 0 {
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.Audiences, staticTokens(o.StaticTokens)))
	}
	if o.ServiceAccounts != nil {
		tokens = append(tokens, o.ServiceAccounts)
	}
	if o.BootstrapClient != nil {
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.Audiences, newBootstrapTokens(o.BootstrapClient, o.Clock)))
	}
	if len(tokens) > 0 {
		token := cache.New(tokenunion.New(tokens...), true, tokenTTL, 0)
		requests = append(requests, bearertoken.New(token), websocket.NewProtocolAuthenticator(token))
	}
	auth := group.NewAuthenticatedGroupAdder(union.New(requests...))
	if len(o.AnonymousPaths) == 0 {
		return auth
	}
	var conditions []apiserver.AnonymousAuthCondition
	for _, p := range o.AnonymousPaths {
		conditions = append(conditions, apiserver.AnonymousAuthCondition{Path: p})
	}
	return union.NewFailOnError(auth, anonymous.NewAuthenticator(conditions))
}

// onlyWithHeader asks the front-proxy authenticator only about requests that
// name a user in a header: every other one would verify its certificate in vain.
type onlyWithHeader struct{ authenticator.Request }

func (o onlyWithHeader) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	if r.Header.Get(userHeader) == "" {
		return nil, false, nil
	}
	return o.Request.AuthenticateRequest(r)
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
