package dns

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Options say what is served and where.
type Options struct {
	// Config reaches the API; Client, if given, is used in its place.
	Config *rest.Config
	Client kubernetes.Interface
	// Informers, if given, are used and shared; else the server has its own.
	Informers informers.SharedInformerFactory

	// Domain is the cluster domain; empty means cluster.local.
	Domain string
	// Listen are the addresses served, as host:port, over UDP and TCP.
	Listen []string
	// ListenOn, if given, is asked for further addresses at start and may wait
	// until they are known (the pod bridge's gateway addresses, say).
	ListenOn func(context.Context) ([]netip.AddrPort, error)
	// Upstreams are the servers asked for everything else, as host:port; none
	// means those of the host's resolv.conf.
	Upstreams []string
	// ResolvConf is /etc/resolv.conf if empty.
	ResolvConf string
	// TTL of answers in seconds; 0 means 5.
	TTL uint32

	// NodeName is the node whose EndpointSlice of the Service kube-system/kube-dns
	// is kept; empty keeps none.
	NodeName string
	// ServiceIPs are the cluster IPs of that Service (see ServiceIP).
	ServiceIPs []netip.Addr
	// ManageService also creates and keeps the Service with these ServiceIPs;
	// one server of the cluster must.
	ManageService bool
	// OwnCIDRs are the pod and service CIDRs: reverse questions about them are
	// not passed on.
	OwnCIDRs []netip.Prefix

	Clock      clock.Clock           // nil means the real one
	Registerer prometheus.Registerer // nil means no metrics
}

// Server is the component "dns".
type Server struct {
	opts     Options
	instance string
	metrics  *metrics
	ready    chan struct{}

	mu    sync.Mutex
	bound []netip.AddrPort
}

// New checks the options and returns the component.
func New(o Options) (*Server, error) {
	if o.Client == nil {
		if o.Config == nil {
			return nil, errors.New("dns: neither Config nor Client is given")
		}
		client, err := kubernetes.NewForConfig(clientConfig(o.Config))
		if err != nil {
			return nil, fmt.Errorf("dns: client: %w", err)
		}
		o.Client = client
	}
	if o.Domain == "" {
		o.Domain = "cluster.local"
	}
	o.Domain = strings.ToLower(dns.Fqdn(o.Domain))
	if _, ok := dns.IsDomainName(o.Domain); !ok || o.Domain == "." {
		return nil, fmt.Errorf("dns: cluster domain %q is not a domain name", o.Domain)
	}
	if len(o.Listen) == 0 && o.ListenOn == nil {
		return nil, errors.New("dns: no address to listen on")
	}
	for _, l := range o.Listen {
		if _, err := netip.ParseAddrPort(l); err != nil {
			return nil, fmt.Errorf("dns: listen address %q is not ip:port: %w", l, err)
		}
	}
	if o.ManageService && len(o.ServiceIPs) == 0 {
		return nil, errors.New("dns: ManageService without ServiceIPs")
	}
	if o.TTL == 0 {
		o.TTL = 5
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Server{opts: o, metrics: m, instance: rand.Text(), ready: make(chan struct{})}, nil
}

// Name is "dns".
func (s *Server) Name() string { return "dns" }

// Ready is closed once all addresses are served.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addresses are those served, known once Ready is closed.
func (s *Server) Addresses() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bound)
}

// Run serves until ctx is done.
func (s *Server) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("dns")
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logger))
	defer cancel()

	factory := s.opts.Informers
	if factory == nil {
		factory = informers.NewSharedInformerFactoryWithOptions(s.opts.Client, 0, informers.WithTransform(trim))
	}
	lister, err := newStore(factory)
	if err != nil {
		return err
	}
	pub := &publisher{client: s.opts.Client, lister: lister, clock: s.opts.Clock, nodeName: s.opts.NodeName, wake: make(chan struct{}, 1)}
	if s.opts.ManageService {
		pub.serviceIPs = s.opts.ServiceIPs
	}
	stopWatching, err := watchOwn(factory, s.opts.NodeName, pub.poke)
	if err != nil {
		return err
	}
	defer stopWatching()
	factory.Start(ctx.Done())
	// Before everything is known, a name that exists would seem not to.
	if !cache.WaitForCacheSync(ctx.Done(), lister.synced...) {
		return nil
	}

	addrs := slices.Clone(s.opts.Listen)
	if s.opts.ListenOn != nil {
		more, err := s.opts.ListenOn(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("dns: listen address: %w", err)
		}
		for _, a := range more {
			addrs = append(addrs, a.String())
		}
	}
	if len(addrs) == 0 {
		return errors.New("dns: no address to listen on")
	}
	var listeners []*listener
	for _, a := range addrs {
		l, err := bindRetrying(ctx, s.opts.Clock, a)
		if err != nil {
			for _, l := range listeners {
				l.packet.Close()
				l.stream.Close()
			}
			return nil // only when ctx is done
		}
		listeners = append(listeners, l)
		if bound, err := netip.ParseAddrPort(l.stream.Addr().String()); err == nil {
			s.mu.Lock()
			s.bound = append(s.bound, bound)
			s.mu.Unlock()
		}
	}

	h := s.newHandler(lister, logger)
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { errs <- l.serve(ctx, h) }()
	}
	pub.listen = s.Addresses()
	published := make(chan struct{})
	go func() {
		defer close(published)
		pub.run(ctx)
	}()
	logger.Info("Serving the cluster's names", "domain", s.opts.Domain, "addresses", addrs)
	close(s.ready)

	for range listeners {
		if e := <-errs; e != nil && err == nil {
			err = fmt.Errorf("dns: serving: %w", e)
			cancel()
		}
	}
	cancel()
	<-published
	return err
}

func (s *Server) newHandler(lister Lister, logger klog.Logger) *handler {
	own := func() []string {
		var out []string
		for _, a := range s.Addresses() {
			out = append(out, a.String())
		}
		for _, ip := range s.opts.ServiceIPs {
			out = append(out, netip.AddrPortFrom(ip, 53).String())
		}
		return out
	}
	upstreams := (&resolvConf{path: s.opts.ResolvConf, fallback: "/run/systemd/resolve/resolv.conf", own: own, clock: s.opts.Clock}).get
	if len(s.opts.Upstreams) > 0 {
		upstreams = func() []string { return withoutOwn(s.opts.Upstreams, own()) }
	}
	return &handler{
		resolver: &Resolver{
			Domain: s.opts.Domain, TTL: s.opts.TTL, ServiceIPs: s.opts.ServiceIPs, OwnCIDRs: s.opts.OwnCIDRs, Lister: lister,
		},
		forward: newForwarder(upstreams, exchange, s.opts.Clock, s.instance, s.metrics.cacheRequest),
		metrics: s.metrics, clock: s.opts.Clock, logger: logger,
	}
}

// watchOwn calls changed when the DNS Service or this node's slices of it change,
// and returns what ends that.
func watchOwn(factory informers.SharedInformerFactory, nodeName string, changed func()) (stop func(), err error) {
	handler := cache.FilteringResourceEventHandler{
		FilterFunc: func(obj any) bool {
			if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = t.Obj
			}
			switch o := obj.(type) {
			case *corev1.Service:
				return o.Namespace == ServiceNamespace && o.Name == ServiceName
			case *discoveryv1.EndpointSlice:
				return o.Namespace == ServiceNamespace && (o.Name == sliceName(nodeName, false) || o.Name == sliceName(nodeName, true))
			}
			return false
		},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { changed() },
			UpdateFunc: func(any, any) { changed() },
			DeleteFunc: func(any) { changed() },
		},
	}
	stop = func() {}
	for _, inf := range []cache.SharedIndexInformer{factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer()} {
		reg, err := inf.AddEventHandler(handler)
		if err != nil {
			stop()
			return nil, fmt.Errorf("dns: watching: %w", err)
		}
		before := stop
		stop = func() {
			before()
			_ = inf.RemoveEventHandler(reg)
		}
	}
	return stop, nil
}

// trim drops from cached objects what nobody here reads.
func trim(obj any) (any, error) {
	if a, err := meta.Accessor(obj); err == nil {
		a.SetManagedFields(nil)
	}
	return obj, nil
}

// clientConfig is c for the built-in types and without limits of the client's own.
func clientConfig(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.QPS = -1
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c
}
