package discovery

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	endpointslice "k8s.io/endpointslice"
	"k8s.io/endpointslice/topologycache"
	endpointsliceutil "k8s.io/endpointslice/util"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	// EndpointSliceControllerName is the managed-by label of the slices made here.
	EndpointSliceControllerName = "endpointslice-controller.k8s.io"

	maxEndpointsPerSlice = 100
	// sliceChangeDelay is waited before another's change to a slice is undone.
	sliceChangeDelay = time.Second
	// staleCacheDelay is waited for the cache to show slices just written.
	staleCacheDelay = 50 * time.Millisecond
)

// nodesChanged is the request that says that nodes' zones or readiness
// changed. No service has an empty namespace.
var nodesChanged = reconcile.Request{NamespacedName: types.NamespacedName{Name: "nodes"}}

// EndpointSlice keeps the EndpointSlices of every service with a selector. The
// computation is that of k8s.io/endpointslice.
type EndpointSlice struct {
	Client     client.Reader
	Recorder   record.EventRecorder
	nodes      control.Nodes
	pacer      *control.Pacer
	tracker    *endpointsliceutil.EndpointSliceTracker
	triggers   *endpointsliceutil.TriggerTimeTracker
	topology   *topologycache.TopologyCache
	reconciler *endpointslice.Reconciler
}

// NewEndpointSlice returns the reconciler; kube writes the slices.
func NewEndpointSlice(reader client.Reader, kube kubernetes.Interface, recorder record.EventRecorder, clk clock.PassiveClock) *EndpointSlice {
	r := &EndpointSlice{
		Client:   reader,
		Recorder: recorder,
		nodes:    control.Nodes{Reader: reader},
		pacer:    control.NewPacer(clk),
		tracker:  endpointsliceutil.NewEndpointSliceTracker(),
		triggers: endpointsliceutil.NewTriggerTimeTracker(),
		topology: topologycache.NewTopologyCache(),
	}
	r.reconciler = endpointslice.NewReconciler(kube, r.nodes, maxEndpointsPerSlice, r.tracker, r.topology, recorder,
		EndpointSliceControllerName, endpointslice.WithPreferSameTrafficDistributionEnabled(true))
	return r
}

// SetupEndpointSlice registers the controller.
func SetupEndpointSlice(env *control.Env) error {
	r := NewEndpointSlice(env.Client(), env.Kube, env.Recorder("endpoint-slice-controller"), env.Clock)
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("endpointslice").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&corev1.Service{}).
		Watches(&corev1.Pod{}, control.ServicesOfPods(env.Client())).
		Watches(&corev1.Node{}, r.nodeEvents()).
		Watches(&discoveryv1.EndpointSlice{}, r.sliceEvents()).
		Complete(r)
}

func (r *EndpointSlice) nodeEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, _ event.CreateEvent, q control.Queue) { q.Add(nodesChanged) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			old, ok1 := e.ObjectOld.(*corev1.Node)
			node, ok2 := e.ObjectNew.(*corev1.Node)
			if ok1 && ok2 && (nodeReady(old) != nodeReady(node) || old.Labels[corev1.LabelTopologyZone] != node.Labels[corev1.LabelTopologyZone]) {
				q.Add(nodesChanged)
			}
		},
		DeleteFunc: func(_ context.Context, _ event.DeleteEvent, q control.Queue) { q.Add(nodesChanged) },
	}
}

func nodeReady(node *corev1.Node) bool {
	for i := range node.Status.Conditions {
		if c := &node.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// sliceEvents queues the service when somebody else changed one of our slices.
func (r *EndpointSlice) sliceEvents() handler.EventHandler {
	queue := func(s *discoveryv1.EndpointSlice, q control.Queue) {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: name}}, sliceChangeDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) {
			if s, ok := e.Object.(*discoveryv1.EndpointSlice); ok && r.reconciler.ManagedByController(s) && r.tracker.ShouldSync(s) {
				queue(s, q)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			old, ok1 := e.ObjectOld.(*discoveryv1.EndpointSlice)
			s, ok2 := e.ObjectNew.(*discoveryv1.EndpointSlice)
			switch {
			case !ok1 || !ok2:
			case old.Labels[discoveryv1.LabelServiceName] != s.Labels[discoveryv1.LabelServiceName]:
				queue(s, q)
				queue(old, q)
			case r.reconciler.ManagedByChanged(old, s) || (r.reconciler.ManagedByController(s) && r.tracker.ShouldSync(s)):
				queue(s, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) {
			s, ok := e.Object.(*discoveryv1.EndpointSlice)
			if ok && r.reconciler.ManagedByController(s) && r.tracker.Has(s) && !r.tracker.HandleDeletion(s) {
				queue(s, q)
			}
		},
	}
}

// Reconcile brings one service's slices to its pods.
func (r *EndpointSlice) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if req == nodesChanged {
		return reconcile.Result{}, r.updateTopology(ctx)
	}
	var svc corev1.Service
	if err := r.Client.Get(ctx, req.NamespacedName, &svc); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		r.pacer.Forget(req.NamespacedName)
		r.triggers.DeleteService(req.Namespace, req.Name)
		r.reconciler.DeleteService(req.Namespace, req.Name)
		r.tracker.DeleteService(req.Namespace, req.Name)
		return reconcile.Result{}, nil
	}
	// Without a selector the slices are someone else's.
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.Selector == nil {
		return reconcile.Result{}, nil
	}
	if wait := r.pacer.Due(req.NamespacedName); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	pods, err := control.PodsOfService(ctx, r.Client, &svc)
	if err != nil {
		return reconcile.Result{}, err
	}
	r.pacer.Note(req.NamespacedName, len(pods))
	slices, err := r.slices(ctx, &svc)
	if err != nil {
		return reconcile.Result{}, err
	}
	if r.tracker.StaleSlices(&svc, slices) {
		return reconcile.Result{RequeueAfter: staleCacheDelay}, nil
	}
	trigger := r.triggers.ComputeEndpointLastChangeTriggerTime(svc.Namespace, &svc, pods)
	if err := r.reconciler.Reconcile(klog.FromContext(ctx), &svc, pods, slices, trigger); err != nil {
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return reconcile.Result{}, nil
		}
		r.Recorder.Eventf(&svc, corev1.EventTypeWarning, "FailedToUpdateEndpointSlices",
			"Error updating Endpoint Slices for Service %s/%s: %v", svc.Namespace, svc.Name, err)
		return reconcile.Result{}, fmt.Errorf("endpoint slices of service %s: %w", req.NamespacedName, err)
	}
	return reconcile.Result{}, nil
}

// slices lists the service's slices that are ours and not being deleted.
func (r *EndpointSlice) slices(ctx context.Context, svc *corev1.Service) ([]*discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	selector := labels.SelectorFromValidatedSet(labels.Set{
		discoveryv1.LabelServiceName: svc.Name,
		discoveryv1.LabelManagedBy:   EndpointSliceControllerName,
	})
	if err := r.Client.List(ctx, &list, client.InNamespace(svc.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, err
	}
	var out []*discoveryv1.EndpointSlice
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			// A copy: the library may change what it is given.
			out = append(out, list.Items[i].DeepCopy())
		}
	}
	return out, nil
}

// updateTopology tells the topology cache of the nodes. Services whose hints no
// longer fit are computed again at their next event.
func (r *EndpointSlice) updateTopology(ctx context.Context) error {
	nodes, err := r.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	r.topology.SetNodes(klog.FromContext(ctx), nodes)
	return nil
}
