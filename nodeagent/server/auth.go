package server

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	apiserver "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// Delegated returns an authenticator and an authorizer that ask the API: by
// TokenReview for bearer tokens and SubjectAccessReview for permissions, both
// cached. Client certificates of clientCA are verified here; nil accepts
// none. Nobody is anonymous.
func Delegated(client kubernetes.Interface, clientCA dynamiccertificates.CAContentProvider) (authenticator.Request, authorizer.Authorizer, error) {
	authn, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous:                          &apiserver.AnonymousAuthConfig{Enabled: false},
		CacheTTL:                           2 * time.Minute,
		ClientCertificateCAContentProvider: clientCA,
		TokenAccessReviewClient:            client.AuthenticationV1(),
		TokenAccessReviewTimeout:           10 * time.Second,
		WebhookRetryBackoff:                options.DefaultAuthWebhookRetryBackoff(),
	}.New()
	if err != nil {
		return nil, nil, fmt.Errorf("node server: authentication: %w", err)
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client.AuthorizationV1(),
		AllowCacheTTL:             5 * time.Minute,
		DenyCacheTTL:              30 * time.Second,
		WebhookRetryBackoff:       options.DefaultAuthWebhookRetryBackoff(),
	}.New()
	if err != nil {
		return nil, nil, fmt.Errorf("node server: authorization: %w", err)
	}
	return authn, authz, nil
}

// authenticated lets through who is known and allowed.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logger := klog.FromContext(r.Context())
		who, ok, err := s.o.Authenticator.AuthenticateRequest(r)
		if err != nil {
			logger.Error(err, "Unable to authenticate the request due to an error")
		}
		if err != nil || !ok {
			writeText(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		attributes := attributesOf(who.User, r.Method, r.URL.Path, s.o.NodeName)
		var tried []string
		for _, a := range attributes {
			tried = append(tried, a.GetSubresource())
			decision, _, err := s.o.Authorizer.Authorize(r.Context(), a)
			if err != nil {
				logger.Error(err, "Authorization error", "user", a.GetUser().GetName(), "verb", a.GetVerb(), "subresource", a.GetSubresource())
				writeText(w, http.StatusInternalServerError, fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=%s, subresource=%s)", a.GetUser().GetName(), a.GetVerb(), a.GetResource(), a.GetSubresource()))
				return
			}
			if decision == authorizer.DecisionAllow {
				next.ServeHTTP(w, r)
				return
			}
		}
		a := attributes[0]
		logger.V(2).Info("Forbidden", "user", a.GetUser().GetName(), "verb", a.GetVerb(), "subresources", tried)
		writeText(w, http.StatusForbidden, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=%s, subresource(s)=%v)\n", a.GetUser().GetName(), a.GetVerb(), a.GetResource(), tried))
	})
}

// attributesOf translates a request into what must be allowed for it: any one
// of the answers is enough. The fine-grained subresources come before
// nodes/proxy, which allows all that has no subresource of its own (KEP-2862).
func attributesOf(who user.Info, method, path, node string) []authorizer.Attributes {
	verb := map[string]string{
		http.MethodPost: "create", http.MethodGet: "get", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
	}[method]
	var subresources []string
	switch {
	case below(path, "/stats"):
		subresources = []string{"stats"}
	case below(path, "/metrics"):
		subresources = []string{"metrics"}
	case below(path, "/logs"):
		subresources = []string{"log"}
	case below(path, "/checkpoint"):
		subresources = []string{"checkpoint"}
	case below(path, "/pods"), below(path, "/runningpods"):
		subresources = []string{"pods", "proxy"}
	case below(path, "/healthz"):
		subresources = []string{"healthz", "proxy"}
	case below(path, "/configz"):
		subresources = []string{"configz", "proxy"}
	default:
		subresources = []string{"proxy"}
	}
	attributes := make([]authorizer.Attributes, 0, len(subresources))
	for _, sub := range subresources {
		attributes = append(attributes, authorizer.AttributesRecord{
			User: who, Verb: verb, APIVersion: "v1", Resource: "nodes", Subresource: sub, Name: node, ResourceRequest: true, Path: path,
		})
	}
	return attributes
}

func below(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// writeText answers with a plain text, as the upstream kubelet does.
func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
