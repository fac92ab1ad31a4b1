package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// Default prefix lengths of one node's pod subnet, kube-controller-manager's
// --node-cidr-mask-size-ipv4 and -ipv6.
const (
	DefaultNodeCIDRMaskSizeIPv4 = 24
	DefaultNodeCIDRMaskSizeIPv6 = 64
)

// reasonCIDRNotAvailable is the reason and the status named in the event of a
// node for which no subnet is left, as kube-controller-manager writes it.
const reasonCIDRNotAvailable = "CIDRNotAvailable"

// IPAM gives every Node its pod subnets: it cuts the cluster CIDRs into equal
// pieces and writes one per IP family into spec.podCIDR and spec.podCIDRs. What
// a Node already has is adopted, before anything is allocated; what a deleted
// Node had is free again.
type IPAM struct {
	client   client.Client
	recorder events.EventRecorder
	pools    *cidrPools
}

// NewIPAM returns the allocator for clusterCIDRs: one prefix, or one of each
// family for dual-stack, in the order in which nodes shall list them. maskSizes
// are the prefix lengths of a node's subnet, one per cluster CIDR; a missing or
// zero one means /24 for IPv4 and /64 for IPv6.
func NewIPAM(c client.Client, clusterCIDRs []netip.Prefix, maskSizes ...int) (*IPAM, error) {
	pools, err := newCIDRPools(clusterCIDRs, maskSizes)
	if err != nil {
		return nil, err
	}
	return &IPAM{client: c, pools: pools}, nil
}

// SetupWithManager registers the controller under the name node-ipam.
func (r *IPAM) SetupWithManager(mgr ctrl.Manager) error {
	if r.recorder == nil {
		r.recorder = mgr.GetEventRecorder("cidrAllocator")
	}
	// Nodes change all the time, with every heartbeat; only those without a
	// subnet and those that go away matter here.
	interesting := predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			o, okOld := e.ObjectOld.(*corev1.Node)
			n, okNew := e.ObjectNew.(*corev1.Node)
			return !okOld || !okNew || len(n.Spec.PodCIDRs) == 0 || !slices.Equal(o.Spec.PodCIDRs, n.Spec.PodCIDRs)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("node-ipam").
		For(&corev1.Node{}).
		WithEventFilter(interesting).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		Complete(r)
}

// Reconcile adopts, allocates or releases the subnets of one Node.
func (r *IPAM) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if err := r.adoptAll(ctx); err != nil {
		return ctrl.Result{}, err
	}
	node := &corev1.Node{}
	if err := r.client.Get(ctx, req.NamespacedName, node); err != nil {
		if apierrors.IsNotFound(err) {
			r.pools.release(req.Name)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	if len(node.Spec.PodCIDRs) > 0 {
		r.adopt(ctx, node)
		return ctrl.Result{}, nil
	}
	if node.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}

	cidrs, err := r.pools.allocate(node.Name)
	if err != nil {
		if r.recorder != nil {
			r.recorder.Eventf(node, nil, corev1.EventTypeNormal, reasonCIDRNotAvailable, reasonCIDRNotAvailable,
				"Node %s status is now: %s", node.Name, reasonCIDRNotAvailable)
		}
		// The workqueue's backoff asks again; a released subnet then serves.
		return ctrl.Result{}, fmt.Errorf("node %s: %w; widen --cluster-cidr or raise --node-cidr-mask-size", node.Name, err)
	}
	patch := client.MergeFrom(node)
	node = node.DeepCopy()
	node.Spec.PodCIDR = cidrs[0].String()
	for _, c := range cidrs {
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, c.String())
	}
	// A failed write may have been carried out nevertheless, so its subnets stay
	// reserved under the Node's name and the next try writes the same ones.
	if err := r.client.Patch(ctx, node, patch); err != nil {
		if apierrors.IsNotFound(err) {
			r.pools.release(req.Name)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("setting spec.podCIDRs of node %s: %w", node.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Gave node its pod subnets", "node", node.Name, "podCIDRs", node.Spec.PodCIDRs)
	return ctrl.Result{}, nil
}

// adoptAll marks the subnets of every existing Node as taken, once: before the
// first allocation, or two Nodes could get the same.
func (r *IPAM) adoptAll(ctx context.Context) error {
	return r.pools.once(func() error {
		var nodes corev1.NodeList
		if err := r.client.List(ctx, &nodes); err != nil {
			return fmt.Errorf("listing nodes to adopt their pod subnets: %w", err)
		}
		for i := range nodes.Items {
			r.adopt(ctx, &nodes.Items[i])
		}
		return nil
	})
}

func (r *IPAM) adopt(ctx context.Context, node *corev1.Node) {
	var cidrs []netip.Prefix
	for _, s := range node.Spec.PodCIDRs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Node has a pod subnet that is not a CIDR", "node", node.Name, "podCIDR", s)
			continue
		}
		cidrs = append(cidrs, p.Masked())
	}
	if len(cidrs) == 0 {
		return
	}
	if err := r.pools.adopt(node.Name, cidrs); err != nil {
		klog.FromContext(ctx).Error(err, "Node has a pod subnet outside of the cluster CIDRs", "node", node.Name)
	}
}

// cidrPools is the set of free and taken subnets, per cluster CIDR, with their
// holders. It is safe for concurrent use.
type cidrPools struct {
	adoptMu sync.Mutex
	adopted bool

	mu     sync.Mutex
	sets   []*cidrSet
	byNode map[string][]netip.Prefix
}

func newCIDRPools(clusterCIDRs []netip.Prefix, maskSizes []int) (*cidrPools, error) {
	if len(clusterCIDRs) == 0 {
		return nil, errors.New("no cluster CIDR: give one with --cluster-cidr")
	}
	if len(clusterCIDRs) > 2 || (len(clusterCIDRs) == 2 && clusterCIDRs[0].Addr().Is4() == clusterCIDRs[1].Addr().Is4()) {
		return nil, fmt.Errorf("cluster CIDRs %v: give one, or one of each IP family", clusterCIDRs)
	}
	if len(maskSizes) > len(clusterCIDRs) {
		return nil, fmt.Errorf("%d node CIDR mask sizes for %d cluster CIDRs: give at most one each", len(maskSizes), len(clusterCIDRs))
	}
	p := &cidrPools{byNode: map[string][]netip.Prefix{}}
	for i, cluster := range clusterCIDRs {
		mask := 0
		if i < len(maskSizes) {
			mask = maskSizes[i]
		}
		if mask == 0 {
			mask = DefaultNodeCIDRMaskSizeIPv6
			if cluster.Addr().Is4() {
				mask = DefaultNodeCIDRMaskSizeIPv4
			}
		}
		set, err := newCIDRSet(cluster, mask)
		if err != nil {
			return nil, err
		}
		p.sets = append(p.sets, set)
	}
	return p, nil
}

// once runs f until it has succeeded once; callers wait for it.
func (p *cidrPools) once(f func() error) error {
	p.adoptMu.Lock()
	defer p.adoptMu.Unlock()
	if p.adopted {
		return nil
	}
	if err := f(); err != nil {
		return err
	}
	p.adopted = true
	return nil
}

// allocate returns the subnets held for node, one per cluster CIDR, taking new
// ones if it holds none. Either all are taken or none.
func (p *cidrPools) allocate(node string) ([]netip.Prefix, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held, ok := p.byNode[node]; ok {
		return held, nil
	}
	var got []netip.Prefix
	for _, set := range p.sets {
		c, err := set.allocate()
		if err != nil {
			p.free(got)
			return nil, fmt.Errorf("cluster CIDR %s: %w", set.cluster, err)
		}
		got = append(got, c)
	}
	p.byNode[node] = got
	return got, nil
}

// adopt records that node holds cidrs, and frees what else it held. An error
// names those that lie in no cluster CIDR; the rest is recorded all the same.
func (p *cidrPools) adopt(node string, cidrs []netip.Prefix) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held, ok := p.byNode[node]; ok {
		if slices.Equal(held, cidrs) {
			return nil
		}
		p.free(held)
	}
	p.byNode[node] = cidrs
	var errs []error
	for _, c := range cidrs {
		var err error
		for _, set := range p.sets {
			if err = set.occupy(c); err == nil {
				break
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// release frees what node holds.
func (p *cidrPools) release(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free(p.byNode[node])
	delete(p.byNode, node)
}

func (p *cidrPools) free(cidrs []netip.Prefix) {
	for _, c := range cidrs {
		for _, set := range p.sets {
			if set.release(c) == nil {
				break
			}
		}
	}
}
