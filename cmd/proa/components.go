package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"proa/apis"
	"proa/apis/kind"
	"proa/apis/server"
	"proa/apis/server/authn"
	"proa/apis/server/identity"
	"proa/apis/store"
	"proa/config"
	"proa/controllers"
	"proa/controllers/control"
	"proa/controllers/scheduler"
	"proa/nodeagent/hostid"
	"proa/nodeagent/simulated"
)

// cluster is one `proa server`: its configuration and what its steps have made so far.
type cluster struct {
	config   *serverConfig
	clock    clock.RealClock
	out      io.Writer
	id       hostid.ID
	identity *identity.Identity
	// bootstrap are the objects every cluster has.
	bootstrap *config.Objects
	nodeCert  certificate
	metrics   *componentMetrics
	node      *node
	store     *store.Etcd
	api       *server.Server
	control   *controllers.Controllers
}

// steps is the ordered list of components.
func (c *cluster) steps() []Step {
	return []Step{
		{Name: "certificates", Start: c.startIdentity},
		{Name: "runtime", Start: c.startRuntime, Background: true},
		{Name: "etcd", Start: c.startStore},
		{Name: "apiserver", Start: c.startAPIServer},
		{Name: "controllers", Start: c.startControllers},
		{Name: "scheduler", Start: c.startScheduler},
		{Name: "simulated-nodes", Start: c.startSimulatedNodes},
		{Name: "network", Start: c.onNode((*node).startNetwork), Background: true},
		{Name: "nodeagent", Start: c.onNode((*node).startAgent), Background: true},
		{Name: "proxy", Start: c.onNode((*node).startProxy)},
		{Name: "dns", Start: c.onNode((*node).startDNS), Background: true},
	}
}

func (c *cluster) startIdentity(context.Context) (Component, error) {
	id, err := hostid.Load(c.config.dataDir)
	if err != nil {
		return nil, err
	}
	c.id = id
	c.bootstrap, err = config.Load()
	if err != nil {
		return nil, err
	}
	services, err := prefixes(c.config.serviceCIDR)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	o := identity.Options{
		Clock: c.clock, Hostname: host, ServiceCIDRs: services, ClusterDomain: c.config.clusterDomain,
		Addresses: addresses(c.config.bindAddress, c.config.advertiseAddress),
	}
	current, err := identity.Ensure(c.config.dataDir, o)
	if err != nil {
		return nil, err
	}
	c.identity = current
	if _, err := current.WriteAdminKubeconfig(c.url()); err != nil {
		return nil, err
	}
	return renewal{clock: c.clock, next: func() time.Time { return current.NextRenewal() }, renew: func() error {
		renewed, err := identity.Ensure(c.config.dataDir, o)
		if err != nil {
			return err
		}
		current = renewed
		if _, err := renewed.WriteAdminKubeconfig(c.url()); err != nil || c.node == nil {
			return err
		}
		return c.issueServing(renewed)
	}}, nil
}

func (c *cluster) startStore(context.Context) (Component, error) {
	if len(c.config.etcdServers) > 0 {
		return nil, nil
	}
	id := c.identity
	c.store = store.New(store.Options{
		Dir: filepath.Join(c.config.dataDir, "etcd"), ClientPort: c.config.etcdPort, PeerPort: c.config.etcdPeerPort,
		CAFile: id.EtcdCA.CertFile, LogFile: filepath.Join(c.config.dataDir, "logs", "etcd.log"),
		ServerCert: id.EtcdServer.CertFile, ServerKey: id.EtcdServer.KeyFile,
		PeerCert: id.EtcdPeer.CertFile, PeerKey: id.EtcdPeer.KeyFile,
	})
	return c.store, nil
}

// settings are the flags' with what the cluster itself decides: where to serve
// with which certificate, and where the store is.
func (c *cluster) settings() *server.Settings {
	s, id := c.config.settings, c.identity
	s.Serving.BindAddress, s.Serving.BindPort = net.ParseIP(c.config.bindAddress), c.config.securePort
	s.Serving.ServerCert.CertKey.CertFile, s.Serving.ServerCert.CertKey.KeyFile = id.APIServer.CertFile, id.APIServer.KeyFile
	s.Run.AdvertiseAddress = net.ParseIP(c.config.advertiseAddress)
	etcd := &s.Etcd.StorageConfig.Transport
	if c.store == nil {
		etcd.ServerList, etcd.TrustedCAFile = c.config.etcdServers, c.config.etcdCA
		etcd.CertFile, etcd.KeyFile = c.config.etcdCert, c.config.etcdKey
	} else if local := c.store.LocalEndpoint(); local != "" {
		etcd.ServerList = []string{local}
	} else {
		etcd.ServerList, etcd.TrustedCAFile = []string{c.store.Endpoint()}, id.EtcdCA.CertFile
		etcd.CertFile, etcd.KeyFile = id.APIServerEtcdClient.CertFile, id.APIServerEtcdClient.KeyFile
	}
	return s
}

func (c *cluster) startAPIServer(ctx context.Context) (Component, error) {
	services, err := prefixes(c.config.serviceCIDR)
	if err != nil {
		return nil, err
	}
	nodePorts, err := utilnet.ParsePortRange(c.config.nodePortRange)
	if err != nil {
		return nil, usageError{fmt.Errorf("--service-node-port-range: %w", err)}
	}
	id := c.identity
	c.api, err = server.New(ctx, server.Options{
		Kinds:               apis.Kinds(),
		Conversions:         apis.Conversions(),
		Settings:            c.settings(),
		ClientCAFile:        id.ClusterCA.CertFile,
		RequestHeaderCAFile: id.FrontProxyCA.CertFile,
		ProxyClientCert:     id.FrontProxyClient.CertFile, ProxyClientKey: id.FrontProxyClient.KeyFile,
		KubeletClientCert: id.APIServerKubeletClient.CertFile, KubeletClientKey: id.APIServerKubeletClient.KeyFile,
		NoDial:       c.noDial(),
		ServiceCIDRs: services, NodePorts: *nodePorts, EventTTL: time.Hour,
		Security:   c.security,
		PostStart:  c.postStart(services),
		LocalUsers: localUsers(c.config.nodeName),
		Components: map[string]kind.Check{"controller-manager": sameProcess, "scheduler": sameProcess},
		Clock:      c.clock,
	})
	return c.api, err
}

// sameProcess answers for a component of this process: if it ended, so would the process.
func sameProcess(context.Context) (string, error) { return "ok", nil }

// postStart are the objects that a cluster has from the start.
func (c *cluster) postStart(services []netip.Prefix) []server.PostStart {
	id := c.identity
	return append(bootstrapSteps(c.bootstrap, true),
		server.PostStart{Name: kubernetesServiceStep, Run: server.KubernetesService{
			ClusterIP: services[0].Addr().Next(), Address: net.ParseIP(c.config.advertiseAddress), Port: c.config.securePort,
		}.Start},
		server.PostStart{Name: trackingStep, Run: server.LegacyTokenTracking{Clock: c.clock}.Start},
		server.PostStart{Name: authenticationStep, Run: server.AuthenticationTrust{
			ClientCAFile: id.ClusterCA.CertFile, RequestHeaderCAFile: id.FrontProxyCA.CertFile,
			FrontProxy: *authn.AggregatorHeaders(nil, []string{id.FrontProxyClient.Cert.Subject.CommonName}),
		}.Start},
		withClient("bootstrap-token", func(ctx context.Context, client kubernetes.Interface) error {
			_, err := identity.EnsureJoinToken(ctx, client, c.config.dataDir, identity.CertHash(id.ClusterCA.Cert), c.config.token)
			return err
		}),
	)
}

func (c *cluster) startControllers(context.Context) (Component, error) {
	var err error
	c.control, err = controllers.New(controllers.Options{
		Config: c.client(user.KubeControllerManager), Clock: c.clock,
		ClusterCIDR: c.config.clusterCIDR, ServiceCIDR: c.config.serviceCIDR, AllocateNodeCIDRs: true,
		RootCA:                c.identity.ClusterCA.CertPEM,
		Signers:               allSigners(control.CA{CertFile: c.identity.ClusterCA.CertFile, KeyFile: c.identity.ClusterCA.KeyFile}),
		ServiceAccountKeyFile: c.identity.ServiceAccountKeyFile,
	})
	if err != nil {
		return nil, err
	}
	gatherer := c.control.Gatherer()
	c.metrics.controllers.Store(&gatherer)
	return c.control, nil
}

func (c *cluster) startScheduler(context.Context) (Component, error) {
	return scheduler.New(scheduler.Options{Config: c.client(user.KubeScheduler), Cache: c.control.Cache(), Clock: c.clock, Registerer: c.metrics.scheduler})
}

func (c *cluster) startSimulatedNodes(context.Context) (Component, error) {
	if c.config.simulatedNodes == 0 {
		return nil, nil
	}
	return simulated.New(simulated.Options{
		Config: c.client(""), Count: c.config.simulatedNodes, Latency: c.config.simulatedLatency,
		LeaseInterval: leaseInterval(c.config.simulatedNodes), Cache: c.control.Cache(), Clock: c.clock,
	})
}

// leaseInterval is a node agent's 10 s for few simulated nodes; thousands renew
// as rarely as the 50 s grace period allows, or they would occupy the store.
func leaseInterval(nodes int) time.Duration {
	if nodes > 1000 {
		return 25 * time.Second
	}
	return 10 * time.Second
}

// startRuntime describes this machine's node and starts its runtime.
func (c *cluster) startRuntime(ctx context.Context) (Component, error) {
	if c.config.noNode {
		return nil, nil
	}
	pods, err := prefixes(c.config.clusterCIDR)
	if err != nil {
		return nil, err
	}
	services, err := prefixes(c.config.serviceCIDR)
	if err != nil {
		return nil, err
	}
	c.node = &node{
		dataDir: c.config.dataDir, name: c.config.nodeName, ip: net.ParseIP(c.config.advertiseAddress), port: c.config.kubeletPort,
		podLogsDir: c.config.podLogsDir, runtimeBinDir: c.config.runtimeBinDir,
		domain: c.config.clusterDomain, clusterCIDRs: pods, serviceCIDRs: services, id: c.id, clock: c.clock,
		config:      func() *rest.Config { return c.client(nodeUser(c.config.nodeName)) },
		proxyConfig: func() *rest.Config { return c.client(user.KubeProxy) },
		dnsConfig:   func() *rest.Config { return c.client("") },
		serving:     c.serving,
		clientCA:    func() []byte { return c.identity.ClusterCA.CertPEM },
	}
	return c.node.startRuntime(ctx)
}

// serving is the node agent's certificate, issued from the cluster CA at hand.
func (c *cluster) serving(context.Context) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	return c.nodeCert.get, c.issueServing(c.identity)
}

// issueServing makes or renews the node agent's serving certificate.
func (c *cluster) issueServing(id *identity.Identity) error {
	n, err := id.EnsureNode(c.config.nodeName, addresses(c.config.advertiseAddress, "127.0.0.1"))
	if err != nil {
		return err
	}
	pair, err := n.Server.TLS()
	if err != nil {
		return err
	}
	c.nodeCert.set(&pair)
	return nil
}

// onNode runs a step of this machine's node, if it is one.
func (c *cluster) onNode(start func(*node, context.Context) (Component, error)) func(context.Context) (Component, error) {
	return func(ctx context.Context) (Component, error) {
		if c.node == nil {
			return nil, nil
		}
		return start(c.node, ctx)
	}
}

// noDial are addresses that are only pretended.
func (c *cluster) noDial() []netip.Prefix {
	if c.config.simulatedNodes == 0 {
		return nil
	}
	return simulated.Prefixes()
}

// localUsers are the identities of the components in this process.
func localUsers(node string) []user.Info {
	return []user.Info{
		// These two are the API server's own process: RBAC would protect nothing,
		// and upstream gives each controller an account of its own instead.
		&user.DefaultInfo{Name: user.KubeControllerManager, Groups: []string{user.SystemPrivilegedGroup}},
		&user.DefaultInfo{Name: user.KubeScheduler, Groups: []string{user.SystemPrivilegedGroup}},
		&user.DefaultInfo{Name: user.KubeProxy},
		&user.DefaultInfo{Name: nodeUser(node), Groups: []string{user.NodesGroup}},
	}
}

func nodeUser(name string) string { return "system:node:" + name }

// client is a configuration for a component in this process.
func (c *cluster) client(userName string) *rest.Config { return c.api.LocalConfig(userName) }

func (c *cluster) url() string {
	host := c.config.advertiseAddress
	return fmt.Sprintf("https://%s", net.JoinHostPort(host, fmt.Sprint(c.config.securePort)))
}

func addresses(given ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range given {
		if a, err := netip.ParseAddr(s); err == nil && !a.IsUnspecified() {
			out = append(out, a)
		}
	}
	return out
}

// kubectlHint is the shortest kubectl there is here.
func kubectlHint() string {
	if _, err := exec.LookPath("kubectl"); err == nil {
		return "kubectl"
	}
	return os.Args[0] + " kubectl"
}
