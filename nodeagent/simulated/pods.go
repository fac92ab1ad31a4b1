package simulated

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// watch follows the pods on our nodes.
func (n *Nodes) watch(ctx context.Context) error {
	informer, err := n.cache.GetInformer(ctx, &v1.Pod{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("simulated nodes: pod informer: %w", err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: n.seen, UpdateFunc: func(_, obj any) { n.seen(obj) }, DeleteFunc: n.gone,
	})
	if err != nil {
		return fmt.Errorf("simulated nodes: event handler: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(registration) })
	if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return errors.New("simulated nodes: stopped before the pods were known")
	}
	return nil
}

func key(pod *v1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// seen notes a new or changed pod and sees to its next step.
func (n *Nodes) seen(obj any) {
	pod, ok := obj.(*v1.Pod)
	if !ok {
		return
	}
	if _, ours := n.index(pod.Spec.NodeName); !ours {
		return
	}
	now := n.options.Clock.Now()
	n.mu.Lock()
	e, known := n.pods[key(pod)]
	if !known || e.pod.UID != pod.UID {
		n.addresses.giveBack(e.ip)
		e = entry{bound: now, ip: pod.Status.PodIP}
		n.addresses.note(e.ip)
	}
	e.pod = pod
	n.pods[key(pod)] = e
	n.mu.Unlock()
	if step, at := plan(pod, e.bound, n.options.Latency); step != nothing {
		n.queue.AddAfter(key(pod), max(0, at.Sub(now)))
	}
}

func (n *Nodes) gone(obj any) {
	if unknown, is := obj.(toolscache.DeletedFinalStateUnknown); is {
		obj = unknown.Obj
	}
	pod, ok := obj.(*v1.Pod)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.pods[key(pod)]; ok && e.pod.UID == pod.UID {
		n.addresses.giveBack(e.ip)
		delete(n.pods, key(pod))
	}
}

func (n *Nodes) podWorker(ctx context.Context) {
	for {
		k, shutdown := n.queue.Get()
		if shutdown {
			return
		}
		again, err := n.advance(ctx, k)
		n.queue.Done(k)
		n.check(ctx, err)
		if again > 0 {
			n.queue.AddAfter(k, again)
		}
	}
}

// retry is the wait after a write that failed for no lasting reason.
const retry = time.Second

// advance does the pod's next step if it is due; again is when to come back, 0 for not.
func (n *Nodes) advance(ctx context.Context, k types.NamespacedName) (again time.Duration, err error) {
	n.mu.Lock()
	e, ok := n.pods[k]
	n.mu.Unlock()
	if !ok {
		return 0, nil
	}
	now := n.options.Clock.Now()
	step, at := plan(e.pod, e.bound, n.options.Latency)
	if step == nothing {
		return 0, nil
	}
	if at.After(now) {
		return at.Sub(now), nil
	}
	pods := n.client.CoreV1().Pods(k.Namespace)
	switch step {
	case remove:
		err = pods.Delete(ctx, k.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &e.pod.UID}})
	case start:
		i, _ := n.index(e.pod.Spec.NodeName)
		next := *e.pod // shared with the cache; only the status is replaced
		next.Status = running(e.pod, metav1.NewTime(now), nodeAddress(i), n.address(k, i))
		_, err = pods.UpdateStatus(ctx, &next, metav1.UpdateOptions{})
	case finish:
		next := *e.pod
		next.Status = succeeded(e.pod, metav1.NewTime(now))
		_, err = pods.UpdateStatus(ctx, &next, metav1.UpdateOptions{})
	}
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return 0, nil
	case apierrors.IsConflict(err):
		return retry / 10, nil // someone wrote meanwhile; the informer will tell, and if not, try again
	}
	return retry, err
}

// address returns the pod's own address, that of its node if it shares the network.
func (n *Nodes) address(k types.NamespacedName, node int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.pods[k]
	switch {
	case !ok:
		return ""
	case e.pod.Spec.HostNetwork:
		return nodeAddress(node)
	case e.ip == "":
		e.ip = n.addresses.take()
		n.pods[k] = e
	}
	return e.ip
}
