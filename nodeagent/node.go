package nodeagent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
)

// statusCheck is how often the node looks whether its status has changed.
const statusCheck = 10 * time.Second

// nodeState keeps the Node object and its lease.
type nodeState struct {
	a     *Agent
	facts facts

	mu       sync.Mutex
	node     *v1.Node // as last written
	network  bool
	runtime  error
	podCIDR  string
	written  time.Time
	lease    *coordination.Lease
	version  string
	handlers []v1.NodeRuntimeHandler
}

func newNodeState(a *Agent) *nodeState { return &nodeState{a: a, facts: readFacts(a.o)} }

func (a *Agent) hostIPs() []string { return []string{a.o.NodeIP.String()} }

func (a *Agent) allocatable() v1.ResourceList { return a.node.facts.allocatable }

// networkReady tells whether pods can get networks.
func (a *Agent) networkReady() bool {
	a.node.mu.Lock()
	defer a.node.mu.Unlock()
	return a.node.network
}

// run registers the node and keeps its status and lease.
func (n *nodeState) run(ctx context.Context) error {
	log := klog.FromContext(ctx)
	if n.a.waitRuntime(ctx) != nil {
		return nil
	}
	n.look(ctx)
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		err := n.register(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		log.Info("Cannot register the node; trying again", "node", n.a.o.NodeName, "after", delay, "err", err)
		if !n.a.sleep(ctx, delay) {
			return nil
		}
	}
	n.a.events.onNode(v1.EventTypeNormal, "Starting", "Starting kubelet.")
	close(n.a.ready)
	n.renew(ctx)
	// Soon after the start the pod CIDR arrives and the network comes up: look
	// often until the node is ready, then rarely.
	next := 100 * time.Millisecond
	leaseAt, checkAt := n.a.o.Clock.Now().Add(n.a.o.LeaseInterval), n.a.o.Clock.Now().Add(next)
	for {
		now := n.a.o.Clock.Now()
		at := leaseAt
		if checkAt.Before(at) {
			at = checkAt
		}
		if !n.a.sleep(ctx, max(at.Sub(now), time.Millisecond)) {
			return nil
		}
		now = n.a.o.Clock.Now()
		if !now.Before(leaseAt) {
			n.renew(ctx)
			leaseAt = n.a.o.Clock.Now().Add(n.a.o.LeaseInterval)
		}
		if !now.Before(checkAt) {
			n.look(ctx)
			if err := n.update(ctx); err != nil && ctx.Err() == nil {
				log.Info("Cannot write the node's status", "err", err)
			}
			if n.isReady() {
				next = statusCheck
			} else {
				next = min(2*next, 2*time.Second)
			}
			checkAt = n.a.o.Clock.Now().Add(next)
		}
	}
}

func (n *nodeState) isReady() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.node != nil && condition(n.node, v1.NodeReady).Status == v1.ConditionTrue
}

// look asks the runtime how it is.
func (n *nodeState) look(ctx context.Context) {
	st, err := n.a.runtime.Status(ctx)
	network := false
	if err == nil {
		for _, c := range st.GetStatus().GetConditions() {
			switch c.Type {
			case "RuntimeReady":
				if !c.Status {
					err = fmt.Errorf("container runtime not ready: RuntimeReady=false reason:%s message:%s", c.Reason, c.Message)
				}
			case "NetworkReady":
				network = c.Status
			}
		}
	} else {
		err = fmt.Errorf("container runtime is down: %w", err)
	}
	if network && n.a.o.NetworkReady != nil {
		network = n.a.o.NetworkReady()
	}
	n.mu.Lock()
	was := n.network
	n.runtime, n.network = err, network
	n.handlers = nil
	for _, h := range st.GetRuntimeHandlers() {
		f := h.GetFeatures()
		rro, userns := f.GetRecursiveReadOnlyMounts(), f.GetUserNamespaces()
		n.handlers = append(n.handlers, v1.NodeRuntimeHandler{Name: h.Name, Features: &v1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &rro, UserNamespaces: &userns}})
	}
	version := n.version
	n.mu.Unlock()
	if version == "" {
		if v, err := n.a.runtime.Version(ctx); err == nil {
			n.mu.Lock()
			n.version = v.RuntimeName + "://" + strings.TrimPrefix(v.RuntimeVersion, "v")
			n.mu.Unlock()
		}
	}
	if network && !was {
		for _, w := range n.a.all() {
			w.mu.Lock()
			w.plan()
			w.mu.Unlock()
		}
	}
}

// register makes the Node, or brings the one that is there up to date.
func (n *nodeState) register(ctx context.Context) error {
	want := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.a.o.NodeName, Labels: n.labels()}}
	want.Annotations = map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
	want.Spec.Taints = n.a.o.Taints
	n.fill(want, n.a.o.Clock.Now())
	got, err := n.a.client.CoreV1().Nodes().Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
			old, err := n.a.client.CoreV1().Nodes().Get(ctx, n.a.o.NodeName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			next := old.DeepCopy()
			if next.Labels == nil {
				next.Labels = map[string]string{}
			}
			for k, v := range n.labels() {
				next.Labels[k] = v
			}
			if !equality.Semantic.DeepEqual(old.Labels, next.Labels) {
				if next, err = n.a.client.CoreV1().Nodes().Update(ctx, next, metav1.UpdateOptions{}); err != nil {
					return err
				}
			}
			n.fill(next, n.a.o.Clock.Now())
			got, err = n.a.client.CoreV1().Nodes().UpdateStatus(ctx, next, metav1.UpdateOptions{})
			return err
		})
	}
	if err != nil {
		return err
	}
	n.keep(ctx, got)
	return nil
}

// update writes the node's status if it has changed or the interval has passed.
func (n *nodeState) update(ctx context.Context) error {
	n.mu.Lock()
	last, written, ready := n.node, n.written, condition(n.node, v1.NodeReady).Status
	n.mu.Unlock()
	now := n.a.o.Clock.Now()
	if ready == v1.ConditionTrue && now.Sub(written) < n.a.o.StatusInterval {
		next := last.DeepCopy()
		n.fill(next, now)
		if sameNode(last, next) {
			return nil
		}
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		fresh, err := n.a.client.CoreV1().Nodes().Get(ctx, n.a.o.NodeName, metav1.GetOptions{ResourceVersion: "0"})
		if apierrors.IsNotFound(err) {
			// Somebody deleted the node while it is alive: it comes back.
			return n.register(ctx)
		}
		if err != nil {
			return err
		}
		n.cidr(ctx, fresh)
		next := fresh.DeepCopy()
		n.fill(next, now)
		if sameNode(fresh, next) && now.Sub(written) < n.a.o.StatusInterval {
			n.mu.Lock()
			n.node = fresh
			n.mu.Unlock()
			return nil
		}
		got, err := n.a.client.CoreV1().Nodes().UpdateStatus(ctx, next, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		if a, b := condition(fresh, v1.NodeReady).Status, condition(got, v1.NodeReady).Status; a != b {
			if b == v1.ConditionTrue {
				n.a.events.onNode(v1.EventTypeNormal, "NodeReady", fmt.Sprintf("Node %s status is now: NodeReady", n.a.o.NodeName))
			} else {
				n.a.events.onNode(v1.EventTypeNormal, "NodeNotReady", fmt.Sprintf("Node %s status is now: NodeNotReady", n.a.o.NodeName))
			}
		}
		n.keep(ctx, got)
		return nil
	})
}

func (n *nodeState) keep(ctx context.Context, node *v1.Node) {
	n.cidr(ctx, node)
	n.mu.Lock()
	n.node, n.written = node, n.a.o.Clock.Now()
	n.mu.Unlock()
}

// cidr tells the runtime the node's pod range when it becomes known.
func (n *nodeState) cidr(ctx context.Context, node *v1.Node) {
	n.mu.Lock()
	changed := node.Spec.PodCIDR != n.podCIDR
	n.podCIDR = node.Spec.PodCIDR
	n.mu.Unlock()
	if changed && node.Spec.PodCIDR != "" {
		if err := n.a.runtime.UpdatePodCIDR(ctx, strings.Join(node.Spec.PodCIDRs, ",")); err != nil {
			klog.FromContext(ctx).Info("The runtime did not take the pod CIDR", "err", err)
		}
	}
}

// renew renews the node's lease.
func (n *nodeState) renew(ctx context.Context) {
	leases := n.a.client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now := metav1.NewMicroTime(n.a.o.Clock.Now())
	seconds := int32(40)
	if n.lease != nil {
		next := n.lease.DeepCopy()
		next.Spec.RenewTime = &now
		got, err := leases.Update(ctx, next, metav1.UpdateOptions{})
		if err == nil {
			n.lease = got
			return
		}
		n.lease = nil
	}
	got, err := leases.Get(ctx, n.a.o.NodeName, metav1.GetOptions{})
	if err == nil {
		got.Spec.HolderIdentity, got.Spec.LeaseDurationSeconds, got.Spec.RenewTime = &n.a.o.NodeName, &seconds, &now
		got, err = leases.Update(ctx, got, metav1.UpdateOptions{})
	} else if apierrors.IsNotFound(err) {
		l := &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.a.o.NodeName, Namespace: v1.NamespaceNodeLease}}
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &n.a.o.NodeName, &seconds, &now
		n.mu.Lock()
		if n.node != nil {
			l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.node.Name, UID: n.node.UID}}
		}
		n.mu.Unlock()
		got, err = leases.Create(ctx, l, metav1.CreateOptions{})
	}
	if err != nil {
		if ctx.Err() == nil {
			klog.FromContext(ctx).Info("Cannot renew the node's lease", "err", err)
		}
		return
	}
	n.lease = got
}

// sameNode compares what the agent writes, heartbeats aside.
func sameNode(a, b *v1.Node) bool {
	strip := func(n *v1.Node) *v1.NodeStatus {
		s := n.Status.DeepCopy()
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
		return s
	}
	return equality.Semantic.DeepEqual(strip(a), strip(b))
}
