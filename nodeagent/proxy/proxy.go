package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/knftables"
)

const (
	// coalesce is how long a change waits for others: a rollout brings several
	// in a row.
	coalesce = 5 * time.Millisecond
	// repairShare bounds what repairs cost: one part in so many of the time.
	repairShare = 100
	// sliceIndex is the index of EndpointSlices by Service, "namespace/name".
	sliceIndex = "proxy/service"
	// staticOwner is the owner of what every table has. It sorts first.
	staticOwner = ""
)

// Options say for which node and how to proxy.
type Options struct {
	// Config reaches the API; Client, if given, is used in its place.
	Config *rest.Config
	Client kubernetes.Interface
	// Informers, if given, are used for Services and EndpointSlices, and shared
	// with others.
	Informers informers.SharedInformerFactory

	NodeName string
	// NodeIPs are the node's addresses; their families are proxied, beside
	// those of ClusterCIDRs. None of both means IPv4.
	NodeIPs []netip.Addr
	// Table is the name of the nftables tables (one in family ip, one in ip6)
	// that are the proxy's alone.
	Table string
	// ClusterCIDRs are the pods' addresses, ServiceCIDRs the cluster IPs' range.
	ClusterCIDRs, ServiceCIDRs []netip.Prefix
	// NodePortAddresses limits node ports to the host's addresses within
	// (kube-proxy's --nodeport-addresses); none means all.
	NodePortAddresses []netip.Prefix
	// DisableLocalhostNodePorts closes node ports on 127.0.0.1.
	DisableLocalhostNodePorts bool
	// MasqueradeAll masquerades all that goes to cluster IPs.
	MasqueradeAll bool
	// MasqueradeMark is DefaultMasqueradeMark if 0.
	MasqueradeMark uint32
	// RepairInterval is how often the kernel is compared; 0 means 5 minutes.
	RepairInterval time.Duration
	// HealthzAddress serves /healthz and /livez, upstream on 0.0.0.0:10256;
	// empty serves none.
	HealthzAddress string
	// SysctlRoot is /proc/sys if empty.
	SysctlRoot string

	Clock      clock.WithTicker      // nil means the real one
	Registerer prometheus.Registerer // nil means no metrics
	// NFT opens a table of nftables; nil means the real ones.
	NFT func(knftables.Family, string) (knftables.Interface, error)
	// DeleteFlows ends stale UDP flows; nil means the kernel's.
	DeleteFlows func(corev1.IPFamily, []UDPPort) (uint, error)
}

// Proxy is the component "proxy".
type Proxy struct {
	opts    Options
	metrics *metrics
	ready   chan struct{}
	wake    chan struct{}
	checks  *serviceHealth

	started time.Time

	mu sync.Mutex
	// dirty are the Services to compute anew, with the time of the first change
	// that an EndpointSlice tells.
	dirty    map[string]time.Time
	zone     string
	updated  time.Time
	failing  time.Time // since when, zero if not
	families []*family // used by Run's goroutine only
}

// family is the state of one IP family.
type family struct {
	facts  Facts
	rules  *RuleSet
	writer *writer
	// changes not yet written, and the UDP ports to look after then.
	changes *Changes
	udp     []UDPPort
	noLocal map[string][2]int
	// When the kernel was last compared, and how long that took.
	repaired   time.Time
	repairTook time.Duration
}

// New checks the options and returns the component.
func New(o Options) (*Proxy, error) {
	if o.NodeName == "" || o.Table == "" {
		return nil, errors.New("proxy: options NodeName and Table must be given")
	}
	if o.Client == nil {
		if o.Config == nil {
			return nil, errors.New("proxy: neither Config nor Client is given")
		}
		client, err := kubernetes.NewForConfig(clientConfig(o.Config))
		if err != nil {
			return nil, fmt.Errorf("proxy: client: %w", err)
		}
		o.Client = client
	}
	if o.MasqueradeMark == 0 {
		o.MasqueradeMark = DefaultMasqueradeMark
	}
	if o.RepairInterval == 0 {
		o.RepairInterval = 5 * time.Minute
	}
	if o.SysctlRoot == "" {
		o.SysctlRoot = "/proc/sys"
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.NFT == nil {
		o.NFT = newNFT
	}
	if o.DeleteFlows == nil {
		o.DeleteFlows = deleteFlows
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		opts: o, metrics: m, ready: make(chan struct{}), wake: make(chan struct{}, 1),
		dirty: map[string]time.Time{},
	}
	p.checks = newServiceHealth(func() bool { _, ok := p.health(); return ok })
	return p, nil
}

// Name is "proxy".
func (p *Proxy) Name() string { return "proxy" }

// Ready is closed once the rules for all Services known at start are written.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Run keeps the rules until ctx is done, and leaves them then.
func (p *Proxy) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("proxy")
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logger))
	defer cancel()
	defer p.checks.close()
	for _, f := range p.familyNames() {
		nftFamily := knftables.IPv4Family
		if f == corev1.IPv6Protocol {
			nftFamily = knftables.IPv6Family
		}
		nft, err := p.opts.NFT(nftFamily, p.opts.Table)
		if err != nil {
			return fmt.Errorf("proxy: %w", err)
		}
		p.families = append(p.families, &family{
			facts: p.facts(f), rules: NewRuleSet(), writer: newWriter(nft), changes: newChanges(), noLocal: map[string][2]int{},
		})
	}
	if !p.opts.DisableLocalhostNodePorts {
		enableRouteLocalnet(ctx, p.opts.SysctlRoot)
	}
	if p.opts.HealthzAddress != "" {
		if err := p.serveHealthz(ctx, p.opts.HealthzAddress); err != nil {
			return err
		}
	}
	p.started = p.opts.Clock.Now()
	services, slcs, synced, err := p.watch(ctx)
	if err != nil {
		return err
	}
	// With half of the Services known, the repair would take the rest away.
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	logger.Info("Proxying services", "table", p.opts.Table, "families", p.familyNames(), "services", len(services.ListKeys()))
	p.loop(ctx, services, slcs)
	return nil
}

// loop computes and writes what is dirty, until ctx is done.
func (p *Proxy) loop(ctx context.Context, services, slcs cache.Indexer) {
	logger := klog.FromContext(ctx)
	repair := p.opts.Clock.NewTicker(p.opts.RepairInterval)
	defer repair.Stop()
	p.refresh(ctx)
	var backoff time.Duration
	for {
		var again <-chan time.Time
		next, err := p.step(ctx, services, slcs)
		switch {
		case err != nil && ctx.Err() == nil:
			backoff = min(max(2*backoff, time.Second), 30*time.Second)
			logger.Error(err, "Service rules are not up to date; trying again", "after", backoff)
			again = p.opts.Clock.After(backoff)
		default:
			backoff = 0
			select {
			case <-p.ready:
			default:
				close(p.ready)
			}
			if !next.IsZero() {
				again = p.opts.Clock.After(next.Sub(p.opts.Clock.Now()))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			select {
			case <-p.opts.Clock.After(coalesce):
			case <-ctx.Done():
				return
			}
		case <-again:
		case <-repair.C():
			p.refresh(ctx)
			for _, f := range p.families {
				// Of thousands of Services the comparison takes seconds.
				if p.opts.Clock.Since(f.repaired) >= repairShare*f.repairTook {
					f.writer.full = true
				}
			}
		}
	}
}

// step carries out what is dirty. It returns when to come again at the latest,
// for chains that are no longer used; the zero time means never.
func (p *Proxy) step(ctx context.Context, services, slcs cache.Indexer) (time.Time, error) {
	p.mu.Lock()
	dirty, zone := p.dirty, p.zone
	p.dirty = map[string]time.Time{}
	p.mu.Unlock()

	var errs []error
	var next time.Time
	for _, f := range p.families {
		start := p.opts.Clock.Now()
		if f.facts.Zone != zone {
			f.facts.Zone = zone
			for _, key := range services.ListKeys() {
				if _, ok := dirty[key]; !ok {
					dirty[key] = time.Time{}
				}
			}
		}
		for key := range dirty {
			p.recompute(f, key, services, slcs)
		}
		due, err := f.writer.sweep(ctx, start)
		if err != nil {
			p.metrics.cleanupFailures.WithLabelValues(string(f.facts.Family)).Inc()
			klog.FromContext(ctx).V(2).Info("Repairing the rules", "cause", err)
		}
		full := f.writer.full
		if err := f.writer.sync(ctx, f.rules, f.changes, start); err != nil {
			errs = append(errs, err)
			p.metrics.failures.WithLabelValues(string(f.facts.Family)).Inc()
			continue
		}
		f.changes = newChanges()
		p.observe(f, dirty, start, full)
		p.endFlows(ctx, f)
		if len(f.writer.stale) > 0 && due.IsZero() {
			due = start.Add(staleAge)
		}
		if !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	p.checks.sync(ctx, p.healthServices())
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Clock.Now()
	if len(errs) == 0 {
		p.updated, p.failing = now, time.Time{}
	} else if p.failing.IsZero() {
		p.failing = now
	}
	return next, errors.Join(errs...)
}

// recompute replaces the fragment of one Service.
func (p *Proxy) recompute(f *family, key string, services, slcs cache.Indexer) {
	var frag *Fragment
	if obj, ok, err := services.GetByKey(key); ok && err == nil {
		if svc, ok := obj.(*corev1.Service); ok {
			var list []*discoveryv1.EndpointSlice
			if objs, err := slcs.ByIndex(sliceIndex, key); err == nil {
				for _, o := range objs {
					if s, ok := o.(*discoveryv1.EndpointSlice); ok {
						list = append(list, s)
					}
				}
			}
			frag = ServiceFragment(&f.facts, svc, list)
		}
	}
	old := f.rules.Put(key, frag, f.changes)
	f.udp = append(f.udp, staleUDP(old, frag)...)
	delete(f.noLocal, key)
	if frag != nil && frag.NoLocalInternal+frag.NoLocalExternal > 0 {
		f.noLocal[key] = [2]int{frag.NoLocalInternal, frag.NoLocalExternal}
	}
}

// endFlows deletes stale UDP flows, after the rules that replace them are there.
func (p *Proxy) endFlows(ctx context.Context, f *family) {
	if len(f.udp) == 0 {
		return
	}
	n, err := p.opts.DeleteFlows(f.facts.Family, f.udp)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Could not end stale UDP flows; clients may wait until they time out")
	}
	f.udp = nil
	p.metrics.deletedFlows.WithLabelValues(string(f.facts.Family)).Add(float64(n))
}

func (p *Proxy) observe(f *family, dirty map[string]time.Time, start time.Time, full bool) {
	name := string(f.facts.Family)
	now := p.opts.Clock.Now()
	took := now.Sub(start).Seconds()
	p.metrics.sync.WithLabelValues(name).Observe(took)
	if full {
		f.repaired, f.repairTook = now, now.Sub(start)
		p.metrics.syncFull.WithLabelValues(name).Observe(took)
	} else {
		p.metrics.syncPartial.WithLabelValues(name).Observe(took)
	}
	p.metrics.lastSync.WithLabelValues(name).Set(float64(now.UnixNano()) / 1e9)
	for _, since := range dirty {
		if !since.IsZero() && !since.After(now) {
			p.metrics.programming.WithLabelValues(name).Observe(now.Sub(since).Seconds())
		}
	}
	var internal, external int
	for _, n := range f.noLocal {
		internal, external = internal+n[0], external+n[1]
	}
	p.metrics.noLocal.WithLabelValues("internal", name).Set(float64(internal))
	p.metrics.noLocal.WithLabelValues("external", name).Set(float64(external))
}

// refresh computes the static fragments, which depend on the host's addresses.
func (p *Proxy) refresh(ctx context.Context) {
	var all []netip.Addr
	if len(p.opts.NodePortAddresses) > 0 {
		var err error
		if all, err = hostAddresses(); err != nil {
			klog.FromContext(ctx).Error(err, "Node ports keep the addresses they have")
		}
	}
	for _, f := range p.families {
		if all != nil {
			f.facts.NodePortAddresses = selectAddresses(all, p.opts.NodePortAddresses, f.facts.Family)
		}
		f.rules.Put(staticOwner, StaticFragment(&f.facts), f.changes)
	}
}

func (p *Proxy) healthServices() map[int32]healthService {
	out := map[int32]healthService{}
	for _, f := range p.families {
		for key, frag := range f.rules.fragments {
			if frag.HealthCheckNodePort == 0 {
				continue
			}
			s := out[frag.HealthCheckNodePort]
			s.Namespace, s.Name, _ = strings.Cut(key, "/")
			// A pod has an address in each family, but is one endpoint.
			s.LocalEndpoints = max(s.LocalEndpoints, frag.LocalEndpoints)
			out[frag.HealthCheckNodePort] = s
		}
	}
	return out
}

// health says when the rules were last known to be right, and whether they have
// been wrong for too long.
func (p *Proxy) health() (updated time.Time, healthy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.updated, !p.updated.IsZero() && (p.failing.IsZero() || p.opts.Clock.Since(p.failing) < 2*time.Minute)
}

func (p *Proxy) familyNames() []corev1.IPFamily {
	var out []corev1.IPFamily
	for _, f := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		v4 := f == corev1.IPv4Protocol
		if slices.ContainsFunc(p.opts.NodeIPs, func(a netip.Addr) bool { return a.Is4() == v4 }) ||
			slices.ContainsFunc(p.opts.ClusterCIDRs, func(c netip.Prefix) bool { return c.Addr().Is4() == v4 }) {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		out = append(out, corev1.IPv4Protocol)
	}
	return out
}

func (p *Proxy) facts(name corev1.IPFamily) Facts {
	f := Facts{
		Family: name, NodeName: p.opts.NodeName, MasqueradeAll: p.opts.MasqueradeAll, MasqueradeMark: p.opts.MasqueradeMark,
		LimitNodePorts: len(p.opts.NodePortAddresses) > 0, LocalhostNodePorts: !p.opts.DisableLocalhostNodePorts,
	}
	for _, a := range p.opts.NodeIPs {
		if f.is(a) && !f.NodeIP.IsValid() {
			f.NodeIP = a
		}
	}
	for _, c := range p.opts.ClusterCIDRs {
		if f.is(c.Addr()) {
			f.ClusterCIDRs = append(f.ClusterCIDRs, c)
		}
	}
	for _, c := range p.opts.ServiceCIDRs {
		if f.is(c.Addr()) {
			f.ServiceCIDRs = append(f.ServiceCIDRs, c)
		}
	}
	return f
}

// clientConfig is c for the built-in types and without limits of the client's own.
func clientConfig(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.QPS = -1
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c
}
