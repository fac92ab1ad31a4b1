package networking

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1apply "k8s.io/client-go/applyconfigurations/networking/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

const (
	serviceCIDRController = "service-cidr-controller"
	serviceCIDRFinalizer  = "networking.k8s.io/service-cidr-finalizer"
	// allocatorLabel is the managed-by label of the API server's own IPAddresses.
	allocatorLabel = "ipallocator.k8s.io"
	// serviceCIDRGrace is how long the allocators may take to see that a ServiceCIDR
	// is being deleted.
	serviceCIDRGrace = 10 * time.Second
)

// ServiceCIDR says of each ServiceCIDR that it is ready, and keeps those that are
// being deleted until no address would be left without a range (KEP-1880).
type ServiceCIDR struct {
	Client   client.Client
	Recorder record.EventRecorder
	Clock    clock.PassiveClock
	// ApplyStatus is the typed client's: Client cannot read the answer to an apply
	// in protobuf.
	ApplyStatus func(context.Context, *networkingv1apply.ServiceCIDRApplyConfiguration, metav1.ApplyOptions) (*networkingv1.ServiceCIDR, error)
}

// SetupServiceCIDR registers the controller.
func SetupServiceCIDR(env *control.Env) error {
	r := &ServiceCIDR{Client: env.Client(), Recorder: env.Recorder(serviceCIDRController), Clock: env.Clock,
		ApplyStatus: env.Kube.NetworkingV1().ServiceCIDRs().ApplyStatus}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("servicecidr").
		Watches(&networkingv1.ServiceCIDR{}, r.CIDREvents()).
		Watches(&networkingv1.IPAddress{}, r.AddressEvents()).
		Complete(r)
}

// CIDREvents queues the ServiceCIDR itself and, when one is new, those that it
// overlaps: it may hold their addresses from now on.
func (r *ServiceCIDR) CIDREvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q control.Queue) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
			if c, ok := e.Object.(*networkingv1.ServiceCIDR); ok {
				r.queue(ctx, q, func(other netip.Prefix) bool {
					return slices.ContainsFunc(prefixes(c), other.Overlaps)
				})
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q control.Queue) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.ObjectNew)})
		},
	}
}

// AddressEvents queues the ServiceCIDRs of an address that came or went.
func (r *ServiceCIDR) AddressEvents() handler.EventHandler {
	changed := func(ctx context.Context, obj client.Object, q control.Queue) {
		if ip, err := netip.ParseAddr(obj.GetName()); err == nil && obj.GetLabels()[networkingv1.LabelManagedBy] == allocatorLabel {
			r.queue(ctx, q, func(p netip.Prefix) bool { return offers(p, ip) })
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q control.Queue) { changed(ctx, e.Object, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q control.Queue) { changed(ctx, e.Object, q) },
	}
}

func (r *ServiceCIDR) queue(ctx context.Context, q control.Queue, wanted func(netip.Prefix) bool) {
	all, err := r.all(ctx)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot list ServiceCIDRs")
	}
	for _, c := range all {
		if slices.ContainsFunc(prefixes(c), wanted) {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: c.Name}})
		}
	}
}

// Reconcile brings finalizer and condition up to date.
func (r *ServiceCIDR) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	c := &networkingv1.ServiceCIDR{}
	if err := r.Client.Get(ctx, req.NamespacedName, c); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	held := slices.Contains(c.Finalizers, serviceCIDRFinalizer)
	if c.DeletionTimestamp == nil {
		if !held {
			if err := r.patchFinalizers(ctx, c, map[string]any{"finalizers": []string{serviceCIDRFinalizer}}); err != nil {
				return reconcile.Result{}, err
			}
		}
		err := r.setReady(ctx, c, metav1.ConditionTrue, "", "Kubernetes Service CIDR is ready")
		if err != nil {
			r.Recorder.Eventf(c, corev1.EventTypeWarning, "KubernetesServiceCIDRError", "The ServiceCIDR Status can not be set to Ready=True")
		}
		return reconcile.Result{}, err
	}
	if !held {
		return reconcile.Result{}, nil
	}
	free, err := r.dispensable(ctx, c)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !free {
		return reconcile.Result{}, r.setReady(ctx, c, metav1.ConditionFalse, networkingv1.ServiceCIDRReasonTerminating,
			"There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR")
	}
	if wait := serviceCIDRGrace - r.Clock.Since(c.DeletionTimestamp.Time); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	return reconcile.Result{}, r.patchFinalizers(ctx, c, map[string]any{"$deleteFromPrimitiveList/finalizers": []string{serviceCIDRFinalizer}})
}

func (r *ServiceCIDR) patchFinalizers(ctx context.Context, c *networkingv1.ServiceCIDR, metadata map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	// The patch is written into what it is given.
	return client.IgnoreNotFound(r.Client.Patch(ctx, c.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, patch)))
}

func (r *ServiceCIDR) setReady(ctx context.Context, c *networkingv1.ServiceCIDR, status metav1.ConditionStatus, reason, message string) error {
	have := meta.FindStatusCondition(c.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	if have != nil && have.Status == status && have.Reason == reason && have.Message == message {
		return nil
	}
	apply := networkingv1apply.ServiceCIDR(c.Name).WithStatus(networkingv1apply.ServiceCIDRStatus().WithConditions(metav1apply.Condition().
		WithType(networkingv1.ServiceCIDRConditionReady).WithStatus(status).WithReason(reason).WithMessage(message).
		WithLastTransitionTime(metav1.NewTime(r.Clock.Now()))))
	_, err := r.ApplyStatus(ctx, apply, metav1.ApplyOptions{FieldManager: serviceCIDRController, Force: true})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (r *ServiceCIDR) all(ctx context.Context) (out []*networkingv1.ServiceCIDR, err error) {
	var list networkingv1.ServiceCIDRList
	err = r.Client.List(ctx, &list)
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	return out, err
}

func (r *ServiceCIDR) dispensable(ctx context.Context, c *networkingv1.ServiceCIDR) (bool, error) {
	all, err := r.all(ctx)
	if err != nil {
		return false, err
	}
	var addresses networkingv1.IPAddressList
	if err := r.Client.List(ctx, &addresses, client.MatchingLabels{networkingv1.LabelManagedBy: allocatorLabel}); err != nil {
		return false, err
	}
	return !needed(c, all, addresses.Items), nil
}

// needed tells whether an address would be left without a ServiceCIDR if c went.
func needed(c *networkingv1.ServiceCIDR, all []*networkingv1.ServiceCIDR, addresses []networkingv1.IPAddress) bool {
	others := slices.DeleteFunc(slices.Clone(all), func(o *networkingv1.ServiceCIDR) bool { return o.Name == c.Name })
	elsewhere := func(within func(netip.Prefix) bool) bool {
		return slices.ContainsFunc(others, func(o *networkingv1.ServiceCIDR) bool { return slices.ContainsFunc(prefixes(o), within) })
	}
	for _, p := range prefixes(c) {
		// A larger one, or the same once more, takes over all its addresses.
		if elsewhere(func(o netip.Prefix) bool { return o.Overlaps(p) && o.Bits() <= p.Bits() }) {
			continue
		}
		for i := range addresses {
			ip, err := netip.ParseAddr(addresses[i].Name)
			if err == nil && offers(p, ip) && !elsewhere(func(o netip.Prefix) bool { return offers(o, ip) }) {
				return true
			}
		}
	}
	return false
}

func prefixes(c *networkingv1.ServiceCIDR) (out []netip.Prefix) {
	for _, text := range c.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// offers tells whether services get ip from the range: not the network's own
// address nor, for IPv4, the broadcast address.
func offers(p netip.Prefix, ip netip.Addr) bool {
	if !p.Contains(ip) || ip == p.Masked().Addr() {
		return false
	}
	return ip.Is6() || p.Contains(ip.Next())
}
