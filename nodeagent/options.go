package nodeagent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"proa/nodeagent/cri"
)

// KubeletVersion is what the node reports as its agent's version.
const KubeletVersion = "v1.37.2+proa"

// Options are what an Agent needs. Fields without "Required" have defaults.
type Options struct {
	// Config leads to the API. Required.
	Config *rest.Config
	// Client replaces the client made from Config; for tests.
	Client kubernetes.Interface
	// NodeName is the name of the Node object. Required.
	NodeName string
	// NodeIP is the address under which others reach this node. Required.
	NodeIP net.IP
	// Hostname is reported as an address and label; NodeName where empty.
	Hostname string
	// Labels and Taints are put on the Node when it is made.
	Labels map[string]string
	Taints []v1.Taint
	// RuntimeEndpoint is the CRI socket, "unix:///path". Required unless Runtime is set.
	RuntimeEndpoint string
	// Runtime replaces the client of RuntimeEndpoint; for tests.
	Runtime cri.Runtime
	// RootDir is the agent's own directory; pods live in RootDir/pods. Required.
	RootDir string
	// PodLogsDir is the root of container logs, /var/log/pods where empty.
	PodLogsDir string
	// CgroupRoot is the parent of all pod cgroups, an absolute cgroup path such
	// as "/proa-1a2b3c". Empty: no pod cgroups are made, and the runtime places
	// containers where it likes.
	CgroupRoot string
	// ClusterDNS are the servers for pods with dnsPolicy ClusterFirst.
	ClusterDNS    []net.IP
	ClusterDomain string
	// ResolverConfig is the node's resolv.conf, /etc/resolv.conf where empty.
	ResolverConfig string
	// Port is where the agent's server listens, reported in the Node; 10250 where 0.
	Port int
	// ServerCert is the server's certificate; nil leaves the server out.
	ServerCert *tls.Certificate
	// GetCertificate is asked at every connection instead, for a certificate
	// that is rotated or not issued yet.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientCA verifies the server's callers' certificates, PEM; that of
	// Config where empty. Tokens and permissions are asked of the API.
	ClientCA []byte
	// ServeAddress is the server's address without port; all addresses where empty.
	ServeAddress string
	// MaxPods is the node's pod capacity, 110 where 0.
	MaxPods int
	// Reserved is subtracted from the node's capacity.
	Reserved v1.ResourceList
	// AllowedUnsafeSysctls are sysctls, or prefixes ending in *, that pods may
	// set beyond the safe ones.
	AllowedUnsafeSysctls []string
	// StatusInterval is how often an unchanged node status is written, 5 min
	// where 0; LeaseInterval how often the lease is renewed, 10 s where 0.
	StatusInterval, LeaseInterval time.Duration
	// RelistInterval is how often all of the runtime's state is read to repair, 60 s where 0.
	RelistInterval time.Duration
	// NetworkReady, where set, must be true for the node to be Ready, beside
	// what the runtime says about its network.
	NetworkReady func() bool
	// PullKeyring turns a pod's pull secrets into credentials for an image; nil
	// reads those of the pod and its service account.
	PullKeyring Keyring
	Clock       clock.WithTickerAndDelayedExecution
	// Registerer takes the metrics. The server shows them if it is a
	// prometheus.Gatherer too, as registries are; nil makes one.
	Registerer prometheus.Registerer
}

func (o *Options) complete() error {
	var errs []error
	if o.Config == nil && o.Client == nil {
		errs = append(errs, errors.New("nodeagent: Config is required"))
	}
	if o.NodeName == "" {
		errs = append(errs, errors.New("nodeagent: NodeName is required"))
	}
	if o.NodeIP == nil {
		errs = append(errs, errors.New("nodeagent: NodeIP is required: give the address other nodes reach this one by"))
	}
	if o.RuntimeEndpoint == "" && o.Runtime == nil {
		errs = append(errs, errors.New("nodeagent: RuntimeEndpoint is required, unix:///path/to/containerd.sock"))
	}
	if !filepath.IsAbs(o.RootDir) {
		errs = append(errs, fmt.Errorf("nodeagent: RootDir %q must be an absolute path", o.RootDir))
	}
	if o.CgroupRoot != "" && (!filepath.IsAbs(o.CgroupRoot) || filepath.Clean(o.CgroupRoot) == "/") {
		errs = append(errs, fmt.Errorf("nodeagent: CgroupRoot %q must be an absolute cgroup path below /", o.CgroupRoot))
	}
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&o.Hostname, o.NodeName)
	def(&o.PodLogsDir, "/var/log/pods")
	def(&o.ClusterDomain, "cluster.local")
	def(&o.ResolverConfig, "/etc/resolv.conf")
	if o.Port == 0 {
		o.Port = 10250
	}
	if o.MaxPods == 0 {
		o.MaxPods = 110
	}
	dur := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	dur(&o.StatusInterval, 5*time.Minute)
	dur(&o.LeaseInterval, 10*time.Second)
	dur(&o.RelistInterval, time.Minute)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return errors.Join(errs...)
}
