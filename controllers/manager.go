package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"proa/controllers/control"
)

// userAgent is what the API server records as the field manager of our writes;
// clients such as kubectl know the name.
const userAgent = "kube-controller-manager"

// Options are what the controllers are built from. Config is required.
type Options struct {
	// Config reaches the API server. Rate limits in it are ignored.
	Config *rest.Config
	// Clock is the source of time; nil means the real one.
	Clock clock.WithTicker
	// LeaderElect makes the controllers wait for the Lease
	// kube-system/kube-controller-manager, for more than one process.
	LeaderElect bool
	// Registerer receives the controllers' metrics; nil registers none.
	// See Gatherer for those of the library underneath.
	Registerer prometheus.Registerer
	// Only names the controllers to run, "*" for all; "-name" leaves one out.
	// Empty means all.
	Only []string

	// ClusterCIDR and ServiceCIDR are the pod and service ranges, comma
	// separated for two families.
	ClusterCIDR string
	ServiceCIDR string
	// AllocateNodeCIDRs gives every node a part of ClusterCIDR, of prefix
	// length NodeCIDRMaskSize (0: the default, 24 or 64 bits).
	AllocateNodeCIDRs bool
	NodeCIDRMaskSize  int
	// RootCA is the PEM bundle that is published in every namespace; empty
	// turns the publisher off.
	RootCA []byte
	// Signers and SigningDuration are as in control.Env; requests for signers
	// that are not there stay unsigned.
	Signers         map[string]control.CA
	SigningDuration time.Duration
	// ServiceAccountKeyFile and LegacyTokenCleanUp are as in control.Env.
	ServiceAccountKeyFile string
	LegacyTokenCleanUp    time.Duration
}

// Controllers is the component that runs the control loops.
type Controllers struct {
	opts     Options
	manager  manager.Manager
	kube     kubernetes.Interface
	metadata metadata.Interface
	ready    chan struct{}
}

// New builds the component without talking to the API server.
func New(opts Options) (*Controllers, error) {
	if opts.Config == nil {
		return nil, errors.New("controllers: Options.Config is nil: give a rest.Config that reaches the API server")
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	opts.Config = rest.CopyConfig(opts.Config)
	opts.Config.QPS = -1
	opts.Config.RateLimiter = nil
	opts.Config.UserAgent = userAgent
	// Deprecation warnings are for users; we write Endpoints on purpose.
	opts.Config.WarningHandlerWithContext = rest.NoWarnings{}

	mgr, err := manager.New(opts.Config, manager.Options{
		Scheme:                        clientgoscheme.Scheme,
		Logger:                        klog.Background(),
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:        "0",
		PprofBindAddress:              "0",
		LeaderElection:                opts.LeaderElect,
		LeaderElectionID:              "kube-controller-manager",
		LeaderElectionNamespace:       "kube-system",
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       ptr.To(10 * time.Second),
		Controller: ctrlconfig.Controller{
			// Names are unique within one list; tests make several managers in one process.
			SkipNameValidation: ptr.To(true),
			Logger:             klog.Background(),
		},
		Cache: cache.Options{
			DefaultTransform: stripManagedFields,
			// Nobody changes what the cache returned, so nobody pays for copies.
			DefaultUnsafeDisableDeepCopy: ptr.To(true),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("controllers: manager: %w", err)
	}

	proto := rest.CopyConfig(opts.Config)
	proto.ContentType = runtime.ContentTypeProtobuf
	proto.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	kube, err := kubernetes.NewForConfigAndClient(proto, mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("controllers: client: %w", err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(opts.Config), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("controllers: metadata client: %w", err)
	}
	return &Controllers{opts: opts, manager: mgr, kube: kube, metadata: meta, ready: make(chan struct{})}, nil
}

// stripManagedFields keeps the field managers, which no controller reads, out of the cache.
func stripManagedFields(obj any) (any, error) { return cache.TransformStripManagedFields()(obj) }

// Name of the component.
func (c *Controllers) Name() string { return "controllers" }

// Ready is closed once the caches are filled. Where LeaderElect is set this
// does not wait for leadership.
func (c *Controllers) Ready() <-chan struct{} { return c.ready }

// Cache is the informer cache that all controllers share. It starts with Run
// and returns its own objects: copy before changing one.
func (c *Controllers) Cache() cache.Cache { return c.manager.GetCache() }

// Gatherer returns the metrics of the library underneath: workqueues,
// reconciliations, REST client.
func (c *Controllers) Gatherer() prometheus.Gatherer { return ctrlmetrics.Registry }

// Run sets up the controllers whose kinds the API server serves and runs them
// until ctx is done.
func (c *Controllers) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("controllers")
	// The library's package logger prints a stack trace if nobody sets it.
	ctrllog.SetLogger(klog.Background())

	served, err := c.waitForDiscovery(ctx)
	if err != nil {
		return nil // stopped before the API server answered
	}

	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.kube.CoreV1().Events("")})
	eventsBroadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: c.kube.EventsV1()})
	defer eventsBroadcaster.Shutdown()
	if err := eventsBroadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("controllers: event sink: %w", err)
	}

	env := &control.Env{
		Manager:   c.manager,
		Config:    c.opts.Config,
		Kube:      c.kube,
		Metadata:  c.metadata,
		Discovery: c.kube.Discovery(),
		Clock:     c.opts.Clock,
		Recorder: func(component string) record.EventRecorder {
			return broadcaster.NewRecorder(clientgoscheme.Scheme, corev1.EventSource{Component: component})
		},
		EventsRecorder: func(controller string) events.EventRecorder {
			return eventsBroadcaster.NewRecorder(clientgoscheme.Scheme, controller)
		},
		ClusterCIDR:       c.opts.ClusterCIDR,
		ServiceCIDR:       c.opts.ServiceCIDR,
		NodeCIDRMaskSize:  c.opts.NodeCIDRMaskSize,
		AllocateNodeCIDRs: c.opts.AllocateNodeCIDRs,
		RootCA:            c.opts.RootCA,
		Signers:           c.opts.Signers,
		SigningDuration:   c.opts.SigningDuration,

		ServiceAccountKeyFile: c.opts.ServiceAccountKeyFile,
		LegacyTokenCleanUp:    c.opts.LegacyTokenCleanUp,
	}
	if err := control.AddIndexes(ctx, c.manager.GetFieldIndexer()); err != nil {
		return fmt.Errorf("controllers: indexes: %w", err)
	}
	for _, entry := range All() {
		if !enabled(entry.Name, c.opts.Only) {
			continue
		}
		if missing := entry.missing(served); len(missing) > 0 {
			logger.V(2).Info("Controller not started: the API server does not serve what it needs", "controller", entry.Name, "missing", missing)
			continue
		}
		if err := entry.Setup(env); err != nil {
			return fmt.Errorf("controllers: %s: %w", entry.Name, err)
		}
	}
	if err := c.manager.Add(readiness{c}); err != nil {
		return fmt.Errorf("controllers: readiness: %w", err)
	}
	return c.manager.Start(klog.NewContext(ctx, logger))
}

// readiness closes the component's channel once the caches are filled. It runs
// without leadership.
type readiness struct{ c *Controllers }

func (r readiness) NeedLeaderElection() bool { return false }

func (r readiness) Start(ctx context.Context) error {
	if r.c.Cache().WaitForCacheSync(ctx) {
		close(r.c.ready)
	}
	return nil
}

// waitForDiscovery asks what the API server serves until it answers.
func (c *Controllers) waitForDiscovery(ctx context.Context) (map[schema.GroupVersionResource]bool, error) {
	for {
		_, lists, err := c.kube.Discovery().ServerGroupsAndResources()
		if err == nil || discovery.IsGroupDiscoveryFailedError(err) {
			served := map[schema.GroupVersionResource]bool{}
			for _, list := range lists {
				gv, err := schema.ParseGroupVersion(list.GroupVersion)
				if err != nil {
					continue
				}
				for i := range list.APIResources {
					served[gv.WithResource(list.APIResources[i].Name)] = true
				}
			}
			return served, nil
		}
		klog.FromContext(ctx).V(2).Info("Waiting for the API server", "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.opts.Clock.After(500 * time.Millisecond):
		}
	}
}

// enabled says whether the list of names and exclusions includes a controller.
func enabled(name string, only []string) bool {
	if len(only) == 0 {
		return true
	}
	all := false
	for _, o := range only {
		switch o {
		case name:
			return true
		case "-" + name:
			return false
		case "*":
			all = true
		}
	}
	return all
}
