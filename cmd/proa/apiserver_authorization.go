package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"proa/apis/server/authz"
)

// authorizationFlags are kube-apiserver's flags about what users may do.
type authorizationFlags struct {
	chain authz.Flags
	// file is the structured configuration, which replaces the flags.
	file  string
	given func(flag string) bool
}

func (a *authorizationFlags) flags(f *pflag.FlagSet) {
	a.given = f.Changed
	f.StringSliceVar(&a.chain.Modes, "authorization-mode", nil, "who decides what users may do, in this order, of "+strings.Join(authz.Modes(), ", ")+"; default: AlwaysAllow")
	f.StringVar(&a.chain.PolicyFile, "authorization-policy-file", "", "policies of mode ABAC, a JSON object on each line")
	f.StringVar(&a.chain.WebhookConfigFile, "authorization-webhook-config-file", "", "kubeconfig of the server that mode Webhook asks")
	f.StringVar(&a.chain.WebhookVersion, "authorization-webhook-version", "v1beta1", "version of the SubjectAccessReviews it is asked with")
	f.DurationVar(&a.chain.AuthorizedTTL, "authorization-webhook-cache-authorized-ttl", 5*time.Minute, "how long it counts that it allowed something")
	f.DurationVar(&a.chain.UnauthorizedTTL, "authorization-webhook-cache-unauthorized-ttl", 30*time.Second, "how long it counts that it did not")
	f.StringVar(&a.file, "authorization-config", "", "file of kind AuthorizationConfiguration instead of the other --authorization flags; followed when it changes")
}

// options are the chain that the flags or the file mean.
func (a *authorizationFlags) options() (authz.Options, error) {
	var o authz.Options
	if a.file == "" {
		f := a.chain
		if len(f.Modes) == 0 {
			f.Modes = []string{authz.ModeAlwaysAllow}
		}
		c, err := authz.FromFlags(f)
		o.Configuration, o.PolicyFile = c, f.PolicyFile
		return o, err
	}
	legacy := []string{
		"authorization-mode", "authorization-webhook-config-file", "authorization-webhook-version",
		"authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl",
	}
	if slices.ContainsFunc(legacy, a.given) {
		return o, fmt.Errorf("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined")
	}
	c, data, err := authz.LoadConfiguration(a.file)
	if err != nil {
		return o, fmt.Errorf("--authorization-config: %w", err)
	}
	o.Configuration, o.Data, o.ReloadFile, o.PolicyFile = c, data, a.file, a.chain.PolicyFile
	return o, nil
}

// open says whether the flags let everybody do everything.
func (a *authorizationFlags) open() bool {
	return a.file == "" && (len(a.chain.Modes) == 0 || slices.Contains(a.chain.Modes, authz.ModeAlwaysAllow))
}
