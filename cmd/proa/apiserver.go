package main

import (
	"context"
	"crypto"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
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
	clientCA, kubeletCA                          string
	requestHeaderCA                              string
	requestHeaderNames                           []string
	proxyCert, proxyKey, kubeletCert, kubeletKey string
	issuers, keyFiles                            []string
	signingKey, jwksURL, admissionConfig         string
	audiences                                    []string
	maxTokenLifetime, eventTTL                   time.Duration
	serviceCIDR                                  string
	nodePorts                                    utilnet.PortRange
	modes, enableAdmission, disableAdmission     []string
	tokenFile                                    string
	anonymous, bootstrapTokens                   bool
}

func newAPIServerAlone(f *pflag.FlagSet, _ *prometheus.Registry) func(context.Context) (Component, error) {
	a := &apiserverFlags{settings: server.NewSettings(), nodePorts: utilnet.PortRange{Base: 30000, Size: 2768}}
	a.flags(f)
	return a.start
}

func (a *apiserverFlags) flags(f *pflag.FlagSet) {
	a.settings.AddFlags(f)
	f.StringVar(&a.clientCA, "client-ca-file", "", "CA of client certificates")
	f.StringVar(&a.kubeletCA, "kubelet-certificate-authority", "", "CA of node agents' serving certificates; only the one of --client-ca-file has an effect")
	f.StringVar(&a.requestHeaderCA, "requestheader-client-ca-file", "", "CA of the front proxies that may name users in headers")
	f.StringSliceVar(&a.requestHeaderNames, "requestheader-allowed-names", nil, "common names of these proxies; none means all")
	f.StringVar(&a.proxyCert, "proxy-client-cert-file", "", "client certificate of the aggregator")
	f.StringVar(&a.proxyKey, "proxy-client-key-file", "", "key of the aggregator's client certificate")
	f.StringVar(&a.kubeletCert, "kubelet-client-certificate", "", "client certificate for node agents")
	f.StringVar(&a.kubeletKey, "kubelet-client-key", "", "key of the client certificate for node agents")
	f.StringArrayVar(&a.issuers, "service-account-issuer", nil, "issuer of service-account tokens; required; further ones are accepted")
	f.StringVar(&a.signingKey, "service-account-signing-key-file", "", "private key that signs service-account tokens; required")
	f.StringArrayVar(&a.keyFiles, "service-account-key-file", nil, "files with keys whose service-account tokens are accepted")
	f.StringVar(&a.jwksURL, "service-account-jwks-uri", "", "URL of the token keys in the issuer's documents")
	f.DurationVar(&a.maxTokenLifetime, "service-account-max-token-expiration", 0, "longest lifetime of tokens; 0 for any")
	f.StringSliceVar(&a.audiences, "api-audiences", nil, "audiences of tokens for this API; default: the issuer")
	f.StringVar(&a.serviceCIDR, "service-cluster-ip-range", "10.0.0.0/24", "addresses of services")
	f.Var(&a.nodePorts, "service-node-port-range", "ports of NodePort services")
	f.DurationVar(&a.eventTTL, "event-ttl", time.Hour, "how long events are kept")
	f.StringSliceVar(&a.modes, "authorization-mode", []string{"AlwaysAllow"}, "who decides what users may do: Node, RBAC, AlwaysAllow")
	f.StringVar(&a.tokenFile, "token-auth-file", "", "CSV file of fixed tokens: token,user,uid,\"group,group\"")
	f.BoolVar(&a.anonymous, "anonymous-auth", true, "answer without credentials on the paths of health and version, and only there")
	f.BoolVar(&a.bootstrapTokens, "enable-bootstrap-token-auth", false, "accept the tokens of bootstrap.kubernetes.io/token Secrets")
	f.StringSliceVar(&a.enableAdmission, "enable-admission-plugins", nil, "admission plugins beside the default ones")
	f.StringSliceVar(&a.disableAdmission, "disable-admission-plugins", nil, "default admission plugins to leave out")
	f.StringVar(&a.admissionConfig, "admission-control-config-file", "", "AdmissionConfiguration: the plugins' own configuration")
}

// complete fills in what depends on the machine, and refuses what cannot be meant.
func (a *apiserverFlags) complete() error {
	var missing []string
	for flag, given := range map[string]bool{
		"--etcd-servers": len(a.settings.Etcd.StorageConfig.Transport.ServerList) > 0, "--service-account-issuer": len(a.issuers) > 0,
		"--service-account-signing-key-file": a.signingKey != "",
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
	if a.requestHeaderCA != "" && a.clientCA == "" {
		return errors.New("--requestheader-client-ca-file needs --client-ca-file")
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
	if len(a.audiences) == 0 {
		a.audiences = a.issuers[:1]
	}
	if a.jwksURL == "" {
		a.jwksURL = "https://" + net.JoinHostPort(a.settings.Run.AdvertiseAddress.String(), fmt.Sprint(serving.BindPort)) + authn.JWKSPath
	}
	return checkModes(a.modes)
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
		ClientCAFile: a.clientCA, RequestHeaderCAFile: a.requestHeaderCA,
		ProxyClientCert: a.proxyCert, ProxyClientKey: a.proxyKey,
		KubeletClientCert: a.kubeletCert, KubeletClientKey: a.kubeletKey,
		ServiceCIDRs: services, NodePorts: a.nodePorts, EventTTL: a.eventTTL,
		Security:  security.build,
		PostStart: a.postStart(services, bootstrap),
		Clock:     clock.RealClock{},
	})
}

// postStart are the objects that this server keeps.
func (a *apiserverFlags) postStart(services []netip.Prefix, bootstrap *config.Objects) []server.PostStart {
	steps := []server.PostStart{{Name: "bootstrap-objects", Run: func(ctx context.Context, loopback *rest.Config) error {
		client, err := kubernetes.NewForConfig(loopback)
		if err != nil {
			return err
		}
		return config.Reconcile(ctx, client, bootstrap)
	}}, {Name: "kubernetes-service", Run: server.KubernetesService{
		ClusterIP: services[0].Addr().Next(), Address: a.settings.Run.AdvertiseAddress, Port: a.settings.Serving.BindPort,
	}.Start}}
	if a.clientCA != "" && a.requestHeaderCA != "" {
		steps = append(steps, server.PostStart{Name: "extension-apiserver-authentication", Run: server.AuthenticationTrust{
			ClientCAFile: a.clientCA, RequestHeaderCAFile: a.requestHeaderCA, AllowedNames: a.requestHeaderNames,
		}.Start})
	}
	return steps
}

func (a *apiserverFlags) security(ctx context.Context, bootstrap *config.Objects) (*securityOptions, error) {
	key, err := keyutil.PrivateKeyFromFile(a.signingKey)
	if err != nil {
		return nil, fmt.Errorf("--service-account-signing-key-file: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("--service-account-signing-key-file %s: %T cannot sign", a.signingKey, key)
	}
	others, err := verifyingKeys(signer, a.keyFiles)
	if err != nil {
		return nil, err
	}
	tokens, err := tokenFile(a.tokenFile)
	if err != nil {
		return nil, err
	}
	if a.kubeletCA != "" && a.kubeletCA != a.clientCA {
		klog.FromContext(ctx).Info("--kubelet-certificate-authority has no effect; node agents are verified by the client CA")
	}
	config, err := admission.ReadConfig(a.admissionConfig)
	if err != nil {
		return nil, fmt.Errorf("--admission-control-config-file: %w", err)
	}
	return &securityOptions{
		clock: clock.RealClock{}, clientCA: a.clientCA, requestHeaderCA: a.requestHeaderCA, frontProxyNames: a.requestHeaderNames,
		tokens: tokens, bootstrapTokens: a.bootstrapTokens, anonymous: a.anonymous,
		issuers: a.issuers, signingKey: signer, otherKeys: others, audiences: a.audiences,
		maxTokenLifetime: a.maxTokenLifetime, jwksURL: a.jwksURL,
		modes: a.modes, nodeRules: bootstrap.NodeRules(), admits: a.admits, admissionConfig: config,
	}, nil
}

// admits says whether an admission plugin runs. When both flags name one, it
// runs, as upstream.
func (a *apiserverFlags) admits(name string) bool {
	if slices.Contains(a.enableAdmission, name) {
		return true
	}
	return admission.DefaultOn(name) && !slices.Contains(a.disableAdmission, name)
}

// verifyingKeys reads the public keys in files, or of the private keys in them,
// each once and without the signer's own.
func verifyingKeys(signer crypto.Signer, files []string) ([]crypto.PublicKey, error) {
	known := []crypto.PublicKey{signer.Public()}
	for _, file := range files {
		keys, err := keyutil.PublicKeysFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("--service-account-key-file: %w", err)
		}
		for _, k := range keys {
			same := func(other crypto.PublicKey) bool {
				e, ok := other.(interface{ Equal(crypto.PublicKey) bool })
				return ok && e.Equal(k)
			}
			if !slices.ContainsFunc(known, same) {
				known = append(known, k)
			}
		}
	}
	return known[1:], nil
}

// tokenFile reads upstream's static token file: token,user,uid and, optionally,
// a comma-separated list of groups.
func tokenFile(path string) (map[string]user.Info, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("--token-auth-file: %w", err)
	}
	defer f.Close()
	out, r := map[string]user.Info{}, csv.NewReader(f)
	r.FieldsPerRecord = -1
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("--token-auth-file %s: %w", path, err)
		}
		line, _ := r.FieldPos(0)
		if len(record) < 3 || record[0] == "" {
			return nil, fmt.Errorf("--token-auth-file %s: line %d: must be token,user,uid and optionally groups", path, line)
		}
		info := &user.DefaultInfo{Name: record[1], UID: record[2]}
		if len(record) > 3 && record[3] != "" {
			info.Groups = strings.Split(record[3], ",")
		}
		out[record[0]] = info
	}
}
