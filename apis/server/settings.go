package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/flagz"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2"
)

const registryRoot = "/registry"

// historyMargin is how much longer than a request watch events are remembered, so
// that a list and the watch after it never miss each other.
const historyMargin = 15 * time.Second

// Settings are the library's option groups, which have upstream's flags: names,
// defaults, checks and effect are upstream's own. Make them with NewSettings,
// change fields or parse flags, then Validate.
type Settings struct {
	Run      *options.ServerRunOptions
	Serving  *options.SecureServingOptions
	Etcd     *options.EtcdOptions
	Audit    *options.AuditOptions
	Features *options.FeatureOptions
	APIs     *options.APIEnablementOptions
	Egress   *options.EgressSelectorOptions
	Traces   *options.TracingOptions
	Metrics  *metrics.Options
	// Flags are what /flagz shows; nil for nothing.
	Flags *pflag.FlagSet

	// gates are what --feature-gates sets; gatesErr says that not all could be added.
	gates    featuregate.MutableVersionedFeatureGate
	gatesErr error
}

// NewSettings are upstream's defaults.
func NewSettings() *Settings {
	s := &Settings{
		Run:      options.NewServerRunOptions(),
		Serving:  options.NewSecureServingOptions(),
		Etcd:     options.NewEtcdOptions(storagebackend.NewDefaultConfig(registryRoot, nil)),
		Audit:    options.NewAuditOptions(),
		Features: options.NewFeatureOptions(),
		APIs:     options.NewAPIEnablementOptions(),
		Egress:   options.NewEgressSelectorOptions(),
		Traces:   options.NewTracingOptions(),
		Metrics:  metrics.NewOptions(),
	}
	s.Serving.BindAddress, s.Serving.BindPort, s.Serving.Required = net.IPv4zero, 6443, true
	s.Serving.HTTP2MaxStreamsPerConnection = 1000
	s.Serving.ServerCert.CertDirectory, s.Serving.ServerCert.PairName = "/var/run/kubernetes", "apiserver"
	s.Etcd.DefaultStorageMediaType = runtime.ContentTypeProtobuf
	s.gates = utilfeature.DefaultMutableFeatureGate
	s.gatesErr = AddKubernetesGates(s.gates)
	return s
}

// AddFlags adds upstream's flags of all groups.
func (s *Settings) AddFlags(f *pflag.FlagSet) {
	s.Run.AddUniversalFlags(f)
	s.Serving.AddFlags(f)
	s.Etcd.AddFlags(f)
	s.Audit.AddFlags(f)
	s.Features.AddFlags(f)
	s.APIs.AddFlags(f)
	s.Egress.AddFlags(f)
	s.Traces.AddFlags(f)
	s.Metrics.AddFlags(f)
}

// Validate says everything that is wrong, as upstream words it; where the store
// is may be decided later.
func (s *Settings) Validate() error {
	if s.gatesErr != nil {
		return fmt.Errorf("feature gates: %w", s.gatesErr)
	}
	// From here on feature gates and the emulated version are what the flags say.
	if err := s.Run.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	s.recordFeatures()
	for _, name := range GatesWithoutEffect(s.gates) {
		klog.InfoS("Warning: this feature gate has no effect in proa", "featureGate", name)
	}
	var errs []error
	store := *s.Etcd
	if len(store.StorageConfig.Transport.ServerList) == 0 {
		store.StorageConfig.Transport.ServerList = []string{"later"}
	}
	for _, check := range []func() []error{
		s.Run.Validate, s.Serving.Validate, store.Validate, s.Audit.Validate,
		s.Features.Validate, s.Egress.Validate, s.Traces.Validate, s.Metrics.Validate,
	} {
		errs = append(errs, check()...)
	}
	return utilerrors.NewAggregate(errs)
}

// apply fills in what needs no client of this server.
func (s *Settings) apply(c *genericapiserver.Config) error {
	if err := s.Run.ApplyTo(c); err != nil {
		return err
	}
	if err := s.Serving.ApplyTo(&c.SecureServing); err != nil {
		return fmt.Errorf("API server address %s:%d: %w", s.Serving.BindAddress, s.Serving.BindPort, err)
	}
	if c.SecureServing == nil {
		return errors.New("API server: no port to serve on")
	}
	// What is served tells clients where else it can be reached; a host without a
	// port would be completed with the library's own default.
	if c.ExternalAddress == "" && c.PublicAddress != nil {
		c.ExternalAddress = net.JoinHostPort(c.PublicAddress.String(), strconv.Itoa(s.Serving.BindPort))
	}
	if err := s.Egress.ApplyTo(c); err != nil {
		return err
	}
	if err := s.Traces.ApplyTo(c.EgressSelector, c); err != nil {
		return err
	}
	s.Metrics.Apply()
	if s.Flags != nil {
		c.Flagz = flagz.NamedFlagSetsReader{FlagSets: cliflag.NamedFlagSets{Order: []string{""}, FlagSets: map[string]*pflag.FlagSet{"": s.Flags}}}
	}
	return s.Audit.ApplyTo(c)
}

// applyWithClient fills in what asks this very server.
func (s *Settings) applyWithClient(c *genericapiserver.Config, client kubernetes.Interface, shared informers.SharedInformerFactory) error {
	return s.Features.ApplyTo(c, client, shared)
}

// storage are the store's settings with what follows from the others.
func (s *Settings) storage(c *genericapiserver.Config) *options.EtcdOptions {
	o := *s.Etcd
	// Events come often and are rarely read: upstream keeps no watch cache of them.
	o.WatchCacheSizes = append([]string{"events#0", "events." + eventsGroup + "#0"}, o.WatchCacheSizes...)
	o.StorageConfig.EventsHistoryWindow = max(o.StorageConfig.EventsHistoryWindow, c.RequestTimeout+historyMargin)
	if c.EgressSelector != nil {
		o.StorageConfig.Transport.EgressLookup = c.EgressSelector.Lookup
	}
	o.StorageConfig.Transport.TracerProvider = noop.NewTracerProvider()
	if s.Traces.ConfigFile != "" {
		o.StorageConfig.Transport.TracerProvider = c.TracerProvider
	}
	return &o
}
