package server

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	trackingName = "kube-apiserver-legacy-service-account-token-tracking"
	trackingKey  = "since"
	trackingDay  = "2006-01-02"
	// trackingInterval is how often it is looked for again: as rarely as upstream
	// makes it anew.
	trackingInterval = 30 * time.Minute
)

// LegacyTokenTracking keeps the ConfigMap kube-system/kube-apiserver-legacy-service-account-token-tracking,
// which says since which day this server labels the Secrets whose tokens are
// used (KEP-2799). The cleaner of such Secrets goes by it.
type LegacyTokenTracking struct{ Clock clock.PassiveClock }

// Start writes it once and then keeps it until ctx ends.
func (l LegacyTokenTracking) Start(ctx context.Context, loopback *rest.Config) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	if err := l.sync(ctx, client); err != nil {
		return err
	}
	go wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if err := l.sync(ctx, client); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not keep the config map", "configMap", klog.KRef(metav1.NamespaceSystem, trackingName))
		}
	}, trackingInterval, 0.1, false)
	return nil
}

func (l LegacyTokenTracking) sync(ctx context.Context, client kubernetes.Interface) error {
	maps := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	today := map[string]string{trackingKey: l.Clock.Now().UTC().Format(trackingDay)}
	have, err := maps.Get(ctx, trackingName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: trackingName}, Data: today}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
	case err == nil:
		if _, wrong := time.Parse(trackingDay, have.Data[trackingKey]); wrong == nil {
			return nil
		}
		if have.Data == nil {
			have.Data = map[string]string{}
		}
		have.Data[trackingKey] = today[trackingKey]
		if _, err = maps.Update(ctx, have, metav1.UpdateOptions{}); apierrors.IsConflict(err) {
			return nil
		}
	}
	return err
}
