package podgc

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"proa/controllers/control"
)

// DefaultThreshold is how many finished pods are kept (--terminated-pod-gc-threshold).
const DefaultThreshold = 12500

// period is the least time between two sweeps.
const period = 20 * time.Second

// Collector is the pod garbage collector. It sweeps over all pods, but only
// after an event that may have made one collectable.
type Collector struct {
	client client.Client
	live   client.Reader
	clock  clock.PassiveClock
	// threshold is how many finished pods are kept; 0 keeps all.
	threshold int

	missing map[string]time.Time // used by the one reconciliation at a time
}

// New returns the collector. The client reads from a cache, live from the API.
func New(c client.Client, live client.Reader, clock clock.PassiveClock, threshold int) *Collector {
	return &Collector{client: c, live: live, clock: clock, threshold: threshold}
}

// Setup registers the controller with the default threshold.
func Setup(env *control.Env) error {
	return New(env.Client(), env.Live(), env.Clock, DefaultThreshold).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller under the name pod-garbage-collector.
func (c *Collector) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("pod-garbage-collector").
		Watches(&corev1.Pod{}, handler.Funcs{
			CreateFunc: func(ctx context.Context, e event.CreateEvent, q control.Queue) { c.podSeen(ctx, e.Object, q) },
			UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) { c.podSeen(ctx, e.ObjectNew, q) },
		}).
		Watches(&corev1.Node{}, handler.Funcs{
			UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
				if node, ok := e.ObjectNew.(*corev1.Node); ok && isOutOfService(node) {
					soon(q)
				}
			},
			DeleteFunc: func(_ context.Context, _ event.DeleteEvent, q control.Queue) { soon(q) },
		}).
		Complete(c)
}

// theSweep is the only thing in the queue.
func theSweep() ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Name: "sweep"}}
}

func soon(q control.Queue) { q.AddAfter(theSweep(), period) }

func (c *Collector) podSeen(ctx context.Context, obj client.Object, q control.Queue) {
	if pod, ok := obj.(*corev1.Pod); ok && c.suspicious(ctx, pod) {
		soon(q)
	}
}

// suspicious reports whether a sweep may collect the pod.
func (c *Collector) suspicious(ctx context.Context, pod *corev1.Pod) bool {
	if control.PodTerminal(pod) {
		return c.threshold > 0
	}
	if pod.Spec.NodeName == "" {
		return pod.DeletionTimestamp != nil
	}
	var node corev1.Node
	if err := c.client.Get(ctx, types.NamespacedName{Name: pod.Spec.NodeName}, &node); err != nil {
		return true
	}
	return pod.DeletionTimestamp != nil && isOutOfService(&node)
}

// Reconcile sweeps once.
func (c *Collector) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	var pods corev1.PodList
	if err := c.client.List(ctx, &pods); err != nil {
		return ctrl.Result{}, fmt.Errorf("pod garbage collector: list pods: %w", err)
	}
	var list corev1.NodeList
	if err := c.client.List(ctx, &list); err != nil {
		return ctrl.Result{}, fmt.Errorf("pod garbage collector: list nodes: %w", err)
	}
	nodes := make(map[string]*corev1.Node, len(list.Items))
	for i := range list.Items {
		nodes[list.Items[i].Name] = &list.Items[i]
	}
	p := sweep(pods.Items, nodes, c.missing, c.confirm(ctx), c.threshold, c.clock.Now())
	c.missing = p.missing

	var group errgroup.Group
	group.SetLimit(16)
	for _, v := range p.victims {
		group.Go(func() error { return c.collect(ctx, v) })
	}
	if err := group.Wait(); err != nil {
		return ctrl.Result{}, err
	}
	if len(c.missing) > 0 {
		return ctrl.Result{RequeueAfter: period}, nil
	}
	return ctrl.Result{}, nil
}

// confirm asks the API whether a node that the cache does not know is really
// gone, once per node.
func (c *Collector) confirm(ctx context.Context) func(string) bool {
	answers := map[string]bool{}
	return func(name string) bool {
		answer, asked := answers[name]
		if !asked {
			err := c.live.Get(ctx, types.NamespacedName{Name: name}, &corev1.Node{})
			answer = apierrors.IsNotFound(err)
			answers[name] = answer
		}
		return answer
	}
}

// collect sets the pod Failed, which its node cannot, and deletes it for good.
func (c *Collector) collect(ctx context.Context, v victim) error {
	klog.FromContext(ctx).Info("PodGC is force deleting Pod", "pod", klog.KObj(v.pod))
	if !control.PodTerminal(v.pod) {
		pod := v.pod.DeepCopy()
		pod.Status.Phase, pod.Status.ObservedGeneration = corev1.PodFailed, pod.Generation
		if v.why == orphaned && control.PodCondition(pod, corev1.DisruptionTarget) == nil {
			pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation,
				Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists", LastTransitionTime: metav1.NewTime(c.clock.Now()),
			})
		}
		if err := c.client.Status().Patch(ctx, pod, client.StrategicMergeFrom(v.pod)); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("pod garbage collector: set pod %s/%s failed: %w", v.pod.Namespace, v.pod.Name, err)
		}
	}
	err := c.client.Delete(ctx, v.pod.DeepCopy(), client.GracePeriodSeconds(0), client.Preconditions{UID: &v.pod.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("pod garbage collector: delete pod %s/%s: %w", v.pod.Namespace, v.pod.Name, err)
	}
	return nil
}
