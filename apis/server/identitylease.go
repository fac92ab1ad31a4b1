package server

import (
	"context"
	"os"
	"time"

	"github.com/google/uuid"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// Upstream's labels, names and times of the Lease in kube-system by which an API
// server shows that it lives.
const (
	identityLabel         = "apiserver.kubernetes.io/identity"
	identityName          = "kube-apiserver"
	identityLeaseDuration = time.Hour
	identityRenewal       = 10 * time.Second
	identityGCPeriod      = time.Hour
	identityHook          = "start-kube-apiserver-identity-lease-controller"
	identityStopHook      = "stop-kube-apiserver-identity-lease-controller"
	identityGCHook        = "start-kube-apiserver-identity-lease-garbage-collector"
)

// addIdentityLease keeps this server's Lease and removes those of servers that
// have not renewed theirs.
func addIdentityLease(s *genericapiserver.GenericAPIServer, client kubernetes.Interface, clock clock.WithTicker) error {
	keeper := lease.NewController(clock, client, s.APIServerID+"_"+uuid.NewString(), int32(identityLeaseDuration.Seconds()), nil,
		identityRenewal, s.APIServerID, metav1.NamespaceSystem, labelIdentity)
	for _, err := range []error{
		s.AddPostStartHook(identityHook, func(ctx genericapiserver.PostStartHookContext) error { return keeper.Start(ctx.Done()) }),
		s.AddPreShutdownHook(identityStopHook, func() error { keeper.Stop(); return nil }),
		s.AddPostStartHook(identityGCHook, func(ctx genericapiserver.PostStartHookContext) error {
			go wait.BackoffUntilWithContext(ctx, func(ctx context.Context) {
				if err := removeDeadIdentities(ctx, client, clock.Now()); err != nil && ctx.Err() == nil {
					klog.FromContext(ctx).Error(err, "Could not remove Leases of API servers that are gone")
				}
			}, wait.NewJitteredBackoffManager(identityGCPeriod, 0, clock), true)
			return nil
		}),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func labelIdentity(l *coordinationv1.Lease) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	if l.Labels == nil {
		l.Labels = map[string]string{}
	}
	l.Labels[identityLabel], l.Labels[corev1.LabelHostname] = identityName, host
	return nil
}

func removeDeadIdentities(ctx context.Context, client kubernetes.Interface, now time.Time) error {
	leases := client.CoordinationV1().Leases(metav1.NamespaceSystem)
	list, err := leases.List(ctx, metav1.ListOptions{LabelSelector: identityLabel + "=" + identityName})
	if err != nil {
		return err
	}
	for i := range list.Items {
		l := &list.Items[i]
		if !identityExpired(l, now) {
			continue
		}
		unchanged := metav1.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion}
		if err := leases.Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &unchanged}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// identityExpired says whether a Lease is over, or cannot be: one without times.
func identityExpired(l *coordinationv1.Lease, now time.Time) bool {
	if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return true
	}
	return l.Spec.RenewTime.Add(time.Duration(ptr.Deref(l.Spec.LeaseDurationSeconds, 0)) * time.Second).Before(now)
}
