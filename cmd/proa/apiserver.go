package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"proa/apis"
	"proa/apis/admission"
	"proa/apis/server"
	"proa/apis/server/authn"
	"proa/config"
)

// apiserverFlags are kube-apiserver's flags that have a meaning here.
type apiserverFlags struct {
	settings                                     *server.Settings
	authentication                               authenticationFlags
	authorization                                authorizationFlags
	kubeletCA                                    string
	proxyCert, proxyKey, kubeletCert, kubeletKey string
	admissionConfig                              string
	eventTTL                                     time.Duration
	serviceCIDR                                  string
	nodePorts                                    utilnet.PortRange
	enableAdmission, disableAdmission            []string
}

func newAPIServerAlone(f *pflag.FlagSet, _ *prometheus.Registry) func(context.Context) (Component, error) {
	a := &apiserverFlags{settings: server.NewSettings(), nodePorts: utilnet.PortRange{Base: 30000, Size: 2768}}
	a.flags(f)
	return a.start
}

func (a *apiserverFlags) flags(f *pflag.FlagSet) {
	a.settings.AddFlags(f)
	a.authentication.flags(f)
	a.authorization.flags(f)
	a.settings.Flags = f
	f.StringVar(&a.kubeletCA, "kubelet-certificate-authority", "", "CA of node agents' serving certificates; only the one of --client-ca-file has an effect")
	f.StringVar(&a.proxyCert, "proxy-client-cert-file", "", "client certificate of the aggregator")
	f.StringVar(&a.proxyKey, "proxy-client-key-file", "", "key of the aggregator's client certificate")
	f.StringVar(&a.kubeletCert, "kubelet-client-certificate", "", "client certificate for node agents")
	f.StringVar(&a.kubeletKey, "kubelet-client-key", "", "key of the client certificate for node agents")
	f.StringVar(&a.serviceCIDR, "service-cluster-ip-range", "10.0.0.0/24", "addresses of services")
	f.Var(&a.nodePorts, "service-node-port-range", "ports of NodePort services")
	f.DurationVar(&a.eventTTL, "event-ttl", time.Hour, "how long events are kept")
	f.StringSliceVar(&a.enableAdmission, "enable-admission-plugins", nil, "admission plugins beside the default ones")
	f.StringSliceVar(&a.disableAdmission, "disable-admission-plugins", nil, "default admission plugins to leave out")
	f.StringVar(&a.admissionConfig, "admission-control-config-file", "", "AdmissionConfiguration: the plugins' own configuration")
}

// complete fills in what depends on the machine, and refuses what cannot be meant.
func (a *apiserverFlags) complete() error {
	var missing []string
	for flag, given := range map[string]bool{
		"--etcd-servers": len(a.settings.Etcd.StorageConfig.Transport.ServerList) > 0, "--service-account-issuer": len(a.authentication.issuers) > 0,
		"--service-account-signing-key-file": a.authentication.signingKey != "",
	} {
		if !given {
			missing = append(missing, flag)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("required: %s", strings.Join(missing, ", "))
	}
	if err := a.settings.Validate(); err != nil {
		return err
	}
	serving := a.settings.Serving
	if pair := serving.ServerCert.CertKey; (pair.CertFile == "") != (pair.KeyFile == "") {
		return errors.New("--tls-cert-file and --tls-private-key-file go together")
	}
	if err := a.authentication.complete(a.authorization.open()); err != nil {
		return err
	}
	if run := a.settings.Run; run.AdvertiseAddress == nil || run.AdvertiseAddress.IsUnspecified() {
		host := serving.BindAddress.String()
		if serving.BindAddress.IsLoopback() {
			host = ""
		}
		run.AdvertiseAddress = net.ParseIP(hostAddress(host))
	}
	if err := admission.CheckNames(a.enableAdmission); err != nil {
		return fmt.Errorf("--enable-admission-plugins: %w", err)
	}
	if err := admission.CheckNames(a.disableAdmission); err != nil {
		return fmt.Errorf("--disable-admission-plugins: %w", err)
	}
	if a.authentication.jwksURL == "" {
		a.authentication.jwksURL = "https://" + net.JoinHostPort(a.settings.Run.AdvertiseAddress.String(), fmt.Sprint(serving.BindPort)) + authn.JWKSPath
	}
	return nil
}

func (a *apiserverFlags) start(ctx context.Context) (Component, error) {
	if err := a.complete(); err != nil {
		return nil, usageError{err}
	}
	services, err := prefixes(a.serviceCIDR)
	if err != nil {
		return nil, usageError{fmt.Errorf("--service-cluster-ip-range: %w", err)}
	}
	if cert := &a.settings.Serving.ServerCert; cert.CertKey.CertFile == "" {
		if cert.CertKey.CertFile, cert.CertKey.KeyFile, err = madeCertificate(cert.CertDirectory, cert.PairName, a.settings.Run.AdvertiseAddress,
			[]string{"kubernetes.default.svc", "kubernetes.default", "kubernetes", "localhost"}); err != nil {
			return nil, err
		}
	}
	bootstrap, err := config.Load()
	if err != nil {
		return nil, err
	}
	security, err := a.security(ctx, bootstrap)
	if err != nil {
		return nil, err
	}
	return server.New(ctx, server.Options{
		Kinds: apis.Kinds(), Conversions: apis.Conversions(),
		Settings:     a.settings,
		ClientCAFile: security.clientCA, RequestHeaderCAFile: security.requestHeaderCA,
		ProxyClientCert: a.proxyCert, ProxyClientKey: a.proxyKey,
		KubeletClientCert: a.kubeletCert, KubeletClientKey: a.kubeletKey,
		ServiceCIDRs: services, NodePorts: a.nodePorts, EventTTL: a.eventTTL,
		Security:  security.build,
		PostStart: a.postStart(services, bootstrap, security),
		Clock:     clock.RealClock{},
	})
}

// postStart are the objects that this server keeps.
func (a *apiserverFlags) postStart(services []netip.Prefix, bootstrap *config.Objects, security *securityOptions) []server.PostStart {
	steps := append(bootstrapSteps(bootstrap, security.usesRBAC()), server.PostStart{
		Name: kubernetesServiceStep, Run: server.KubernetesService{
			ClusterIP: services[0].Addr().Next(), Address: a.settings.Run.AdvertiseAddress, Port: a.settings.Serving.BindPort,
		}.Start}, server.PostStart{
		Name: trackingStep, Run: server.LegacyTokenTracking{Clock: clock.RealClock{}}.Start})
	if security.clientCA != "" || security.requestHeaderCA != "" {
		steps = append(steps, server.PostStart{Name: authenticationStep, Run: server.AuthenticationTrust{
			ClientCAFile: security.clientCA, RequestHeaderCAFile: security.requestHeaderCA, FrontProxy: security.frontProxy,
		}.Start})
	}
	return steps
}

func (a *apiserverFlags) security(ctx context.Context, bootstrap *config.Objects) (*securityOptions, error) {
	if a.kubeletCA != "" && a.kubeletCA != a.authentication.clientCA {
		klog.FromContext(ctx).Info("--kubelet-certificate-authority has no effect; node agents are verified by the client CA")
	}
	config, err := admission.ReadConfig(a.admissionConfig)
	if err != nil {
		return nil, fmt.Errorf("--admission-control-config-file: %w", err)
	}
	o := &securityOptions{clock: clock.RealClock{}, nodeRules: bootstrap.NodeRules(), admits: a.admits, admissionConfig: config}
	if err := a.authentication.apply(o); err != nil {
		return nil, err
	}
	if o.authorization, err = a.authorization.options(); err != nil {
		return nil, usageError{err}
	}
	return o, nil
}

// admits says whether an admission plugin runs. When both flags name one, it
// runs, as upstream.
func (a *apiserverFlags) admits(name string) bool {
	if slices.Contains(a.enableAdmission, name) {
		return true
	}
	return admission.DefaultOn(name) && !slices.Contains(a.disableAdmission, name)
}
