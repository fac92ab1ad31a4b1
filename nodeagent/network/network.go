package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/knftables"
)

// Options say where and for whom the network is made.
type Options struct {
	// Config reaches the API; Informers, if given, are used in its place and
	// shared with others.
	Config    *rest.Config
	Informers informers.SharedInformerFactory

	// NodeName is this node. Its spec.podCIDRs are waited for.
	NodeName string
	// Bridge is the pod bridge's link name.
	Bridge string
	// Table is an nftables table used by this component alone; it exists in
	// the ip and, with IPv6 pod subnets, the ip6 family.
	Table string
	// CNIConfDir gets the CNI configuration, CNIDataDir host-local's records of
	// given addresses.
	CNIConfDir, CNIDataDir string
	// ClusterCIDRs are the pod addresses of all nodes: among them nothing is
	// masqueraded. Routes of ours outside of them are left alone.
	ClusterCIDRs []netip.Prefix
	// ServiceCIDRs get a route on a host without a default route.
	ServiceCIDRs []netip.Prefix
	// MTU of pods and bridge; 0 takes that of the default route's link.
	MTU int
	// RepairInterval is how often everything is written anew; 0 means 5 minutes.
	RepairInterval time.Duration
	// SysctlRoot is /proc/sys if empty.
	SysctlRoot string
	Clock      clock.WithTicker // nil means the real one
	// NFT opens a table of nftables; nil means the real ones.
	NFT func(knftables.Family, string) (knftables.Interface, error)
}

// Network is the component "network".
type Network struct {
	opts  Options
	ready chan struct{}
	nft   map[knftables.Family]knftables.Interface
	wake  chan struct{}

	mu       sync.Mutex
	gateways []netip.Addr
	known    chan struct{} // closed when gateways are known
}

// coalesce is how long a change of a Node waits for others.
const coalesce = 20 * time.Millisecond

// New checks the options and returns the component.
func New(o Options) (*Network, error) {
	for name, v := range map[string]string{"NodeName": o.NodeName, "Bridge": o.Bridge, "Table": o.Table, "CNIConfDir": o.CNIConfDir, "CNIDataDir": o.CNIDataDir} {
		if v == "" {
			return nil, fmt.Errorf("network: option %s is empty", name)
		}
	}
	if len(o.Bridge) > 15 {
		return nil, fmt.Errorf("network: bridge name %q has more than 15 bytes", o.Bridge)
	}
	if o.Config == nil && o.Informers == nil {
		return nil, errors.New("network: neither Config nor Informers is given")
	}
	if o.RepairInterval == 0 {
		o.RepairInterval = 5 * time.Minute
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.SysctlRoot == "" {
		o.SysctlRoot = "/proc/sys"
	}
	if o.NFT == nil {
		o.NFT = newNFT
	}
	return &Network{
		opts: o, ready: make(chan struct{}), known: make(chan struct{}), wake: make(chan struct{}, 1),
		nft: map[knftables.Family]knftables.Interface{},
	}, nil
}

// Name is "network".
func (n *Network) Name() string { return "network" }

// Ready is closed once pods can be connected: the CNI configuration is written.
func (n *Network) Ready() <-chan struct{} { return n.ready }

// Gateways waits until this node's bridge has its addresses and returns them.
// The cluster's DNS listens there.
func (n *Network) Gateways(ctx context.Context) ([]netip.Addr, error) {
	select {
	case <-n.known:
		n.mu.Lock()
		defer n.mu.Unlock()
		return slices.Clone(n.gateways), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the pod subnet of node %s: %w", n.opts.NodeName, ctx.Err())
	}
}

// Run makes the network and keeps it until ctx is done.
func (n *Network) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("network")
	ctx = klog.NewContext(ctx, logger)
	factory := n.opts.Informers
	if factory == nil {
		cs, err := kubernetes.NewForConfig(clientConfig(n.opts.Config))
		if err != nil {
			return fmt.Errorf("network: client: %w", err)
		}
		factory = informers.NewSharedInformerFactoryWithOptions(cs, 0, informers.WithTransform(trimNode))
	}
	nodes := factory.Core().V1().Nodes()
	reg, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.poke() },
		DeleteFunc: func(any) { n.poke() },
		UpdateFunc: func(old, cur any) {
			a, okA := old.(*corev1.Node)
			b, okB := cur.(*corev1.Node)
			if !okA || !okB || !slices.Equal(a.Spec.PodCIDRs, b.Spec.PodCIDRs) || !slices.Equal(a.Status.Addresses, b.Status.Addresses) {
				n.poke()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("network: watching nodes: %w", err)
	}
	defer func() { _ = nodes.Informer().RemoveEventHandler(reg) }()
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), reg.HasSynced) {
		return nil
	}
	n.watchRoutes(ctx)

	repair := n.opts.Clock.NewTicker(n.opts.RepairInterval)
	defer repair.Stop()
	var backoff time.Duration
	var retry <-chan time.Time
	full := true
	for {
		p, err := n.sync(ctx, nodes.Lister().List, full)
		switch {
		case err != nil:
			backoff = min(max(2*backoff, time.Second), time.Minute)
			logger.Error(err, "The pod network is not complete; trying again", "after", backoff)
			retry = n.opts.Clock.After(backoff)
		case len(p.PodCIDRs) > 0:
			full, backoff, retry = false, 0, nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
			select {
			case <-n.opts.Clock.After(coalesce):
			case <-ctx.Done():
				return nil
			}
		case <-retry:
		case <-repair.C():
			full = true
		}
	}
}

// sync carries the present plan out. Without full it trusts the bridge, the
// masquerade rule and the settings to be as they were left, unless this node's
// own subnets changed.
func (n *Network) sync(ctx context.Context, list func(labels.Selector) ([]*corev1.Node, error), full bool) (Plan, error) {
	logger := klog.FromContext(ctx)
	nodes, err := list(labels.Everything())
	if err != nil {
		return Plan{}, err
	}
	i := slices.IndexFunc(nodes, func(x *corev1.Node) bool { return x.Name == n.opts.NodeName })
	if i < 0 || len(podCIDRs(nodes[i])) == 0 {
		logger.V(2).Info("Waiting for the node's pod subnet", "node", n.opts.NodeName)
		return Plan{}, nil
	}
	facts, err := hostFacts(n.opts.Bridge)
	if err != nil {
		return Plan{}, err
	}
	p := MakePlan(nodes[i], nodes, n.opts.ServiceCIDRs, facts)
	gateways := []netip.Addr{}
	for _, gw := range p.Gateways() {
		gateways = append(gateways, gw.Addr())
	}
	n.mu.Lock()
	full = full || !slices.Equal(n.gateways, gateways)
	n.mu.Unlock()

	if full {
		for _, l := range EnsureSysctls(n.opts.SysctlRoot, Sysctls(hasFamily(p.PodCIDRs, false))) {
			logger.Error(l.Err, "A kernel setting lacks", "lack", l.String())
		}
		mtu := n.opts.MTU
		if mtu == 0 {
			mtu = hostMTU(n.opts.Bridge)
		}
		if err := ensureBridge(n.opts.Bridge, mtu, p.Gateways()); err != nil {
			return p, err
		}
		n.publish(gateways)
		if err := n.syncMasquerade(ctx, p); err != nil {
			return p, err
		}
		conf, err := conflist(p, n.opts.Bridge, n.opts.CNIDataDir, mtu)
		if err != nil {
			return p, err
		}
		if err := writeConflist(n.opts.CNIConfDir, conf); err != nil {
			return p, err
		}
		select {
		case <-n.ready:
		default:
			logger.Info("The pod network is ready", "bridge", n.opts.Bridge, "podCIDRs", p.PodCIDRs, "mtu", mtu)
			close(n.ready)
		}
	}
	if len(p.Unreachable) > 0 {
		logger.V(2).Info("No direct link to some nodes; their pods are not reachable from here",
			"count", len(p.Unreachable), "first", p.Unreachable[0])
	}
	return p, syncRoutes(n.opts.Bridge, p.Routes, slices.Concat(n.opts.ClusterCIDRs, n.opts.ServiceCIDRs))
}

// publish tells those who wait in Gateways.
func (n *Network) publish(gateways []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gateways = gateways
	select {
	case <-n.known:
	default:
		close(n.known)
	}
}

func (n *Network) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// watchRoutes wakes the loop when the kernel drops one of our routes, as it does
// when a link goes down.
func (n *Network) watchRoutes(ctx context.Context) {
	updates := make(chan netlink.RouteUpdate, 16)
	if err := netlink.RouteSubscribeWithOptions(updates, ctx.Done(), netlink.RouteSubscribeOptions{
		ErrorCallback: func(err error) { klog.FromContext(ctx).V(4).Info("Watching routes failed", "err", err) },
	}); err != nil {
		klog.FromContext(ctx).V(2).Info("Cannot watch routes; a lost one comes back with the next repair", "err", err)
		return
	}
	go func() {
		for u := range updates {
			switch dst, _ := prefixOf(u.Dst); {
			case u.Table != unix.RT_TABLE_MAIN || dst.Addr().IsLinkLocalUnicast():
				// Every pod's link brings some of these.
			case u.Protocol == RouteProtocol && u.Type == unix.RTM_DELROUTE,
				u.Protocol != RouteProtocol && u.Type == unix.RTM_NEWROUTE && len(u.Gw) == 0:
				// One of ours is lost, or a new neighbourhood makes some node reachable.
				n.poke()
			}
		}
	}()
}

// trimNode keeps what the plan needs of a Node: a cluster may have thousands.
func trimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion},
		Spec:       corev1.NodeSpec{PodCIDR: node.Spec.PodCIDR, PodCIDRs: node.Spec.PodCIDRs},
		Status:     corev1.NodeStatus{Addresses: node.Status.Addresses},
	}, nil
}

// clientConfig is c for the built-in types and without limits of the client's own.
func clientConfig(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.QPS = -1
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c
}
