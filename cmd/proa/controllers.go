package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"proa/controllers"
)

// controllersFlags are kube-controller-manager's flags that have a meaning here.
type controllersFlags struct {
	api                  apiFlags
	options              controllers.Options
	rootCA               string
	maskSize4, maskSize6 int
	signing              signingFlags
}

func newControllersAlone(f *pflag.FlagSet, metrics *prometheus.Registry) func(context.Context) (Component, error) {
	c := &controllersFlags{}
	c.api.flags(f)
	o := &c.options
	o.Registerer = metrics
	f.BoolVar(&o.LeaderElect, "leader-elect", true, "act only while holding the Lease kube-system/kube-controller-manager")
	f.StringSliceVar(&o.Only, "controllers", []string{"*"}, "controllers to run; * for all, -name for all but that one")
	f.StringVar(&o.ClusterCIDR, "cluster-cidr", "", "addresses of pods")
	f.StringVar(&o.ServiceCIDR, "service-cluster-ip-range", "", "addresses of services")
	f.BoolVar(&o.AllocateNodeCIDRs, "allocate-node-cidrs", false, "give every node a part of --cluster-cidr")
	f.IntVar(&o.NodeCIDRMaskSize, "node-cidr-mask-size", 0, "prefix length of a node's part; default 24, or 64 for IPv6")
	f.IntVar(&c.maskSize4, "node-cidr-mask-size-ipv4", 0, "the same, of IPv4")
	f.IntVar(&c.maskSize6, "node-cidr-mask-size-ipv6", 0, "the same, of IPv6; has an effect in clusters of IPv6 only")
	f.StringVar(&c.rootCA, "root-ca-file", "", "CA bundle published in every namespace; default: the kubeconfig's")
	c.signing.flags(f)
	f.StringVar(&o.ServiceAccountKeyFile, "service-account-private-key-file", "", "key that signs the tokens in Secrets of type kubernetes.io/service-account-token")
	f.DurationVar(&o.LegacyTokenCleanUp, "legacy-service-account-token-clean-up-period", 365*24*time.Hour, "how long an automatically made token in a Secret may be unused")
	return c.start
}

func (c *controllersFlags) start(context.Context) (Component, error) {
	config, err := c.api.config()
	if err != nil {
		return nil, err
	}
	o := c.options
	if o.Signers, err = c.signing.signers(); err != nil {
		return nil, usageError{err}
	}
	o.SigningDuration = c.signing.duration
	o.Config, o.Clock = config, clock.RealClock{}
	if o.NodeCIDRMaskSize == 0 {
		if o.NodeCIDRMaskSize = c.maskSize4; o.NodeCIDRMaskSize == 0 {
			o.NodeCIDRMaskSize = c.maskSize6
		}
	}
	if o.AllocateNodeCIDRs {
		if _, err := prefixes(o.ClusterCIDR); err != nil {
			return nil, usageError{fmt.Errorf("--allocate-node-cidrs needs --cluster-cidr: %w", err)}
		}
	}
	if o.RootCA, err = rootCA(c.rootCA, config); err != nil {
		return nil, err
	}
	return controllers.New(o)
}

// rootCA is the bundle in the file, or what the kubeconfig trusts.
func rootCA(file string, config *rest.Config) ([]byte, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--root-ca-file: %w", err)
		}
		return b, nil
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return config.CAData, nil
}
