package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/server/options"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/version"
)

// program is a component that can run alone, under upstream's name and flags.
type program struct {
	// verb is the command, name the upstream program that it stands for.
	verb, name, short string
	// ignored are upstream's flags that are accepted without effect.
	ignored ignoredFlags
	// healthPort is where it serves health and metrics, by default; 0 if it does not
	// or does so itself.
	healthPort int
	// new registers the flags and returns what makes the component from them; its
	// metrics go to the registry, which is nil where nothing serves them.
	new func(*pflag.FlagSet, *prometheus.Registry) func(context.Context) (Component, error)
}

// programs are the components that run alone; etcd, with a main of its own, is another.
func programs() []program {
	return []program{
		{"apiserver", "kube-apiserver", "The API server alone", apiserverIgnored(), 0, newAPIServerAlone},
		{"controllers", "kube-controller-manager", "The controllers alone", controllersIgnored(), 10257, newControllersAlone},
		{"scheduler", "kube-scheduler", "The scheduler alone", schedulerIgnored(), 10259, newSchedulerAlone},
		{"node", "kubelet", "The node agent alone, on a container runtime that is there", kubeletIgnored(), 0, newNodeAlone},
		{"proxy", "kube-proxy", "The service proxy alone", proxyIgnored(), 0, newProxyAlone},
	}
}

// errDone ends a program whose flags ask for something that is done at once.
var errDone = errors.New("done")

// command is the program as a verb of proa's or, called by its name, as itself.
func (p program) command() *cobra.Command {
	logs := logOptions{file: "-"}
	c := &cobra.Command{
		Use:   p.verb,
		Short: p.short + ", with the flags of " + p.name,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		Version:       version.Get().GitVersion,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.SetVersionTemplate("Kubernetes {{.Version}}\n")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := c.Flags()
	f.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	var h *health
	var metrics *prometheus.Registry
	if p.healthPort != 0 {
		h = newHealth(f, p.name, p.healthPort)
		metrics = h.metrics
	}
	start := p.new(f, metrics)
	f.IntVarP(&logs.verbosity, "v", "v", 0, "verbosity of logs, which go to standard error")
	addFeatureGates(f, utilfeature.DefaultMutableFeatureGate, c.ErrOrStderr)
	p.ignored.add(f, c.ErrOrStderr)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := logs.start(""); err != nil {
			return err
		}
		steps := []Step{{Name: p.verb, Start: start}}
		if h != nil {
			// Made before the port is opened, so that wrong flags are all that is seen.
			made, err := start(c.Context())
			if err != nil {
				return err
			}
			steps = []Step{
				{Name: "health", Start: h.start},
				{Name: p.verb, Start: func(context.Context) (Component, error) { return made, nil }},
			}
		}
		err := Runner{Report: reportTo(c.OutOrStdout()), Now: time.Now}.Run(c.Context(), steps, nil)
		if errors.Is(err, errDone) {
			return nil
		}
		return err
	}
	return c
}

// asItself is the program called by its own name.
func (p program) asItself() *cobra.Command {
	c := p.command()
	c.Use, c.Short = p.name, p.short
	return c
}

// apiFlags say how a component reaches the API.
type apiFlags struct{ kubeconfig, master string }

func (a *apiFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&a.kubeconfig, "kubeconfig", "", "file with the API's address and the credentials; without it and --master, those of the pod this runs in")
	f.StringVar(&a.master, "master", "", "URL of the API, instead of the kubeconfig's")
}

func (a *apiFlags) config() (*rest.Config, error) {
	load := func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags(a.master, a.kubeconfig) }
	if a.master == "" && a.kubeconfig == "" {
		load = rest.InClusterConfig
	}
	c, err := load()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, usageError{errors.New("--kubeconfig is required: a file with the API's address and credentials")}
	}
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: %w", a.kubeconfig, err)
	}
	c.QPS = -1
	return c, nil
}

// madeCertificate is dir/name.crt and .key, self-signed and made if they are not there.
func madeCertificate(dir, name string, address net.IP, names []string) (cert, key string, err error) {
	o := options.NewSecureServingOptions()
	o.BindPort, o.ServerCert.CertDirectory, o.ServerCert.PairName = 1, dir, name
	if err := o.MaybeDefaultWithSelfSignedCerts(address.String(), names, []net.IP{net.IPv4(127, 0, 0, 1)}); err != nil {
		return "", "", fmt.Errorf("--cert-dir: %w; name a directory that can be written, or give --tls-cert-file and --tls-private-key-file", err)
	}
	return o.ServerCert.CertKey.CertFile, o.ServerCert.CertKey.KeyFile, nil
}

// nodeNameOr is the given node name, or the host's.
func nodeNameOr(override string) (string, error) {
	name := override
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("host name: %w; give --hostname-override", err)
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), nil
}
