package allocator

import (
	"context"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1apply "k8s.io/client-go/applyconfigurations/networking/v1"
	networkingv1client "k8s.io/client-go/kubernetes/typed/networking/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// DefaultCIDRName names the ServiceCIDR of the server's own flags.
	DefaultCIDRName = "kubernetes"
	// DefaultCIDRManager is its field manager and the source of its events.
	DefaultCIDRManager = "kubernetes-service-cidr-controller"
)

// DefaultCIDR keeps the ServiceCIDR that --service-cluster-ip-range asks for: it
// creates it, adds a second family, and says that it is ready if nobody did.
type DefaultCIDR struct {
	Ranges []netip.Prefix
	Client networkingv1client.ServiceCIDRInterface
	Events record.EventRecorder // nil records nothing
	Clock  clock.PassiveClock

	toldMismatch, toldNotReady bool
}

// Sync does what is to be done once.
func (d *DefaultCIDR) Sync(ctx context.Context) error {
	if len(d.Ranges) == 0 {
		return nil
	}
	var want []string
	for _, r := range d.Ranges {
		want = append(want, r.Masked().String())
	}
	have, err := d.Client.Get(ctx, DefaultCIDRName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		have, err = d.Client.Create(ctx, &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: DefaultCIDRName}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: want},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			have, err = d.Client.Get(ctx, DefaultCIDRName, metav1.GetOptions{})
		}
	}
	if err != nil {
		return err
	}
	switch {
	case len(want) == 2 && len(have.Spec.CIDRs) == 1 && have.Spec.CIDRs[0] == want[0]:
		grown := have.DeepCopy()
		grown.Spec.CIDRs = want
		if _, err := d.Client.Update(ctx, grown, metav1.UpdateOptions{}); err != nil {
			d.warn(have, "KubernetesDefaultServiceCIDRError", "The default ServiceCIDR can not be upgraded from %s to dual stack %v : %v", want[0], want, err)
			return err
		}
		return nil
	case have.DeletionTimestamp != nil: // the controller's business
		return nil
	case !slices.Equal(want, have.Spec.CIDRs):
		if !d.toldMismatch {
			d.toldMismatch = true
			klog.FromContext(ctx).Info("The default ServiceCIDR is not what --service-cluster-ip-range says", "serviceCIDR", have.Spec.CIDRs, "flag", want)
			d.warn(have, "KubernetesDefaultServiceCIDRInconsistent", "The default ServiceCIDR %v does not match the controller flag configurations %s", have.Spec.CIDRs, want)
		}
		return nil
	}
	return d.syncReady(ctx, have)
}

// syncReady never overrules what somebody else said about readiness.
func (d *DefaultCIDR) syncReady(ctx context.Context, have *networkingv1.ServiceCIDR) error {
	now := meta.FindStatusCondition(have.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	if now != nil && now.Status == metav1.ConditionFalse && !d.toldNotReady {
		d.toldNotReady = true
		d.warn(have, now.Reason, "Configuration matches, but %s", now.Message)
	}
	if now != nil && now.Status != metav1.ConditionUnknown {
		return nil
	}
	status := networkingv1apply.ServiceCIDRStatus().WithConditions(metav1apply.Condition().
		WithType(networkingv1.ServiceCIDRConditionReady).
		WithStatus(metav1.ConditionTrue).
		WithMessage("Kubernetes default Service CIDR is ready").
		WithLastTransitionTime(metav1.NewTime(d.Clock.Now())))
	_, err := d.Client.ApplyStatus(ctx, networkingv1apply.ServiceCIDR(DefaultCIDRName).WithStatus(status),
		metav1.ApplyOptions{FieldManager: DefaultCIDRManager, Force: true})
	if err != nil {
		d.warn(have, "KubernetesDefaultServiceCIDRError", "The default ServiceCIDR Status can not be set to Ready=True")
	}
	return err
}

func (d *DefaultCIDR) warn(about *networkingv1.ServiceCIDR, reason, format string, args ...any) {
	if d.Events != nil {
		d.Events.Eventf(about, corev1.EventTypeWarning, reason, format, args...)
	}
}
