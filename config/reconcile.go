package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
)

// parallel is how many writes run at once at a first start.
const parallel = 32

// Trust is what extension API servers need to verify this cluster's clients and
// aggregator; it is published as ConfigMap
// kube-system/extension-apiserver-authentication.
type Trust struct {
	ClientCA, FrontProxyCA []byte
	// FrontProxyNames are the common names of the aggregator's certificates, as JSON list.
	FrontProxyNames string
}

// Reconcile writes the bootstrap objects to a cluster. What is missing is
// created; roles and bindings get back what they lost, unless annotated
// rbac.authorization.kubernetes.io/autoupdate=false; what users added stays. It
// returns the first errors together; calling it again goes on.
func Reconcile(ctx context.Context, client kubernetes.Interface, o *Objects, trust *Trust) error {
	start := time.Now()
	// Namespaces first: the rest lives in them.
	have := map[string]bool{}
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("bootstrap: list namespaces: %w", err)
	}
	for i := range list.Items {
		have[list.Items[i].Name] = true
	}
	var todo []func() error
	for _, ns := range o.Namespaces {
		if have[ns.Name] {
			continue
		}
		todo = append(todo, func() error {
			_, err := client.CoreV1().Namespaces().Create(ctx, ns.DeepCopy(), metav1.CreateOptions{})
			return unlessExists("namespace", ns.Name, err)
		})
	}
	if err := run(todo); err != nil {
		return err
	}

	todo, err = rbacWork(ctx, client, o)
	if err != nil {
		return err
	}
	for _, pc := range o.PriorityClasses {
		todo = append(todo, func() error {
			_, err := client.SchedulingV1().PriorityClasses().Get(ctx, pc.Name, metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				return wrap("priority class", pc.Name, err)
			}
			_, err = client.SchedulingV1().PriorityClasses().Create(ctx, pc.DeepCopy(), metav1.CreateOptions{})
			return unlessExists("priority class", pc.Name, err)
		})
	}
	if trust != nil {
		todo = append(todo, func() error { return publishTrust(ctx, client, *trust) })
	}
	err = run(todo)
	klog.FromContext(ctx).V(2).Info("Bootstrap objects reconciled", "steps", len(todo), "elapsed", time.Since(start), "err", err)
	return err
}

// run does all steps, a number of them at a time, and joins their errors.
func run(steps []func() error) error {
	slots := make(chan struct{}, parallel)
	results := make(chan error)
	for _, step := range steps {
		go func() {
			slots <- struct{}{}
			err := retry.OnError(retry.DefaultBackoff, func(err error) bool {
				return apierrors.IsConflict(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err)
			}, step)
			<-slots
			results <- err
		}()
	}
	var errs []error
	for range steps {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

func wrap(kind, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bootstrap: %s %s: %w", kind, name, err)
}

func unlessExists(kind, name string, err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return wrap(kind, name, err)
}

// publishTrust keeps foreign keys of the ConfigMap and sets its own.
func publishTrust(ctx context.Context, client kubernetes.Interface, t Trust) error {
	const name = "extension-apiserver-authentication"
	want := map[string]string{
		"client-ca-file":                     string(t.ClientCA),
		"requestheader-client-ca-file":       string(t.FrontProxyCA),
		"requestheader-allowed-names":        t.FrontProxyNames,
		"requestheader-username-headers":     `["X-Remote-User"]`,
		"requestheader-uid-headers":          `["X-Remote-Uid"]`,
		"requestheader-group-headers":        `["X-Remote-Group"]`,
		"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
	}
	configMaps := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	have, err := configMaps.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name}, Data: want}, metav1.CreateOptions{})
		return unlessExists("config map", name, err)
	}
	if err != nil {
		return wrap("config map", name, err)
	}
	merged := maps.Clone(have.Data)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, want)
	if maps.Equal(merged, have.Data) {
		return nil
	}
	have = have.DeepCopy()
	have.Data = merged
	_, err = configMaps.Update(ctx, have, metav1.UpdateOptions{})
	return wrap("config map", name, err)
}
