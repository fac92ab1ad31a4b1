package simulated

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaseSeconds is the kubelet's lease duration.
const leaseSeconds int32 = 40

// renew writes the i-th node's Lease. The last version is kept, so that it is
// one write; if others changed or deleted it, it is read or made anew.
func (n *Nodes) renew(ctx context.Context, i int) error {
	leases := n.client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now := metav1.NewMicroTime(n.options.Clock.Now())
	n.mu.Lock()
	last, uid := n.leases[i], n.uids[i]
	n.mu.Unlock()
	for range 3 {
		var next *coordinationv1.Lease
		var err error
		if last != nil {
			lease := last.DeepCopy()
			lease.Spec.RenewTime = &now
			next, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		} else {
			next, err = leases.Create(ctx, &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{
					Name: n.name(i), Namespace: v1.NamespaceNodeLease,
					OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.name(i), UID: uid}},
				},
				Spec: coordinationv1.LeaseSpec{HolderIdentity: new(n.name(i)), LeaseDurationSeconds: new(leaseSeconds), RenewTime: &now},
			}, metav1.CreateOptions{})
		}
		switch {
		case err == nil:
			next.ManagedFields = nil // not sent back: absent means unchanged
			n.mu.Lock()
			n.leases[i] = next
			n.mu.Unlock()
			return nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			if last, err = leases.Get(ctx, n.name(i), metav1.GetOptions{}); err != nil {
				return fmt.Errorf("get lease %s: %w", n.name(i), err)
			}
		case last != nil && apierrors.IsNotFound(err):
			last = nil
		default:
			return fmt.Errorf("renew lease %s: %w", n.name(i), err)
		}
	}
	return fmt.Errorf("renew lease %s: it is changed by others all the time", n.name(i))
}

// heartbeat goes round all nodes once per LeaseInterval, in as many steps as
// are worth a timer, until ctx is done. Every node in its turn renews its
// Lease, and its status when that is due.
func (n *Nodes) heartbeat(ctx context.Context, work chan<- func()) {
	count := n.options.Count
	if count == 0 {
		return
	}
	steps := min(count, 100)
	perStatus := max(1, int(n.options.StatusInterval/n.options.LeaseInterval))
	ticker := n.options.Clock.NewTicker(n.options.LeaseInterval / time.Duration(steps))
	defer ticker.Stop()
	for tick := 0; ; tick++ {
		step := tick % steps
		round := tick / steps
		for i := step * count / steps; i < (step+1)*count/steps; i++ {
			job := func() { n.check(ctx, n.renew(ctx, i)) }
			if round > 0 && (round+i)%perStatus == 0 {
				job = func() {
					n.check(ctx, n.renew(ctx, i))
					n.check(ctx, n.reportOrRegister(ctx, i))
				}
			}
			select {
			case work <- job:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// reportOrRegister also brings back a node that someone deleted.
func (n *Nodes) reportOrRegister(ctx context.Context, i int) error {
	err := n.report(ctx, i)
	if apierrors.IsNotFound(err) {
		return n.register(ctx, i)
	}
	return err
}
