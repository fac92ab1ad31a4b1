package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"proa/nodeagent"
)

// kubeletFlags are the kubelet's flags that have a meaning here. Those that a
// KubeletConfiguration has too win over the file.
type kubeletFlags struct {
	set        *pflag.FlagSet
	kubeconfig string
	file       string
	certDir    string

	hostname, nodeIP                     string
	endpoint, rootDir, podLogsDir        string
	cgroupRoot, resolvConf               string
	address                              string
	port, maxPods                        int
	dns                                  []string
	domain                               string
	tlsCert, tlsKey, clientCA            string
	labels, systemReserved, kubeReserved map[string]string
	taints, sysctls                      []string
}

func newNodeAlone(f *pflag.FlagSet, _ *prometheus.Registry) func(context.Context) (Component, error) {
	k := &kubeletFlags{set: f}
	k.flags(f)
	return k.start
}

func (k *kubeletFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&k.kubeconfig, "kubeconfig", "", "file with the API's address and the node's credentials; required")
	f.StringVar(&k.file, "config", "", "KubeletConfiguration; its fields that match a flag here count, unless the flag is given")
	f.StringVar(&k.certDir, "cert-dir", "/var/lib/kubelet/pki", "where kubelet.crt and kubelet.key are, or are made, without --tls-cert-file")
	f.StringVar(&k.hostname, "hostname-override", "", "name of the node; default: the host name")
	f.StringVar(&k.nodeIP, "node-ip", "", "address others reach this node at; default: that of the default route")
	f.StringVar(&k.endpoint, "container-runtime-endpoint", "unix:///run/containerd/containerd.sock", "socket of the container runtime (CRI)")
	f.StringVar(&k.rootDir, "root-dir", "/var/lib/kubelet", "where the node agent keeps its files")
	f.StringVar(&k.cgroupRoot, "cgroup-root", "", "cgroup below which the kubepods cgroup is")
	f.StringVar(&k.resolvConf, "resolv-conf", "/etc/resolv.conf", "DNS configuration that pods inherit")
	f.StringVar(&k.address, "address", "0.0.0.0", "address the node agent serves on")
	f.IntVar(&k.port, "port", 10250, "port of the node agent")
	f.IntVar(&k.maxPods, "max-pods", 110, "number of pods the node can run")
	f.StringSliceVar(&k.dns, "cluster-dns", nil, "addresses of the cluster DNS")
	f.StringVar(&k.domain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	f.StringVar(&k.tlsCert, "tls-cert-file", "", "serving certificate")
	f.StringVar(&k.tlsKey, "tls-private-key-file", "", "key of the serving certificate")
	f.StringVar(&k.clientCA, "client-ca-file", "", "CA of the callers' client certificates; default: the kubeconfig's")
	f.StringToStringVar(&k.labels, "node-labels", nil, "labels of the node when it registers")
	f.StringSliceVar(&k.taints, "register-with-taints", nil, "taints of the node when it registers, key=value:effect")
	f.StringToStringVar(&k.systemReserved, "system-reserved", nil, "resources that pods cannot have, such as cpu=200m,memory=1Gi")
	f.StringToStringVar(&k.kubeReserved, "kube-reserved", nil, "further resources that pods cannot have")
	f.StringSliceVar(&k.sysctls, "allowed-unsafe-sysctls", nil, "sysctls, or prefixes ending in *, that pods may set beyond the safe ones")
}

func (k *kubeletFlags) start(context.Context) (Component, error) {
	o := nodeagent.Options{Clock: clock.RealClock{}}
	if k.file != "" {
		c, err := readKubeletConfiguration(k.file)
		if err != nil {
			return nil, err
		}
		k.merge(c)
		o.Taints = c.RegisterWithTaints
		o.StatusInterval = c.NodeStatusReportFrequency.Duration
	}
	if err := k.describe(&o); err != nil {
		return nil, usageError{err}
	}
	if !fileExists(k.kubeconfig) {
		return nil, fmt.Errorf("--kubeconfig %s: no such file; to join this machine to a cluster with a token use proa agent", k.kubeconfig)
	}
	var err error
	api := apiFlags{kubeconfig: k.kubeconfig}
	if o.Config, err = api.config(); err != nil {
		return nil, err
	}
	if k.clientCA != "" {
		if o.ClientCA, err = os.ReadFile(k.clientCA); err != nil {
			return nil, fmt.Errorf("--client-ca-file: %w", err)
		}
	}
	if o.GetCertificate, err = k.serving(o.NodeName, o.NodeIP); err != nil {
		return nil, err
	}
	return nodeagent.New(o)
}

// merge takes from the file what no flag says.
func (k *kubeletFlags) merge(c *kubeletconfig.KubeletConfiguration) {
	text := func(flag string, to *string, from string) {
		if from != "" && !k.set.Changed(flag) {
			*to = from
		}
	}
	number := func(flag string, to *int, from int32) {
		if from != 0 && !k.set.Changed(flag) {
			*to = int(from)
		}
	}
	text("container-runtime-endpoint", &k.endpoint, c.ContainerRuntimeEndpoint)
	text("cgroup-root", &k.cgroupRoot, c.CgroupRoot)
	text("address", &k.address, c.Address)
	text("cluster-domain", &k.domain, c.ClusterDomain)
	text("tls-cert-file", &k.tlsCert, c.TLSCertFile)
	text("tls-private-key-file", &k.tlsKey, c.TLSPrivateKeyFile)
	text("client-ca-file", &k.clientCA, c.Authentication.X509.ClientCAFile)
	if c.ResolverConfig != nil {
		text("resolv-conf", &k.resolvConf, *c.ResolverConfig)
	}
	number("port", &k.port, c.Port)
	number("max-pods", &k.maxPods, c.MaxPods)
	k.podLogsDir = c.PodLogsDir
	if len(c.ClusterDNS) > 0 && !k.set.Changed("cluster-dns") {
		k.dns = c.ClusterDNS
	}
	if len(c.AllowedUnsafeSysctls) > 0 && !k.set.Changed("allowed-unsafe-sysctls") {
		k.sysctls = c.AllowedUnsafeSysctls
	}
	if len(c.SystemReserved) > 0 && !k.set.Changed("system-reserved") {
		k.systemReserved = c.SystemReserved
	}
	if len(c.KubeReserved) > 0 && !k.set.Changed("kube-reserved") {
		k.kubeReserved = c.KubeReserved
	}
}

// describe turns the flags into options.
func (k *kubeletFlags) describe(o *nodeagent.Options) error {
	if k.kubeconfig == "" {
		return errors.New("--kubeconfig is required: a file with the API's address and the node's credentials")
	}
	if (k.tlsCert == "") != (k.tlsKey == "") {
		return errors.New("--tls-cert-file and --tls-private-key-file go together")
	}
	var err error
	if o.NodeName, err = nodeNameOr(k.hostname); err != nil {
		return err
	}
	ip := k.nodeIP
	if ip == "" {
		ip = hostAddress("0.0.0.0")
	}
	if o.NodeIP = net.ParseIP(ip); o.NodeIP == nil {
		return fmt.Errorf("--node-ip %q: must be an IP address", ip)
	}
	for _, s := range k.dns {
		a := net.ParseIP(s)
		if a == nil {
			return fmt.Errorf("--cluster-dns %q: must be an IP address", s)
		}
		o.ClusterDNS = append(o.ClusterDNS, a)
	}
	if o.RootDir, err = filepath.Abs(k.rootDir); err != nil {
		return fmt.Errorf("--root-dir: %w", err)
	}
	for _, s := range k.taints {
		t, err := parseTaint(s)
		if err != nil {
			return fmt.Errorf("--register-with-taints: %w", err)
		}
		o.Taints = append(o.Taints, t)
	}
	if o.Reserved, err = reserved(k.systemReserved, k.kubeReserved); err != nil {
		return err
	}
	// As upstream: all pods are below <root>/kubepods.
	o.CgroupRoot = path.Join("/", k.cgroupRoot, "kubepods")
	o.RuntimeEndpoint, o.PodLogsDir, o.ResolverConfig = k.endpoint, k.podLogsDir, k.resolvConf
	o.ClusterDomain, o.Port, o.MaxPods, o.Labels, o.AllowedUnsafeSysctls = k.domain, k.port, k.maxPods, k.labels, k.sysctls
	if !strings.Contains(o.RuntimeEndpoint, "://") {
		o.RuntimeEndpoint = "unix://" + o.RuntimeEndpoint
	}
	if a := net.ParseIP(k.address); a == nil {
		return fmt.Errorf("--address %q: must be an IP address", k.address)
	} else if !a.IsUnspecified() {
		o.ServeAddress = k.address
	}
	return nil
}

// serving reads the certificate at every handshake, so that a new one counts.
func (k *kubeletFlags) serving(node string, ip net.IP) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	cert, key := k.tlsCert, k.tlsKey
	if cert == "" {
		var err error
		if cert, key, err = madeCertificate(k.certDir, "kubelet", ip, []string{node}); err != nil {
			return nil, err
		}
	}
	read := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, err
	}
	if _, err := read(nil); err != nil {
		return nil, fmt.Errorf("--tls-cert-file %s, --tls-private-key-file %s: %w", cert, key, err)
	}
	return read, nil
}

func readKubeletConfiguration(path string) (*kubeletconfig.KubeletConfiguration, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	c := &kubeletconfig.KubeletConfiguration{}
	if err := yaml.UnmarshalStrict(b, c); err != nil {
		return nil, fmt.Errorf("--config %s: %w", path, err)
	}
	if c.Kind != "KubeletConfiguration" {
		return nil, fmt.Errorf("--config %s: kind %q: must be KubeletConfiguration of kubelet.config.k8s.io/v1beta1", path, c.Kind)
	}
	return c, nil
}

// parseTaint reads key[=value]:effect.
func parseTaint(s string) (corev1.Taint, error) {
	pair, effect, ok := strings.Cut(s, ":")
	key, value, _ := strings.Cut(pair, "=")
	t := corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}
	switch t.Effect {
	case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
	default:
		ok = false
	}
	if !ok || key == "" {
		return t, fmt.Errorf("%q: must be key=value:effect, effect NoSchedule, PreferNoSchedule or NoExecute", s)
	}
	return t, nil
}

// reserved adds up resources.
func reserved(lists ...map[string]string) (corev1.ResourceList, error) {
	out := corev1.ResourceList{}
	for _, list := range lists {
		for name, text := range list {
			q, err := resource.ParseQuantity(text)
			if err != nil {
				return nil, fmt.Errorf("--system-reserved, --kube-reserved: %s=%s: %w", name, text, err)
			}
			sum := out[corev1.ResourceName(name)]
			sum.Add(q)
			out[corev1.ResourceName(name)] = sum
		}
	}
	return out, nil
}
