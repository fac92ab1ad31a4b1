package authz

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
)

// Flags are upstream's --authorization-* that make a configuration without a file.
type Flags struct {
	Modes []string
	// PolicyFile is mode ABAC's, WebhookConfigFile mode Webhook's (a kubeconfig).
	PolicyFile, WebhookConfigFile, WebhookVersion string
	// AuthorizedTTL and UnauthorizedTTL are how long a webhook's answers count.
	AuthorizedTTL, UnauthorizedTTL time.Duration
}

// FromFlags is the configuration that the flags mean.
func FromFlags(f Flags) (*apiserver.AuthorizationConfiguration, error) {
	var errs []error
	if len(f.Modes) == 0 {
		errs = append(errs, errors.New("at least one authorization-mode must be passed"))
	}
	for _, m := range f.Modes {
		if !slices.Contains(Modes(), m) {
			errs = append(errs, fmt.Errorf("authorization-mode %q is not a valid mode, which are %s", m, strings.Join(Modes(), ",")))
		}
	}
	has := func(mode string) bool { return slices.Contains(f.Modes, mode) }
	if has(ModeABAC) && f.PolicyFile == "" {
		errs = append(errs, errors.New("authorization-mode ABAC's authorization policy file not passed: give --authorization-policy-file"))
	}
	if has(ModeWebhook) && f.WebhookConfigFile == "" {
		errs = append(errs, errors.New("authorization-mode Webhook's authorization config file not passed: give --authorization-webhook-config-file"))
	}
	if f.PolicyFile != "" && !has(ModeABAC) {
		errs = append(errs, errors.New("cannot specify --authorization-policy-file without mode ABAC"))
	}
	if f.WebhookConfigFile != "" && !has(ModeWebhook) {
		errs = append(errs, errors.New("cannot specify --authorization-webhook-config-file without mode Webhook"))
	}
	if sets.New(f.Modes...).Len() != len(f.Modes) {
		errs = append(errs, fmt.Errorf("authorization-mode %q has mode specified more than once", f.Modes))
	}
	if len(errs) > 0 {
		return nil, utilerrors.NewAggregate(errs)
	}
	out := &apiserver.AuthorizationConfiguration{}
	for _, m := range f.Modes {
		c := apiserver.AuthorizerConfiguration{Type: apiserver.AuthorizerType(m), Name: strings.ToLower(m)}
		if m == ModeWebhook {
			c.Name = "default"
			c.Webhook = &apiserver.WebhookConfiguration{
				AuthorizedTTL: metav1.Duration{Duration: f.AuthorizedTTL}, CacheAuthorizedRequests: f.AuthorizedTTL != 0,
				UnauthorizedTTL: metav1.Duration{Duration: f.UnauthorizedTTL}, CacheUnauthorizedRequests: f.UnauthorizedTTL != 0,
				// The flags know neither; these are what they always meant.
				Timeout: metav1.Duration{Duration: 30 * time.Second}, FailurePolicy: apiserver.FailurePolicyNoOpinion,
				SubjectAccessReviewVersion: f.WebhookVersion,
				ConnectionInfo: apiserver.WebhookConnectionInfo{
					Type: apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile, KubeConfigFile: &f.WebhookConfigFile,
				},
			}
		}
		out.Authorizers = append(out.Authorizers, c)
	}
	return out, nil
}

// LoadConfiguration reads and validates a file of kind AuthorizationConfiguration
// (apiserver.config.k8s.io), and returns its text too, for Options.Data.
func LoadConfiguration(file string) (*apiserver.AuthorizationConfiguration, []byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	c, err := ParseConfiguration(data, authorizationcel.NewDefaultCompiler(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, data, nil
}

// ParseConfiguration decodes and validates a configuration, which must have the
// required types. Its names are upstream's: that of a mode other than Webhook is
// the mode in lower case.
func ParseConfiguration(data []byte, compiler authorizationcel.Compiler, required sets.Set[string]) (*apiserver.AuthorizationConfiguration, error) {
	c, err := load.LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("failed to load AuthorizationConfiguration from file: %w", err)
	}
	if errs := validation.ValidateAuthorizationConfiguration(compiler, nil, c, sets.New(Modes()...), sets.New(ModeWebhook)); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	var errs []error
	seen := sets.New[string]()
	for _, x := range c.Authorizers {
		if x.Type == apiserver.TypeWebhook {
			continue
		}
		seen.Insert(string(x.Type))
		if name := strings.ToLower(string(x.Type)); name != x.Name {
			errs = append(errs, fmt.Errorf("expected name %s for authorizer %s instead of %s", name, x.Type, x.Name))
		}
	}
	if missing := required.Difference(seen); missing.Len() > 0 {
		errs = append(errs, fmt.Errorf("missing required types: %v", sets.List(missing)))
	}
	return c, utilerrors.NewAggregate(errs)
}
