package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"proa/apis/server"
)

// serverConfig is what the flags of `proa server` say.
type serverConfig struct {
	dataDir          string
	bindAddress      string
	advertiseAddress string
	securePort       int
	etcdPort         int
	etcdPeerPort     int
	etcdServers      []string
	etcdCA           string
	etcdCert         string
	etcdKey          string
	noNode           bool
	nodeName         string
	kubeletPort      int
	simulatedNodes   int
	simulatedLatency time.Duration
	clusterCIDR      string
	serviceCIDR      string
	nodePortRange    string
	clusterDomain    string
	token            string
	podLogsDir       string
	skipCheck        bool
	runtimeBinDir    string
	// settings are the API server's, by upstream's flags.
	settings *server.Settings
}

// settingsFlags are those of kube-apiserver's flags that `proa server` has; what
// the others say it decides itself, or is meant for many servers.
func settingsFlags() []string {
	return words(`cors-allowed-origins strict-transport-security-directives max-requests-inflight
		max-mutating-requests-inflight request-timeout min-request-timeout goaway-chance shutdown-delay-duration
		feature-gates emulated-version tls-cipher-suites tls-curve-preferences tls-min-version tls-sni-cert-key
		encryption-provider-config encryption-provider-config-automatic-reload etcd-compaction-interval
		watch-cache-sizes profiling contention-profiling enable-priority-and-fairness runtime-config
		egress-selector-config-file tracing-config-file show-hidden-metrics-for-version disabled-metrics
		allow-metric-labels allow-metric-labels-manifest`)
}

func (c *serverConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&c.dataDir, "data-dir", defaultDataDir(), "where everything of this cluster is kept")
	f.StringVar(&c.bindAddress, "bind-address", "0.0.0.0", "address the API is served on")
	f.StringVar(&c.advertiseAddress, "advertise-address", "", "address other machines and pods reach this API at; default: of the default route")
	f.IntVar(&c.securePort, "secure-port", 6443, "port of the API")
	f.IntVar(&c.etcdPort, "etcd-port", 2379, "loopback port of the embedded etcd")
	f.IntVar(&c.etcdPeerPort, "etcd-peer-port", 2380, "loopback port of the embedded etcd for peers")
	f.StringSliceVar(&c.etcdServers, "etcd-servers", nil, "URLs of an external etcd to use instead of the embedded one")
	f.StringVar(&c.etcdCA, "etcd-cafile", "", "CA of the external etcd")
	f.StringVar(&c.etcdCert, "etcd-certfile", "", "client certificate for the external etcd")
	f.StringVar(&c.etcdKey, "etcd-keyfile", "", "key of the client certificate for the external etcd")
	f.BoolVar(&c.noNode, "no-node", false, "run the control plane only")
	f.StringVar(&c.nodeName, "node-name", "", "name of this machine's node; default: the host name")
	f.IntVar(&c.kubeletPort, "kubelet-port", 10250, "port of the node agent")
	f.IntVar(&c.simulatedNodes, "simulated-nodes", 0, "number of nodes whose pods run without containers")
	f.DurationVar(&c.simulatedLatency, "simulated-latency", 0, "how long a simulated pod takes to run")
	f.StringVar(&c.clusterCIDR, "cluster-cidr", "10.244.0.0/16", "addresses of pods")
	f.StringVar(&c.serviceCIDR, "service-cidr", "10.96.0.0/16", "addresses of services")
	f.StringVar(&c.nodePortRange, "service-node-port-range", "30000-32767", "ports of NodePort services")
	f.StringVar(&c.clusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	f.StringVar(&c.token, "token", "", "bootstrap token (id.secret) with which nodes join; default: made at the first start")
	f.StringVar(&c.podLogsDir, "pod-logs-dir", "/var/log/pods", "where container logs are kept")
	f.StringVar(&c.runtimeBinDir, "runtime-bin-dir", "", "a directory with the container runtime to use instead of the bundled one")
	c.settings = server.NewSettings()
	c.settings.Flags = f
	upstream, some := pflag.NewFlagSet("", pflag.ContinueOnError), settingsFlags()
	c.settings.AddFlags(upstream)
	upstream.VisitAll(func(flag *pflag.Flag) {
		if slices.Contains(some, flag.Name) || strings.HasPrefix(flag.Name, "audit-") {
			f.AddFlag(flag)
		}
	})
	f.BoolVar(&c.skipCheck, "skip-check", false, "start even if the preflight check finds lacks")
}

// complete fills in what depends on the machine, and refuses what cannot be meant.
func (c *serverConfig) complete() error {
	if c.nodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("host name: %w; give --node-name", err)
		}
		c.nodeName = strings.ToLower(name)
	}
	if net.ParseIP(c.bindAddress) == nil {
		return usageError{fmt.Errorf("--bind-address %q: must be an IP address", c.bindAddress)}
	}
	if c.advertiseAddress == "" {
		c.advertiseAddress = hostAddress(c.bindAddress)
	}
	if net.ParseIP(c.advertiseAddress) == nil {
		return usageError{fmt.Errorf("--advertise-address %q: must be an IP address", c.advertiseAddress)}
	}
	for flag, value := range map[string]string{"--cluster-cidr": c.clusterCIDR, "--service-cidr": c.serviceCIDR} {
		if _, err := prefixes(value); err != nil {
			return usageError{fmt.Errorf("%s: %w", flag, err)}
		}
	}
	if err := c.settings.Validate(); err != nil {
		return usageError{err}
	}
	dir, err := filepath.Abs(c.dataDir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	c.dataDir = dir
	if os.Geteuid() != 0 {
		c.noNode = true
	}
	return nil
}

// prefixes parses a comma-separated list of CIDRs.
func prefixes(s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, part := range strings.Split(s, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q: must be an address range such as 10.96.0.0/16", part)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// hostAddress is this machine's address on the way to others: the bound one, or
// the source address of the default route, or loopback.
func hostAddress(bind string) string {
	if ip := net.ParseIP(bind); ip != nil && !ip.IsUnspecified() {
		return bind
	}
	// Connecting UDP sends nothing; it only asks the kernel for a source address.
	if conn, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		defer conn.Close()
		if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			return a.IP.String()
		}
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
