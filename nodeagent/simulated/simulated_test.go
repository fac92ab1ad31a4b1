package simulated

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func bound(change func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "u", Generation: 1},
		Spec: v1.PodSpec{NodeName: "sim-1", RestartPolicy: v1.RestartPolicyNever,
			InitContainers: []v1.Container{{Name: "i", Image: "init"}}, Containers: []v1.Container{{Name: "c", Image: "app"}}},
		Status: v1.PodStatus{Phase: v1.PodPending, Conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue}}},
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestPlan(t *testing.T) {
	started := metav1.NewTime(epoch.Add(time.Minute))
	running := func(p *v1.Pod) {
		p.Status.Phase, p.Status.StartTime = v1.PodRunning, &started
		p.Annotations = map[string]string{ExitAnnotation: "5s"}
	}
	for _, c := range []struct {
		name   string
		change func(*v1.Pod)
		want   step
		at     time.Time
	}{
		{"bound", nil, start, epoch.Add(2 * time.Second)},
		{"runs on", func(p *v1.Pod) { running(p); p.Annotations = nil }, nothing, time.Time{}},
		{"exits", running, finish, started.Add(5 * time.Second)},
		{"is always restarted", func(p *v1.Pod) { running(p); p.Spec.RestartPolicy = v1.RestartPolicyAlways }, nothing, time.Time{}},
		{"bad duration", func(p *v1.Pod) { running(p); p.Annotations[ExitAnnotation] = "soon" }, nothing, time.Time{}},
		{"done", func(p *v1.Pod) { p.Status.Phase = v1.PodSucceeded }, nothing, time.Time{}},
		{"deleted", func(p *v1.Pod) { running(p); p.DeletionTimestamp = &started }, remove, time.Time{}},
		{"deleted when done", func(p *v1.Pod) { p.Status.Phase = v1.PodFailed; p.DeletionTimestamp = &started }, remove, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, at := plan(bound(c.change), epoch, 2*time.Second)
			if got != c.want || !at.Equal(c.at) {
				t.Errorf("step %d at %v, want %d at %v", got, at, c.want, c.at)
			}
		})
	}
}

func condition(p *v1.Pod, t v1.PodConditionType) v1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return ""
}

// TestLife follows one pod under a fake clock: bound, running, done, deleted.
func TestLife(t *testing.T) {
	ctx := t.Context()
	clock := clocktesting.NewFakeClock(epoch)
	pod := bound(func(p *v1.Pod) { p.Annotations = map[string]string{ExitAnnotation: "1m"} })
	client := fake.NewClientset(pod)
	options := Options{Config: &rest.Config{}, Count: 2, Latency: 3 * time.Second, Clock: clock}
	if err := options.complete(); err != nil {
		t.Fatal(err)
	}
	n := newNodes(options, client, nil)
	defer n.queue.ShutDown()
	k := types.NamespacedName{Namespace: "default", Name: "p"}
	n.seen(pod)
	current := func() *v1.Pod {
		t.Helper()
		p, err := client.CoreV1().Pods("default").Get(ctx, "p", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if again, err := n.advance(ctx, k); again != 3*time.Second || err != nil {
		t.Fatalf("come back in %v (%v), want 3s", again, err)
	}
	clock.Step(3 * time.Second)
	if _, err := n.advance(ctx, k); err != nil {
		t.Fatal(err)
	}
	p := current()
	if p.Status.Phase != v1.PodRunning || condition(p, v1.PodReady) != v1.ConditionTrue || condition(p, v1.PodScheduled) != v1.ConditionTrue ||
		p.Status.PodIP != "100.64.0.1" || p.Status.HostIP != "198.18.0.2" || !p.Status.ContainerStatuses[0].Ready || p.Status.InitContainerStatuses[0].State.Terminated == nil {
		t.Fatalf("status is %+v", p.Status)
	}
	n.seen(p)
	if again, _ := n.advance(ctx, k); again != time.Minute {
		t.Fatalf("come back in %v, want 1m", again)
	}
	clock.Step(time.Minute)
	if _, err := n.advance(ctx, k); err != nil {
		t.Fatal(err)
	}
	p = current()
	if s := p.Status.ContainerStatuses[0]; p.Status.Phase != v1.PodSucceeded || condition(p, v1.PodReady) != v1.ConditionFalse || s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 || s.Ready {
		t.Fatalf("status is %+v", p.Status)
	}
	n.seen(p)
	p = p.DeepCopy()
	p.DeletionTimestamp = &metav1.Time{Time: clock.Now()}
	n.seen(p)
	if _, err := n.advance(ctx, k); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods("default").Get(ctx, "p", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("the pod is still there: %v", err)
	}
	n.gone(p)
	if len(n.pods) != 0 || len(n.addresses.used) != 0 {
		t.Errorf("left behind: %v, %v", n.pods, n.addresses.used)
	}
}

// TestFailingWrite: a write that fails is done again later, not forgotten.
func TestFailingWrite(t *testing.T) {
	pod := bound(nil)
	client := fake.NewClientset(pod)
	fail := true
	client.PrependReactor("update", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		if fail {
			return true, nil, errors.New("not now")
		}
		return false, nil, nil
	})
	options := Options{Config: &rest.Config{}, Count: 2}
	if err := options.complete(); err != nil {
		t.Fatal(err)
	}
	n := newNodes(options, client, nil)
	defer n.queue.ShutDown()
	n.seen(pod)
	k := types.NamespacedName{Namespace: "default", Name: "p"}
	if again, err := n.advance(t.Context(), k); again != retry || err == nil {
		t.Errorf("come back in %v (%v), want %v and an error", again, err, retry)
	}
	fail = false
	if again, err := n.advance(t.Context(), k); again != 0 || err != nil {
		t.Errorf("come back in %v (%v), want success", again, err)
	}
}

// TestRun: nodes register, hold leases, and run and remove the pods bound to them, and no others.
func TestRun(t *testing.T) {
	alien := bound(func(p *v1.Pod) { p.Name, p.Spec.NodeName = "alien", "sim-9" })
	pod := bound(nil)
	client := fake.NewClientset(alien, pod)
	writes := make(chan string, 1000)
	for _, verb := range []string{"create", "update", "delete"} {
		client.PrependReactor(verb, "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
			name := ""
			switch a := a.(type) {
			case clienttesting.CreateAction:
				if o, ok := a.GetObject().(metav1.Object); ok {
					name = o.GetName()
				}
			case clienttesting.DeleteAction:
				name = a.GetName()
			}
			if u, ok := a.(clienttesting.UpdateAction); ok && verb == "update" {
				if o, ok := u.GetObject().(metav1.Object); ok {
					name = o.GetName()
				}
			}
			writes <- fmt.Sprintf("%s %s %s", verb, a.GetResource().Resource, name)
			return false, nil, nil
		})
	}
	informers := &informertest.FakeInformers{}
	pods, err := informers.FakeInformerFor(t.Context(), &v1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Config: &rest.Config{}, Count: 2, LeaseInterval: 20 * time.Millisecond, StatusInterval: 40 * time.Millisecond}
	if err := options.complete(); err != nil {
		t.Fatal(err)
	}
	n := newNodes(options, client, informers)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	seen := map[string]int{}
	await := func(want string, times int) {
		t.Helper()
		timeout := time.After(30 * time.Second)
		for seen[want] < times {
			select {
			case w := <-writes:
				seen[w]++
			case <-timeout:
				t.Fatalf("waited for %d times %q; seen: %v", times, want, seen)
			}
		}
	}
	await("create nodes sim-0", 1)
	await("create nodes sim-1", 1)
	select {
	case <-n.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("not ready")
	}
	pods.Add(alien)
	pods.Add(pod)
	await("update pods p", 1)
	deleted := pod.DeepCopy()
	deleted.DeletionTimestamp = &metav1.Time{Time: epoch}
	pods.Update(pod, deleted)
	await("delete pods p", 1)
	await("create leases sim-1", 1)
	await("update leases sim-1", 2)
	await("update nodes sim-1", 2)
	if seen["update pods alien"] != 0 {
		t.Error("wrote the status of a pod on someone else's node")
	}
	node, err := client.CoreV1().Nodes().Get(ctx, "sim-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ready := slices.IndexFunc(node.Status.Conditions, func(c v1.NodeCondition) bool {
		return c.Type == v1.NodeReady && c.Status == v1.ConditionTrue
	})
	if ready < 0 || node.Status.Allocatable.Cpu().Value() != 32 || node.Labels[v1.LabelHostname] != "sim-1" {
		t.Errorf("node is %+v", node)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	a := addresses{used: map[string]bool{}}
	a.note("100.64.0.2")
	first, second := a.take(), a.take()
	a.giveBack(first)
	if third := a.take(); first != "100.64.0.1" || second != "100.64.0.3" || third != "100.64.0.4" {
		t.Errorf("got %s, %s, %s", first, second, third)
	}
	if got := nodeAddress(maxNodes - 1); got != "198.19.255.254" {
		t.Errorf("the last node has %s", got)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {Config: &rest.Config{}, Count: -1}, {Config: &rest.Config{}, Count: maxNodes + 1}} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) succeeded", o)
		}
	}
}
