package main

import (
	"crypto"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/server/options"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	cliflag "k8s.io/component-base/cli/flag"

	"proa/apis/server/authn"
)

// The bounds of --service-account-max-token-expiration.
const (
	minMaxTokenLifetime = time.Hour
	maxMaxTokenLifetime = (1 << 32) * time.Second
)

// authenticationFlags are kube-apiserver's flags about who users are.
type authenticationFlags struct {
	clientCA   string
	frontProxy options.RequestHeaderAuthenticationOptions
	// file is the structured configuration; oidc are the flags that it replaces.
	file    string
	oidc    authn.OIDCFlags
	webhook webhookFlags

	tokenFile                  string
	anonymous, bootstrapTokens bool

	issuers, keyFiles, audiences  []string
	signingKey, jwksURL           string
	maxTokenLifetime              time.Duration
	extendTokens, lookUpInSecrets bool
	// given says whether a flag was set.
	given func(flag string) bool
}

// webhookFlags say which server is asked about bearer tokens.
type webhookFlags struct {
	kubeconfig, version string
	ttl                 time.Duration
}

func (a *authenticationFlags) flags(f *pflag.FlagSet) {
	a.given = f.Changed
	f.StringVar(&a.clientCA, "client-ca-file", "", "CA of client certificates")
	a.frontProxy.AddFlags(f)
	f.StringVar(&a.file, "authentication-config", "", "file of kind AuthenticationConfiguration: issuers of tokens, conditions of anonymous requests; followed when it changes")

	o := &a.oidc
	f.StringVar(&o.IssuerURL, "oidc-issuer-url", "", "https URL of an OpenID issuer whose tokens are accepted")
	f.StringVar(&o.ClientID, "oidc-client-id", "", "audience that the issuer's tokens must have")
	f.StringVar(&o.CAFile, "oidc-ca-file", "", "CA of the issuer's server; default: the host's")
	f.StringVar(&o.UsernameClaim, "oidc-username-claim", "sub", "claim that is the user's name")
	f.StringVar(&o.UsernamePrefix, "oidc-username-prefix", "", "prefix of users' names; default: the issuer's URL and # unless the claim is email; - for none")
	f.StringVar(&o.GroupsClaim, "oidc-groups-claim", "", "claim that lists the user's groups")
	f.StringVar(&o.GroupsPrefix, "oidc-groups-prefix", "", "prefix of groups' names")
	f.StringSliceVar(&o.SigningAlgs, "oidc-signing-algs", []string{"RS256"}, "accepted signing algorithms")
	f.Var(cliflag.NewMapStringStringNoSplit(&o.RequiredClaims), "oidc-required-claim", "key=value of a claim that tokens must have; repeatable")

	f.StringVar(&a.webhook.kubeconfig, "authentication-token-webhook-config-file", "", "kubeconfig of a server that is asked about bearer tokens")
	f.StringVar(&a.webhook.version, "authentication-token-webhook-version", "v1beta1", "version of the TokenReviews it is asked with")
	f.DurationVar(&a.webhook.ttl, "authentication-token-webhook-cache-ttl", 2*time.Minute, "how long its answers count")

	f.StringVar(&a.tokenFile, "token-auth-file", "", "CSV file of fixed tokens: token,user,uid,\"group,group\"")
	f.BoolVar(&a.anonymous, "anonymous-auth", true, "requests without credentials are those of system:anonymous in system:unauthenticated; never with --authorization-mode=AlwaysAllow")
	f.BoolVar(&a.bootstrapTokens, "enable-bootstrap-token-auth", false, "accept the tokens of bootstrap.kubernetes.io/token Secrets")

	f.StringArrayVar(&a.issuers, "service-account-issuer", nil, "issuer of service-account tokens; required; further ones are accepted")
	f.StringVar(&a.signingKey, "service-account-signing-key-file", "", "private key that signs service-account tokens; required")
	f.StringArrayVar(&a.keyFiles, "service-account-key-file", nil, "files with keys whose service-account tokens are accepted")
	f.StringVar(&a.jwksURL, "service-account-jwks-uri", "", "URL of the token keys in the issuer's documents")
	f.DurationVar(&a.maxTokenLifetime, "service-account-max-token-expiration", 0, "longest lifetime of tokens; 0 for any")
	f.BoolVar(&a.extendTokens, "service-account-extend-token-expiration", true, "tokens that pods get by default stay valid for a year, with warnings after an hour")
	f.BoolVar(&a.lookUpInSecrets, "service-account-lookup", true, "the tokens of service-account-token Secrets count only while the Secret is there")
	f.StringSliceVar(&a.audiences, "api-audiences", nil, "audiences of tokens for this API; default: the issuers")
}

// complete fills in what is not given, and says everything that cannot be meant.
func (a *authenticationFlags) complete(open bool) error {
	errs := a.frontProxy.Validate()
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, issuer := range a.issuers {
		switch _, err := url.Parse(issuer); {
		case issuer == "":
			refuse("service-account-issuer should not be an empty string")
		case strings.Contains(issuer, ":") && err != nil:
			refuse("service-account-issuer %q contained a ':' but was not a valid URL: %w", issuer, err)
		case slices.Contains(a.issuers[:i], issuer):
			refuse("service-account-issuer %q is already specified", issuer)
		}
	}
	if a.jwksURL != "" {
		if u, err := url.Parse(a.jwksURL); err != nil {
			refuse("service-account-jwks-uri must be a valid URL: %w", err)
		} else if u.Scheme != "https" {
			refuse("service-account-jwks-uri requires https scheme, parsed as: %v", u)
		}
	}
	if m := a.maxTokenLifetime; m != 0 && (m < minMaxTokenLifetime || m > maxMaxTokenLifetime) {
		refuse("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds")
	}
	oidc := false
	for _, flag := range []string{"issuer-url", "client-id", "ca-file", "username-claim", "username-prefix", "groups-claim", "groups-prefix", "signing-algs", "required-claim"} {
		oidc = oidc || a.given("oidc-"+flag)
	}
	switch {
	case oidc && a.file != "":
		refuse("authentication-config file and oidc-* flags are mutually exclusive")
	case oidc && (a.oidc.IssuerURL == "" || a.oidc.ClientID == ""):
		refuse("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set")
	}
	if p := a.frontProxy; a.clientCA != "" && p.ClientCAFile != "" && len(p.AllowedNames) == 0 && overlap(a.clientCA, p.ClientCAFile) {
		refuse("--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; --requestheader-allowed-names must be specified to ensure regular client certificates cannot set authenticating proxy headers for arbitrary users")
	}
	if open { // everything would be allowed to everybody
		a.anonymous = false
	}
	if len(a.audiences) == 0 {
		a.audiences = a.issuers
	}
	return utilerrors.NewAggregate(errs)
}

// overlap says whether two bundles share a certificate; files that cannot be
// read are complained about by those that use them.
func overlap(a, b string) bool {
	as, err1 := certutil.CertsFromFile(a)
	bs, err2 := certutil.CertsFromFile(b)
	if err1 != nil || err2 != nil {
		return false
	}
	for _, c := range as {
		if slices.ContainsFunc(bs, c.Equal) {
			return true
		}
	}
	return false
}

// apply reads the files and writes what they and the flags mean.
func (a *authenticationFlags) apply(o *securityOptions) error {
	key, err := keyutil.PrivateKeyFromFile(a.signingKey)
	if err != nil {
		return fmt.Errorf("--service-account-signing-key-file: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fmt.Errorf("--service-account-signing-key-file %s: %T cannot sign", a.signingKey, key)
	}
	if o.otherKeys, err = verifyingKeys(signer, a.keyFiles); err != nil {
		return err
	}
	if o.tokens, err = tokenFile(a.tokenFile); err != nil {
		return err
	}
	o.clientCA, o.webhook, o.bootstrapTokens = a.clientCA, a.webhook, a.bootstrapTokens
	if p := a.frontProxy; p.ClientCAFile != "" {
		o.requestHeaderCA = p.ClientCAFile
		o.frontProxy = authn.FrontProxy{
			Names: p.AllowedNames, UserHeaders: p.UsernameHeaders, UIDHeaders: p.UIDHeaders, GroupHeaders: p.GroupHeaders, ExtraHeaderPrefixes: p.ExtraHeaderPrefixes,
		}
	}
	o.issuers, o.signingKey, o.audiences, o.jwksURL = a.issuers, signer, a.audiences, a.jwksURL
	o.maxTokenLifetime, o.extendTokens, o.lookUpInSecrets = a.maxTokenLifetime, a.extendTokens, a.lookUpInSecrets
	o.anonymous = apiserver.AnonymousAuthConfig{Enabled: a.anonymous}
	o.jwt, err = a.jwt(o)
	return err
}

// jwt is what the file or the flags say about other issuers; nil if nothing.
func (a *authenticationFlags) jwt(o *securityOptions) (*authn.JWTOptions, error) {
	j := &authn.JWTOptions{Audiences: o.audiences, DisallowedIssuers: o.issuers}
	var err error
	switch {
	case a.file != "":
		if j.Configuration, j.Data, err = authn.LoadAuthentication(a.file, o.issuers); err != nil {
			return nil, fmt.Errorf("--authentication-config: %w", err)
		}
		j.ReloadFile = a.file
		if anonymous := j.Configuration.Anonymous; anonymous != nil {
			if a.given("anonymous-auth") {
				return nil, usageError{errors.New("anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file")}
			}
			o.anonymous = *anonymous
		}
		return j, nil
	case a.oidc.IssuerURL != "":
		if j.Configuration, err = a.oidc.Configuration(); err != nil {
			return nil, fmt.Errorf("--oidc-issuer-url: %w", err)
		}
		j.Algorithms = a.oidc.SigningAlgs
		if err := authn.ValidateAuthentication(j.Configuration, o.issuers); err != nil {
			return nil, usageError{err}
		}
		return j, nil
	}
	return nil, nil
}

// verifyingKeys reads the public keys in files, or of the private keys in them,
// each once and without the signer's own.
func verifyingKeys(signer crypto.Signer, files []string) ([]crypto.PublicKey, error) {
	known := []crypto.PublicKey{signer.Public()}
	for _, file := range files {
		keys, err := keyutil.PublicKeysFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("--service-account-key-file: %w", err)
		}
		for _, k := range keys {
			same := func(other crypto.PublicKey) bool {
				e, ok := other.(interface{ Equal(crypto.PublicKey) bool })
				return ok && e.Equal(k)
			}
			if !slices.ContainsFunc(known, same) {
				known = append(known, k)
			}
		}
	}
	return known[1:], nil
}

// tokenFile reads upstream's static token file: token,user,uid and, optionally,
// a comma-separated list of groups.
func tokenFile(path string) (map[string]user.Info, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("--token-auth-file: %w", err)
	}
	defer f.Close()
	out, r := map[string]user.Info{}, csv.NewReader(f)
	r.FieldsPerRecord = -1
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("--token-auth-file %s: %w", path, err)
		}
		line, _ := r.FieldPos(0)
		if len(record) < 3 || record[0] == "" {
			return nil, fmt.Errorf("--token-auth-file %s: line %d: must be token,user,uid and optionally groups", path, line)
		}
		info := &user.DefaultInfo{Name: record[1], UID: record[2]}
		if len(record) > 3 && record[3] != "" {
			info.Groups = strings.Split(record[3], ",")
		}
		out[record[0]] = info
	}
}
