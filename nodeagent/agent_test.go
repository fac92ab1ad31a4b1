package nodeagent

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	crifake "proa/nodeagent/cri/fake"
)

// rig is an agent over a runtime in memory and an API in memory.
type rig struct {
	t       *testing.T
	client  *fake.Clientset
	runtime *crifake.Runtime
	dir     string
	stop    func()
}

func newRig(t *testing.T, images ...string) *rig {
	r := &rig{t: t, client: fake.NewClientset(), runtime: crifake.New(clock.RealClock{}, images...), dir: t.TempDir()}
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	a, err := New(Options{
		Client: r.client, NodeName: "n1", NodeIP: net.ParseIP("192.0.2.1"), Runtime: r.runtime,
		RootDir: r.dir, PodLogsDir: r.dir + "/logs", ClusterDNS: []net.IP{net.ParseIP("10.96.0.10")},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	_, ctx := ktesting.NewTestContext(r.t)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
		r.stop = func() {}
	}
	r.t.Cleanup(func() { r.stop() })
	select {
	case <-a.Ready():
	case <-time.After(20 * time.Second):
		r.t.Fatal("agent not ready")
	}
}

// until waits for a condition on a pod; what is what it should become.
func (r *rig) until(name, what string, ok func(*v1.Pod) bool) *v1.Pod {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		pod, err := r.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			pod = nil
		}
		if ok(pod) {
			return pod
		}
		if time.Now().After(deadline) {
			var status any
			if pod != nil {
				status = pod.Status
			}
			r.t.Fatalf("pod %s did not become %s; now %+v; calls %q", name, what, status, r.runtime.Calls())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *rig) create(pod *v1.Pod) {
	r.t.Helper()
	if _, err := r.client.CoreV1().Pods("default").Create(context.Background(), pod, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func testPod(name string, containers ...v1.Container) *v1.Pod {
	grace := int64(30)
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name), Generation: 1}}
	pod.Spec.NodeName, pod.Spec.RestartPolicy, pod.Spec.DNSPolicy = "n1", v1.RestartPolicyAlways, v1.DNSClusterFirst
	pod.Spec.TerminationGracePeriodSeconds = &grace
	pod.Spec.Containers = containers
	return pod
}

func app() v1.Container {
	return v1.Container{Name: "app", Image: "app:1", ImagePullPolicy: v1.PullIfNotPresent, TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageReadFile}
}

func running(p *v1.Pod) bool {
	if p == nil || p.Status.Phase != v1.PodRunning {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

func TestPodRunsAndIsDeleted(t *testing.T) {
	r := newRig(t, "docker.io/library/app:1")
	r.create(testPod("web", app()))
	pod := r.until("web", "ready", running)
	if pod.Status.PodIP == "" || pod.Status.HostIP != "192.0.2.1" {
		t.Errorf("addresses: pod %q host %q", pod.Status.PodIP, pod.Status.HostIP)
	}
	id := r.runtime.Running("app")[0]
	if got := pod.Status.ContainerStatuses[0].ContainerID; got != "containerd://"+id {
		t.Errorf("containerID %q, running %q", got, id)
	}

	// The API server marks a pod and waits for the node; the fake has to be told.
	now, grace := metav1.Now(), int64(30)
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &grace
	if _, err := r.client.CoreV1().Pods("default").Update(context.Background(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.until("web", "gone", func(p *v1.Pod) bool { return p == nil })
	if ids := r.runtime.Running("app"); len(ids) != 0 {
		t.Errorf("still running: %v", ids)
	}
}

func TestRestartedAgentAdoptsContainers(t *testing.T) {
	r := newRig(t, "docker.io/library/app:1")
	for i := range 3 {
		r.create(testPod(fmt.Sprintf("p%d", i), app()))
	}
	for i := range 3 {
		r.until(fmt.Sprintf("p%d", i), "ready", running)
	}
	before := r.runtime.Calls()
	r.stop()
	// While the agent is away one pod goes and one comes.
	zero := int64(0)
	if err := r.client.CoreV1().Pods("default").Delete(context.Background(), "p2", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	r.create(testPod("p3", app()))
	r.start()
	r.until("p3", "ready", running)
	deadline := time.Now().Add(20 * time.Second)
	for len(r.runtime.Running("app")) != 3 {
		if time.Now().After(deadline) {
			t.Fatalf("running %v", r.runtime.Running("app"))
		}
		time.Sleep(5 * time.Millisecond)
	}
	runs := 0
	for _, c := range r.runtime.Calls()[len(before):] {
		if c == "RunPodSandbox p0" || c == "RunPodSandbox p1" || c == "RunPodSandbox p2" {
			t.Errorf("an adopted pod was started again: %s", c)
		}
		if c == "StartContainer app" {
			runs++
		}
	}
	if runs != 1 {
		t.Errorf("%d containers started after the restart, want 1", runs)
	}
}

func TestCrashedContainerComesBack(t *testing.T) {
	r := newRig(t, "docker.io/library/app:1")
	r.create(testPod("web", app()))
	r.until("web", "ready", running)
	r.runtime.Exit(r.runtime.Running("app")[0], 3)
	pod := r.until("web", "restarted", func(p *v1.Pod) bool {
		return running(p) && p.Status.ContainerStatuses[0].RestartCount == 1
	})
	if last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 3 || last.Reason != "Error" {
		t.Errorf("last state %v", last)
	}
	r.runtime.Exit(r.runtime.Running("app")[0], 3)
	r.until("web", "in CrashLoopBackOff", func(p *v1.Pod) bool {
		w := p.Status.ContainerStatuses[0].State.Waiting
		return w != nil && w.Reason == "CrashLoopBackOff"
	})
}

func TestMissingImage(t *testing.T) {
	r := newRig(t)
	r.create(testPod("web", app()))
	r.until("web", "ImagePullBackOff", func(p *v1.Pod) bool {
		if p == nil || len(p.Status.ContainerStatuses) == 0 {
			return false
		}
		w := p.Status.ContainerStatuses[0].State.Waiting
		return w != nil && w.Reason == "ImagePullBackOff"
	})
}
