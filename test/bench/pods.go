package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

const (
	podRounds = 20
	replicas  = 50
)

// pods measures one pod's latency and a Deployment's.
func pods(ctx context.Context, b *bench) ([]figure, error) {
	c, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	if _, err := runPod(ctx, client, "warm"); err != nil {
		return nil, err
	}
	floor, err := criFloor(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("CRI floor: %w", err)
	}
	var running, gone []float64
	for i := range podRounds {
		name := fmt.Sprintf("pod-%d", i)
		took, err := runPod(ctx, client, name)
		if err != nil {
			return nil, err
		}
		running = append(running, took.Seconds()*1000)
		took, err = deletePod(ctx, client, name)
		if err != nil {
			return nil, err
		}
		gone = append(gone, took.Seconds()*1000)
	}
	ready, err := deployment(ctx, client)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"bare CRI floor, to started, p50", "ms", "", floor, "RunPodSandbox, CreateContainer, StartContainer"},
		{"pod create to Running, p50", "ms", "≤ 300 ms", median(running), fmt.Sprintf("%d pods one after another; %.2f × the floor", podRounds, median(running)/floor)},
		{"pod delete to gone, p50", "ms", "≤ 500 ms", median(gone), "the container ends at SIGTERM"},
		{fmt.Sprintf("%d-replica Deployment to all Ready", replicas), "s", "≤ 15 s", ready.Seconds(), ""},
	}, nil
}

func benchPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: benchSpec()}
}

func benchSpec() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: benchedImage}}}
}

// runPod creates a pod and returns when a watch shows it Running.
func runPod(ctx context.Context, client kubernetes.Interface, name string) (time.Duration, error) {
	pods := client.CoreV1().Pods("default")
	if err := until(ctx, time.Minute, func() (bool, error) {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	}); err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := pods.Create(ctx, benchPod(name), metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	err := await(ctx, client, name, func(e watch.Event) bool {
		p, ok := e.Object.(*corev1.Pod)
		return ok && p.Status.Phase == corev1.PodRunning
	})
	return time.Since(begin), err
}

func deletePod(ctx context.Context, client kubernetes.Interface, name string) (time.Duration, error) {
	begin := time.Now()
	if err := client.CoreV1().Pods("default").Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return 0, err
	}
	err := await(ctx, client, name, func(e watch.Event) bool { return e.Type == watch.Deleted })
	return time.Since(begin), err
}

func await(ctx context.Context, client kubernetes.Interface, name string, done func(watch.Event) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w, err := client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if done(e) {
			return nil
		}
	}
	return fmt.Errorf("pod %s: not within a minute", name)
}

func deployment(ctx context.Context, client kubernetes.Interface) (time.Duration, error) {
	n, labels := int32(replicas), map[string]string{"app": "many"}
	begin := time.Now()
	_, err := client.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "many"},
		Spec: appsv1.DeploymentSpec{Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: benchSpec()}},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	err = until(ctx, 3*time.Minute, func() (bool, error) {
		d, err := client.AppsV1().Deployments("default").Get(ctx, "many", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == replicas, err
	})
	return time.Since(begin), err
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}
