package config

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
)

// parallel is how many writes run at once at a first start.
const parallel = 32

// RBAC writes roles and bindings to a cluster, and the namespaces they live in.
// What is missing is created; roles and bindings get back what they lost, unless
// annotated rbac.authorization.kubernetes.io/autoupdate=false; what users added
// stays. It returns the first errors together; calling it again goes on.
func (o *Objects) RBAC(ctx context.Context, client kubernetes.Interface) error {
	start := time.Now()
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
	err = run(todo)
	klog.FromContext(ctx).V(2).Info("Roles and bindings reconciled", "steps", len(todo), "elapsed", time.Since(start), "err", err)
	return err
}

// Priorities writes the priority classes that are missing.
func (o *Objects) Priorities(ctx context.Context, client kubernetes.Interface) error {
	var todo []func() error
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
	return run(todo)
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
