package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/apis/server/identity"
	"proa/nodeagent/check"
	"proa/nodeagent/hostid"
)

// agentConfig is what the flags of `proa agent` say.
type agentConfig struct {
	dataDir, server, token, nodeName, nodeIP string
	kubeletPort                              int
	clusterCIDR, serviceCIDR, clusterDomain  string
	podLogsDir, runtimeBinDir                string
	skipCheck                                bool
}

func (a *agentConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&a.dataDir, "data-dir", defaultDataDir(), "where everything of this node is kept")
	f.StringVar(&a.server, "server", "", "URL of the cluster's API, https://host:6443")
	f.StringVar(&a.token, "token", "", "the join token, from node-token in the server's data directory; needed once")
	f.StringVar(&a.nodeName, "node-name", "", "name of this machine's node; default: the host name")
	f.StringVar(&a.nodeIP, "node-ip", "", "address other machines reach this node at; default: of the default route")
	f.IntVar(&a.kubeletPort, "kubelet-port", 10250, "port of the node agent")
	f.StringVar(&a.clusterCIDR, "cluster-cidr", "10.244.0.0/16", "addresses of pods, as the server's")
	f.StringVar(&a.serviceCIDR, "service-cidr", "10.96.0.0/16", "addresses of services, as the server's")
	f.StringVar(&a.clusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster, as the server's")
	f.StringVar(&a.podLogsDir, "pod-logs-dir", "/var/log/pods", "where container logs are kept")
	f.StringVar(&a.runtimeBinDir, "runtime-bin-dir", "", "a directory with the container runtime to use instead of the bundled one")
	f.BoolVar(&a.skipCheck, "skip-check", false, "start even if the preflight check finds lacks")
}

func agentCommand() *cobra.Command {
	a, logs := &agentConfig{}, logOptions{}
	c := &cobra.Command{
		Use:   "agent",
		Short: "Make this machine a node of a cluster",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.run(c.Context(), c, logs)
		},
	}
	a.flags(c.Flags())
	logs.flags(c.Flags())
	return c
}

func (a *agentConfig) run(ctx context.Context, c *cobra.Command, logs logOptions) error {
	begin, out := time.Now(), c.OutOrStdout()
	if a.server == "" {
		return usageError{fmt.Errorf("--server is required: the URL of the cluster's API, https://host:6443")}
	}
	n, err := a.node()
	if err != nil {
		return err
	}
	release, err := lockDataDir(a.dataDir)
	if err != nil {
		return err
	}
	defer release()
	if n.id, err = hostid.Load(a.dataDir); err != nil {
		return err
	}
	if err := logs.start(a.dataDir); err != nil {
		return err
	}
	if !a.skipCheck {
		if err := require(ctx, out, check.Options{DataDir: a.dataDir, Node: true, OwnLock: true,
			Ports: []check.Port{{Number: a.kubeletPort, Use: "node agent", Flag: "--kubelet-port"}}}); err != nil {
			return err
		}
	}
	j := &joining{node: n, options: identity.JoinOptions{
		Clock: n.clock, Server: a.server, Dir: a.dataDir, NodeName: n.name, Addresses: n.addrs(),
	}}
	if a.token != "" {
		if j.options.Token, err = identity.ParseJoinToken(a.token); err != nil {
			return usageError{fmt.Errorf("--token: %w", err)}
		}
	}
	n.config, n.proxyConfig = j.config, j.config
	n.serving = j.serving
	n.clientCA = func() []byte { return j.joined.CAPEM }
	steps := []Step{
		{Name: "runtime", Start: n.startRuntime, Background: true},
		{Name: "join", Start: j.join},
		{Name: "network", Start: n.startNetwork, Background: true},
		{Name: "nodeagent", Start: n.startAgent},
		{Name: "proxy", Start: n.startProxy},
	}
	return Runner{Report: reportTo(out), Now: time.Now}.Run(ctx, steps, func() {
		fmt.Fprintf(out, "proa is ready after %d ms. This machine is node %s of %s.\n", time.Since(begin).Milliseconds(), n.name, a.server)
	})
}

// node describes this machine.
func (a *agentConfig) node() (*node, error) {
	dir, err := filepath.Abs(a.dataDir)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	a.dataDir = dir
	if a.nodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("host name: %w; give --node-name", err)
		}
		a.nodeName = strings.ToLower(name)
	}
	if a.nodeIP == "" {
		a.nodeIP = hostAddress("0.0.0.0")
	}
	ip := net.ParseIP(a.nodeIP)
	if ip == nil {
		return nil, usageError{fmt.Errorf("--node-ip %q: must be an IP address", a.nodeIP)}
	}
	pods, err := prefixes(a.clusterCIDR)
	if err != nil {
		return nil, usageError{fmt.Errorf("--cluster-cidr: %w", err)}
	}
	services, err := prefixes(a.serviceCIDR)
	if err != nil {
		return nil, usageError{fmt.Errorf("--service-cidr: %w", err)}
	}
	return &node{dataDir: dir, name: a.nodeName, ip: ip, port: a.kubeletPort, podLogsDir: a.podLogsDir, runtimeBinDir: a.runtimeBinDir,
		domain: a.clusterDomain, clusterCIDRs: pods, serviceCIDRs: services, clock: clock.RealClock{}}, nil
}

// joining is the node's identity on its way.
type joining struct {
	node    *node
	options identity.JoinOptions
	joined  *identity.Joined
}

func (j *joining) join(ctx context.Context) (Component, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var err error
	j.joined, err = identity.Join(ctx, j.options)
	return nil, err
}

func (j *joining) config() *rest.Config {
	c := rest.CopyConfig(j.joined.Config)
	c.QPS = -1
	return c
}

// serving asks for the serving certificate on the first connection: the node
// object must exist before.
func (j *joining) serving(ctx context.Context) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	var current certificate
	go func() {
		for ctx.Err() == nil {
			pair, err := j.joined.Serving(ctx, j.options)
			if err == nil {
				var cert tls.Certificate
				if cert, err = pair.TLS(); err == nil {
					current.set(&cert)
				}
			}
			wait := certificateCheck
			if err != nil {
				klog.FromContext(ctx).Error(err, "Could not get the serving certificate, trying again", "node", j.options.NodeName)
				wait = time.Second
			} else if _, err := j.joined.RenewClient(ctx, j.options); err != nil {
				klog.FromContext(ctx).Error(err, "Could not renew the client certificate", "node", j.options.NodeName)
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}()
	return current.get, nil
}
