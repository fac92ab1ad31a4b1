package serviceaccount

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control"
)

const (
	// cleanEvery is how often Secrets are looked through.
	cleanEvery = 24 * time.Hour
	// cleanUpDefault is how long a token may be unused, --legacy-service-account-token-clean-up-period.
	cleanUpDefault = 365 * 24 * time.Hour

	dateFormat        = "2006-01-02"
	lastUsedLabel     = "kubernetes.io/legacy-token-last-used"
	invalidSinceLabel = "kubernetes.io/legacy-token-invalid-since"
	// trackingConfigMap says in its key "since" when the API server began to write lastUsedLabel.
	trackingConfigMap = "kube-apiserver-legacy-service-account-token-tracking"
)

// Cleaner takes back tokens that were made for accounts by themselves, before
// Kubernetes 1.24, and that nobody has used for a Period: first they are marked
// invalid, and after another Period deleted. Those that people made stay (KEP-2799).
type Cleaner struct {
	Kube kubernetes.Interface
	// Pods are cached.
	Pods   client.Reader
	Clock  clock.WithTicker
	Period time.Duration
}

// SetupCleaner registers the controller.
func SetupCleaner(env *control.Env) error {
	period := env.LegacyTokenCleanUp
	if period == 0 {
		period = cleanUpDefault
	}
	return env.Manager.Add(&Cleaner{Kube: env.Kube, Pods: env.Client(), Clock: env.Clock, Period: period})
}

// Start implements manager.Runnable.
func (c *Cleaner) Start(ctx context.Context) error {
	ticker := c.Clock.NewTicker(cleanEvery)
	defer ticker.Stop()
	for {
		if err := c.Clean(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Legacy service account tokens could not be looked through")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// Clean looks through all token Secrets once; they are few, so they are read
// when needed and not cached.
func (c *Cleaner) Clean(ctx context.Context) error {
	now := c.Clock.Now().UTC()
	since, err := c.trackedSince(ctx)
	if err != nil || now.Before(since.Add(c.Period)) {
		return err // or not known for long enough who is used
	}
	list, err := c.Kube.CoreV1().Secrets("").List(ctx, metav1.ListOptions{
		ResourceVersion: "0", FieldSelector: "type=" + string(corev1.SecretTypeServiceAccountToken),
	})
	if err != nil {
		return err
	}
	mounted := map[string]sets.Set[string]{}
	for i := range list.Items {
		s := &list.Items[i]
		step := next(s, now, c.Period)
		if step == keep {
			continue
		}
		unused, err := c.unused(ctx, s, mounted)
		if err != nil {
			return err
		}
		if !unused {
			continue
		}
		if err := c.take(ctx, s, step, now); err != nil {
			return fmt.Errorf("secret %s/%s: %w", s.Namespace, s.Name, err)
		}
	}
	return nil
}

// step is what to do with a token.
type step int

const (
	keep step = iota
	mark
	remove
)

// next decides by age and labels alone.
func next(s *corev1.Secret, now time.Time, period time.Duration) step {
	oldest := now.Add(-period)
	day := oldest.Format(dateFormat)
	if s.Type != corev1.SecretTypeServiceAccountToken || s.DeletionTimestamp != nil || !s.CreationTimestamp.Time.Before(oldest) {
		return keep
	}
	if used, ok := s.Labels[lastUsedLabel]; ok {
		if _, err := time.Parse(dateFormat, used); err != nil || used >= day {
			return keep
		}
	}
	invalid := s.Labels[invalidSinceLabel]
	switch _, err := time.Parse(dateFormat, invalid); {
	case err != nil:
		return mark
	case invalid >= day:
		return keep
	}
	return remove
}

// trackedSince is the begin of the first whole day of tracking.
func (c *Cleaner) trackedSince(ctx context.Context) (time.Time, error) {
	m, err := c.Kube.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, trackingConfigMap, metav1.GetOptions{})
	if err != nil {
		return time.Time{}, err
	}
	day, err := time.Parse(dateFormat, m.Data["since"])
	if err != nil {
		return time.Time{}, fmt.Errorf("config map %s/%s: data.since: %w", m.Namespace, m.Name, err)
	}
	return day.AddDate(0, 0, 1), nil
}

// unused says whether the token was made for its account, which lists it, and no
// pod refers to the Secret.
func (c *Cleaner) unused(ctx context.Context, s *corev1.Secret, mounted map[string]sets.Set[string]) (bool, error) {
	req := requestFor(s)
	if req.Account == "" {
		return false, nil
	}
	account, err := c.Kube.CoreV1().ServiceAccounts(s.Namespace).Get(ctx, req.Account, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if req.AccountUID != "" && req.AccountUID != account.UID ||
		!slices.ContainsFunc(account.Secrets, func(r corev1.ObjectReference) bool { return r.Name == s.Name }) {
		return false, nil
	}
	names, ok := mounted[s.Namespace]
	if !ok {
		var pods corev1.PodList
		if err := c.Pods.List(ctx, &pods, client.InNamespace(s.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return false, err
		}
		names = sets.New[string]()
		for i := range pods.Items {
			secretNames(&pods.Items[i].Spec, names)
		}
		mounted[s.Namespace] = names
	}
	return !names.Has(s.Name), nil
}

func (c *Cleaner) take(ctx context.Context, s *corev1.Secret, do step, now time.Time) error {
	log := klog.FromContext(ctx).WithValues("secret", klog.KObj(s))
	secrets := c.Kube.CoreV1().Secrets(s.Namespace)
	if do == mark {
		day := now.Format(dateFormat)
		log.Info("Mark the auto-generated service account token as invalid", "invalidSince", day)
		patch, err := json.Marshal(applycorev1.Secret(s.Name, s.Namespace).WithUID(s.UID).WithLabels(map[string]string{invalidSinceLabel: day}))
		if err != nil {
			return err
		}
		_, err = secrets.Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		return client.IgnoreNotFound(err)
	}
	log.Info("Delete auto-generated service account token", "creationTime", s.CreationTimestamp, "lastUsed", s.Labels[lastUsedLabel], "invalidSince", s.Labels[invalidSinceLabel])
	err := secrets.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &s.ResourceVersion}})
	if apierrors.IsConflict(err) {
		return nil // it was used meanwhile
	}
	return client.IgnoreNotFound(err)
}
