package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

const (
	writers      = 50
	writeWindow  = 10 * time.Second
	benchPods    = 10000
	benchNodes   = 5000
	podCreators  = 50
	benchedImage = "proa.local/webapp:1.0"
)

// writes measures ConfigMap creates per second and the server's CPU for each,
// and upstream's beside it where it has been built.
func writes(ctx context.Context, b *bench) ([]figure, error) {
	c, err := b.start(ctx, "--no-node")
	if err != nil {
		return nil, err
	}
	rate, cpu, err := createRate(ctx, c, c.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	rateNote, cpuNote := "", ""
	if b.hasUpstream() {
		b.close()
		u, err := b.startUpstream(ctx)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		theirs, theirCPU, err := createRate(ctx, u.cluster, u.etcd.Process.Pid, u.api.Process.Pid)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		rateNote, cpuNote = "; "+ratio(rate, theirs, "/s"), ratio(cpu, theirCPU, "ms")
	}
	return []figure{
		{"ConfigMap creates", "/s", "≥ 900/s", rate, fmt.Sprintf("%d clients over TLS, the load on the same cores%s", writers, rateNote)},
		{"server CPU per create, etcd included", "ms", "", cpu, cpuNote},
	}, nil
}

// createRate is ConfigMap creates per second, and the processes' CPU time per create in ms.
func createRate(ctx context.Context, c *cluster, pids ...int) (rate, cpu float64, err error) {
	used := func() (total time.Duration, err error) {
		for _, pid := range pids {
			t, err := cpuTime(pid)
			if err != nil {
				return 0, err
			}
			total += t
		}
		return total, nil
	}
	before, err := used()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	runCtx, cancel := context.WithDeadline(ctx, begin.Add(writeWindow))
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		client, err := c.client()
		if err != nil {
			return 0, 0, err
		}
		wg.Go(func() {
			for i := 0; runCtx.Err() == nil; i++ {
				_, err := client.CoreV1().ConfigMaps("default").Create(runCtx, &corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("w%d-%d", w, i)}, Data: map[string]string{"key": "value"},
				}, metav1.CreateOptions{})
				switch {
				case err == nil:
					n.Add(1)
				case runCtx.Err() == nil:
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	after, err := used()
	if err != nil {
		return 0, 0, err
	}
	select {
	case err := <-errs:
		return 0, 0, err
	default:
	}
	return float64(n.Load()) / took.Seconds(), float64((after - before).Microseconds()) / 1000 / float64(n.Load()), nil
}

// schedule measures pods bound per second on simulated nodes, creation included.
func schedule(ctx context.Context, b *bench) ([]figure, error) {
	c, err := b.start(ctx, "--no-node", "--simulated-nodes", fmt.Sprint(benchNodes), "--cluster-cidr", "10.128.0.0/9")
	if err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	if err := until(ctx, 3*time.Minute, func() (bool, error) { return settled(ctx, client) }); err != nil {
		return nil, fmt.Errorf("simulated nodes: %w", err)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make(chan error, podCreators)
	for range podCreators {
		wg.Go(func() {
			for i := next.Add(1); i <= benchPods; i = next.Add(1) {
				pod := benchPod(fmt.Sprintf("p-%d", i))
				pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("100Mi")}
				if _, err := client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
	}
	created := time.Since(begin)
	unbound := fields.OneTermEqualSelector("spec.nodeName", "").String()
	if err := until(ctx, 5*time.Minute, func() (bool, error) {
		l, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{FieldSelector: unbound, Limit: 1})
		return err == nil && len(l.Items) == 0, err
	}); err != nil {
		return nil, fmt.Errorf("binding: %w", err)
	}
	took := time.Since(begin)
	return []figure{{fmt.Sprintf("%d pods on %d simulated nodes, create to bound", benchPods, benchNodes), "/s", "≥ 250/s",
		benchPods / took.Seconds(), fmt.Sprintf("all created after %.1f s, bound after %.1f s", created.Seconds(), took.Seconds())}}, nil
}

// settled says whether every simulated node is Ready, has its pod subnet and
// renews its lease, so that the cluster has no other work than the pods.
func settled(ctx context.Context, client kubernetes.Interface) (bool, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return false, err
	}
	ready := 0
	for i := range nodes.Items {
		for _, cond := range nodes.Items[i].Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue && nodes.Items[i].Spec.PodCIDR != "" {
				ready++
			}
		}
	}
	if ready < benchNodes {
		return false, nil
	}
	leases, err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	return err == nil && len(leases.Items) >= benchNodes, err
}

// until polls every 100 ms.
func until(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %s: %w", limit, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
