package authn

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	configmetrics "k8s.io/apiserver/pkg/server/options/authenticationconfig/metrics"
	"k8s.io/apiserver/pkg/util/filesystem"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
	"k8s.io/klog/v2"
)

const (
	// A new configuration takes over when its issuers' keys were fetched, which is
	// tried each healthInterval for healthTimeout; requests under way may use the
	// old one for replacedGrace.
	healthInterval = 10 * time.Second
	healthTimeout  = time.Minute
	replacedGrace  = time.Minute
	metricsGrace   = 30 * time.Second
)

// JWTOptions configure JWT.
type JWTOptions struct {
	// Configuration is valid (see LoadAuthentication); only its JWT part is used.
	Configuration *apiserver.AuthenticationConfiguration
	// ReloadFile, when set, is where Configuration was read from, and Data what was
	// read; changes of the file are followed.
	ReloadFile string
	Data       []byte
	// Algorithms are the accepted signing algorithms; empty for all.
	Algorithms []string
	// Audiences are this server's, DisallowedIssuers those of service-account tokens.
	Audiences         authenticator.Audiences
	DisallowedIssuers []string
	// ServerID labels metrics.
	ServerID string
}

// JWT authenticates the tokens of other issuers, by the rules of a structured
// authentication configuration (KEP-3331).
type JWT struct {
	o       JWTOptions
	current atomic.Pointer[issuers]
	// data is what was last read of ReloadFile and needs no second look; only the
	// goroutine that follows it uses it.
	data string
	// interval and timeout are healthInterval and healthTimeout.
	interval, timeout time.Duration
}

// issuers are the authenticators of one configuration.
type issuers struct {
	authenticator.Token
	urls    []string
	healthy func() error
	stop    context.CancelFunc
}

var _ authenticator.Token = &JWT{}

// NewJWT builds the authenticators, which fetch their issuers' keys in the
// background until ctx ends.
func NewJWT(ctx context.Context, o JWTOptions) (*JWT, error) {
	if len(o.Algorithms) == 0 {
		o.Algorithms = oidc.AllValidSigningAlgorithms()
	}
	j := &JWT{o: o, data: string(o.Data), interval: healthInterval, timeout: healthTimeout}
	first, err := j.build(ctx, o.Configuration)
	if err != nil {
		return nil, err
	}
	j.current.Store(first)
	if o.ReloadFile != "" {
		go j.followFile(ctx)
	}
	return j, nil
}

// AuthenticateToken implements authenticator.Token.
func (j *JWT) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return j.current.Load().AuthenticateToken(ctx, token)
}

func (j *JWT) build(ctx context.Context, c *apiserver.AuthenticationConfiguration) (*issuers, error) {
	ctx, stop := context.WithCancel(ctx)
	var tokens []authenticator.Token
	var checks []func() error
	var urls []string
	for _, conf := range c.JWT {
		o := oidc.Options{
			JWTAuthenticator: conf, SupportedSigningAlgs: j.o.Algorithms, DisallowedIssuers: j.o.DisallowedIssuers, APIServerID: j.o.ServerID,
		}
		if ca := conf.Issuer.CertificateAuthority; ca != "" {
			o.CAContentProvider = bundle(ca)
		}
		a, err := oidc.New(ctx, o)
		if err != nil {
			stop()
			return nil, fmt.Errorf("issuer %s: %w", conf.Issuer.URL, err)
		}
		tokens, urls = append(tokens, a), append(urls, conf.Issuer.URL)
		checks = append(checks, a.HealthCheck)
	}
	return &issuers{
		urls:  urls,
		Token: authenticator.WrapAudienceAgnosticToken(j.o.Audiences, tokenunion.NewFailOnError(tokens...)),
		healthy: func() error {
			var errs []error
			for _, check := range checks {
				errs = append(errs, check())
			}
			return utilerrors.NewAggregate(errs)
		},
		stop: stop,
	}, nil
}

// bundle is a CA bundle in PEM.
type bundle string

// CurrentCABundleContent implements oidc.CAContentProvider.
func (b bundle) CurrentCABundleContent() []byte { return []byte(b) }

// followFile replaces the issuers when the file has another valid configuration,
// until ctx ends.
func (j *JWT) followFile(ctx context.Context) {
	configmetrics.RegisterMetrics()
	configmetrics.RecordAuthenticationConfigLastConfigInfo(j.o.ServerID, j.data)
	log := klog.FromContext(ctx).WithValues("file", j.o.ReloadFile)
	filesystem.WatchUntil(ctx, time.Minute, j.o.ReloadFile, func() {
		switch changed, err := j.reload(ctx); {
		case err != nil:
			log.Error(err, "Authentication configuration could not be reloaded; the last one stays")
			configmetrics.RecordAuthenticationConfigAutomaticReloadFailure(j.o.ServerID)
		case changed:
			log.Info("Authentication configuration reloaded")
			configmetrics.RecordAuthenticationConfigAutomaticReloadSuccess(j.o.ServerID, j.data)
		}
	}, func(err error) { log.Error(err, "Authentication configuration cannot be watched") })
}

// reload reads the file once, and says whether its issuers are others now. Text
// that can never be right is not looked at again; a file that cannot be read and
// issuers that do not answer are.
func (j *JWT) reload(ctx context.Context) (bool, error) {
	data, err := os.ReadFile(j.o.ReloadFile)
	if err != nil || string(data) == j.data {
		return false, err
	}
	c, err := ParseAuthentication(data, j.o.DisallowedIssuers)
	if err == nil && !equality.Semantic.DeepEqual(c.Anonymous, j.o.Configuration.Anonymous) {
		err = field.Forbidden(field.NewPath("anonymous"), "changed from initial configuration file")
	}
	var next *issuers
	if err == nil {
		next, err = j.build(ctx, c)
	}
	if err != nil {
		j.data = string(data)
		return false, err
	}
	var sick error
	waiting, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	err = wait.PollUntilContextCancel(waiting, j.interval, true, func(context.Context) (bool, error) {
		sick = next.healthy()
		return sick == nil, nil
	})
	if err != nil {
		next.stop()
		return false, utilerrors.NewAggregate([]error{sick, err})
	}
	j.data = string(data)
	last := j.current.Swap(next)
	time.AfterFunc(replacedGrace, last.stop)
	// What is on its way then may still count once more.
	time.AfterFunc(replacedGrace+metricsGrace, func() {
		for _, url := range last.urls {
			if !slices.Contains(next.urls, url) {
				oidc.DeleteJWKSFetchMetrics(url, j.o.ServerID)
			}
		}
	})
	return true, nil
}

// LoadAuthentication reads and validates a file of kind AuthenticationConfiguration
// (apiserver.config.k8s.io), and returns its text too, for JWTOptions.Data.
func LoadAuthentication(file string, disallowedIssuers []string) (*apiserver.AuthenticationConfiguration, []byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	c, err := ParseAuthentication(data, disallowedIssuers)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, data, nil
}

// ParseAuthentication decodes and validates a configuration. Issuers of
// service-account tokens cannot be among its own.
func ParseAuthentication(data []byte, disallowedIssuers []string) (*apiserver.AuthenticationConfiguration, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("empty config data")
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	obj, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), data)
	if err != nil {
		return nil, err
	}
	c, ok := obj.(*apiserver.AuthenticationConfiguration)
	if !ok || c == nil {
		return nil, fmt.Errorf("expected AuthenticationConfiguration, got %T", obj)
	}
	return c, ValidateAuthentication(c, disallowedIssuers)
}

// ValidateAuthentication checks a configuration, its CEL expressions included.
func ValidateAuthentication(c *apiserver.AuthenticationConfiguration, disallowedIssuers []string) error {
	if err := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), c, slices.Clone(disallowedIssuers)).ToAggregate(); err != nil {
		return fmt.Errorf("invalid authentication configuration: %w", err)
	}
	return nil
}
