package discovery

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	endpointsliceutil "k8s.io/endpointslice/util"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	// EndpointSliceMirroringControllerName is the managed-by label of mirrored slices.
	EndpointSliceMirroringControllerName = "endpointslicemirroring-controller.k8s.io"

	// maxMirroredPerSubset is how many addresses of a subset are mirrored.
	maxMirroredPerSubset = 1000
)

// EndpointSliceMirroring makes EndpointSlices of the Endpoints that users write
// for services without a selector (KEP-752), so that who reads slices sees them.
type EndpointSliceMirroring struct {
	Client   client.Client
	Recorder record.EventRecorder
	tracker  *endpointsliceutil.EndpointSliceTracker
}

// NewEndpointSliceMirroring returns the reconciler.
func NewEndpointSliceMirroring(c client.Client, recorder record.EventRecorder) *EndpointSliceMirroring {
	return &EndpointSliceMirroring{Client: c, Recorder: recorder, tracker: endpointsliceutil.NewEndpointSliceTracker()}
}

// SetupEndpointSliceMirroring registers the controller.
func SetupEndpointSliceMirroring(env *control.Env) error {
	r := NewEndpointSliceMirroring(env.Client(), env.Recorder("endpoint-slice-mirroring-controller"))
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("endpointslicemirroring").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		Watches(&corev1.Endpoints{}, r.EndpointsEvents()). //nolint:staticcheck // still served
		Watches(&corev1.Service{}, r.ServiceEvents()).
		Watches(&discoveryv1.EndpointSlice{}, r.SliceEvents()).
		Complete(r)
}

func request(obj client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)}
}

// EndpointsEvents queues what is or was to be mirrored.
func (r *EndpointSliceMirroring) EndpointsEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) {
			if mirrored(e.Object) {
				q.Add(request(e.Object))
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			if mirrored(e.ObjectNew) || mirrored(e.ObjectOld) {
				q.Add(request(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) {
			if mirrored(e.Object) {
				q.Add(request(e.Object))
			}
		},
	}
}

// ServiceEvents queues services that have no selector, or have one now.
func (r *EndpointSliceMirroring) ServiceEvents() handler.EventHandler {
	selects := func(obj client.Object) bool {
		s, ok := obj.(*corev1.Service)
		return !ok || s.Spec.Selector != nil
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) {
			if !selects(e.Object) {
				q.Add(request(e.Object))
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			if selects(e.ObjectNew) != selects(e.ObjectOld) {
				q.Add(request(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) {
			if !selects(e.Object) {
				q.Add(request(e.Object))
			}
		},
	}
}

// SliceEvents queues the service when somebody else changed one of our slices.
func (r *EndpointSliceMirroring) SliceEvents() handler.EventHandler {
	ours := func(s *discoveryv1.EndpointSlice) bool {
		return s.Labels[discoveryv1.LabelManagedBy] == EndpointSliceMirroringControllerName
	}
	queue := func(s *discoveryv1.EndpointSlice, q control.Queue) {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: name}}, sliceChangeDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) {
			if s, ok := e.Object.(*discoveryv1.EndpointSlice); ok && ours(s) && r.tracker.ShouldSync(s) {
				queue(s, q)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			old, ok1 := e.ObjectOld.(*discoveryv1.EndpointSlice)
			s, ok2 := e.ObjectNew.(*discoveryv1.EndpointSlice)
			switch {
			case !ok1 || !ok2:
			case ours(s) && old.Labels[discoveryv1.LabelServiceName] != s.Labels[discoveryv1.LabelServiceName]:
				queue(s, q)
				queue(old, q)
			case ours(s) != ours(old) || ours(s) && r.tracker.ShouldSync(s):
				queue(s, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q control.Queue) {
			s, ok := e.Object.(*discoveryv1.EndpointSlice)
			if ok && ours(s) && r.tracker.Has(s) && !r.tracker.HandleDeletion(s) {
				queue(s, q)
			}
		},
	}
}

// mirrored tells whether Endpoints are for mirroring, as far as they say themselves.
func mirrored(obj client.Object) bool {
	_, lock := obj.GetAnnotations()[resourcelock.LeaderElectionRecordAnnotationKey]
	return !lock && obj.GetLabels()[discoveryv1.LabelSkipMirror] != "true"
}

// Reconcile brings one service's mirrored slices to its Endpoints.
func (r *EndpointSliceMirroring) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	slices, err := r.slices(ctx, req.NamespacedName)
	if err != nil {
		return reconcile.Result{}, err
	}
	var endpoints corev1.Endpoints //nolint:staticcheck // still served
	var svc corev1.Service
	err = r.Client.Get(ctx, req.NamespacedName, &endpoints)
	if err == nil {
		err = r.Client.Get(ctx, req.NamespacedName, &svc)
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	if err != nil || !mirrored(&endpoints) || svc.Spec.Selector != nil {
		r.tracker.DeleteService(req.Namespace, req.Name)
		return reconcile.Result{}, r.delete(ctx, slices, false)
	}
	if r.tracker.StaleSlices(&svc, slices) {
		return reconcile.Result{RequeueAfter: staleCacheDelay}, nil
	}
	plan := planMirror(&endpoints, slices, maxMirroredPerSubset)
	if plan.invalid > 0 {
		r.Recorder.Eventf(&endpoints, corev1.EventTypeWarning, "InvalidIPAddress",
			"Skipped %d invalid IP addresses when mirroring to EndpointSlices", plan.invalid)
	}
	if plan.skipped > 0 {
		r.Recorder.Eventf(&endpoints, corev1.EventTypeWarning, "TooManyAddressesToMirror",
			"A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %d addresses were skipped",
			maxMirroredPerSubset, plan.invalid+plan.skipped)
	}
	err = r.carryOut(ctx, &endpoints, plan)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		err = nil
	}
	return reconcile.Result{}, err
}

func (r *EndpointSliceMirroring) carryOut(ctx context.Context, endpoints *corev1.Endpoints, plan mirrorPlan) error { //nolint:staticcheck // still served
	for _, s := range plan.keep {
		if !r.tracker.Has(s) {
			r.tracker.Update(s)
		}
	}
	if endpoints.DeletionTimestamp == nil {
		for _, s := range plan.create {
			if err := r.Client.Create(ctx, s); err != nil {
				return fmt.Errorf("failed to create EndpointSlice for Endpoints %s/%s: %w", endpoints.Namespace, endpoints.Name, err)
			}
			r.tracker.Update(s)
		}
	}
	for _, s := range plan.update {
		if err := r.Client.Update(ctx, s); err != nil {
			return fmt.Errorf("failed to update %s EndpointSlice for Endpoints %s/%s: %w", s.Name, endpoints.Namespace, endpoints.Name, err)
		}
		r.tracker.Update(s)
	}
	return r.delete(ctx, plan.remove, true)
}

func (r *EndpointSliceMirroring) delete(ctx context.Context, slices []*discoveryv1.EndpointSlice, expect bool) error {
	for _, s := range slices {
		if err := r.Client.Delete(ctx, s); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("failed to delete %s EndpointSlice in namespace %s: %w", s.Name, s.Namespace, err)
		}
		if expect {
			r.tracker.ExpectDeletion(s)
		}
	}
	return nil
}

// slices lists a service's mirrored slices; they are copies.
func (r *EndpointSliceMirroring) slices(ctx context.Context, name types.NamespacedName) (out []*discoveryv1.EndpointSlice, err error) {
	var list discoveryv1.EndpointSliceList
	err = r.Client.List(ctx, &list, client.InNamespace(name.Namespace), client.MatchingLabels{
		discoveryv1.LabelServiceName: name.Name, discoveryv1.LabelManagedBy: EndpointSliceMirroringControllerName,
	})
	for i := range list.Items {
		out = append(out, list.Items[i].DeepCopy())
	}
	return out, err
}
