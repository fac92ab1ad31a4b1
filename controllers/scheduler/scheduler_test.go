package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"
)

// api is a fake API server seen from the scheduler: what it was told to bind,
// to patch and which events it got. The channels are large enough for a test.
type api struct {
	t           *testing.T
	nodes, pods *controllertest.FakeInformer
	bound       chan string
	patched     chan []byte
	events      chan *eventsv1.Event
	refuse      atomic.Int32 // that many bindings
	metrics     *prometheus.Registry
	client      *fake.Clientset
}

func start(t *testing.T, change ...func(*Options)) *api {
	a := &api{t: t, bound: make(chan string, 99), patched: make(chan []byte, 99), events: make(chan *eventsv1.Event, 99), metrics: prometheus.NewRegistry()}
	client := fake.NewClientset()
	a.client = client
	client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "binding" {
			return false, nil, nil
		}
		if a.refuse.Add(-1) >= 0 {
			return true, nil, apierrors.NewInternalError(errors.New("no luck"))
		}
		b := action.(clienttesting.CreateAction).GetObject().(*v1.Binding)
		a.bound <- fmt.Sprintf("%s/%s(%s) -> %s %s", b.Namespace, b.Name, b.UID, b.Target.Kind, b.Target.Name)
		return true, b, nil
	})
	client.PrependReactor("patch", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		p := action.(clienttesting.PatchAction)
		if p.GetSubresource() == "status" && p.GetPatchType() == types.StrategicMergePatchType {
			a.patched <- p.GetPatch()
		}
		return true, &v1.Pod{}, nil
	})
	client.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		e := action.(clienttesting.CreateAction).GetObject().(*eventsv1.Event)
		a.events <- e
		return true, e, nil
	})

	informers := &informertest.FakeInformers{}
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	if a.nodes, err = informers.FakeInformerFor(ctx, &v1.Node{}); err != nil {
		t.Fatal(err)
	}
	if a.pods, err = informers.FakeInformerFor(ctx, &v1.Pod{}); err != nil {
		t.Fatal(err)
	}
	options := Options{Config: &rest.Config{}, Registerer: a.metrics}
	for _, c := range change {
		c(&options)
	}
	if err := options.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := newScheduler(options, client, informers)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	receive(t, s.Ready())
	return a
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came within 30 s")
		panic("not reached")
	}
}

func (a *api) event(reason string) *eventsv1.Event {
	a.t.Helper()
	for {
		if e := receive(a.t, a.events); e.Reason == reason {
			return e
		}
	}
}

func TestBind(t *testing.T) {
	a := start(t)
	a.nodes.Add(testNode("n1", nil))
	pod := testPod("p", map[string]string{"cpu": "1"})
	pod.UID = "u1"
	a.pods.Add(pod)
	if got, want := receive(t, a.bound), "default/p(u1) -> Node n1"; got != want {
		t.Errorf("bound %s, want %s", got, want)
	}
	e := a.event("Scheduled")
	if e.Note != "Successfully assigned default/p to n1" || e.Type != "Normal" || e.Action != "Binding" || e.ReportingController != "default-scheduler" || e.Regarding.Name != "p" {
		t.Errorf("event is %+v", e)
	}
}

func TestUnschedulable(t *testing.T) {
	a := start(t)
	a.nodes.Add(testNode("n1", map[string]string{"cpu": "1"}))
	pod := testPod("p", map[string]string{"cpu": "2"})
	pod.UID, pod.Generation = "u1", 3
	a.pods.Add(pod)
	want := "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
	var patch v1.Pod
	if err := json.Unmarshal(receive(t, a.patched), &patch); err != nil {
		t.Fatal(err)
	}
	c := patch.Status.Conditions
	if len(c) != 1 || c[0].Type != v1.PodScheduled || c[0].Status != v1.ConditionFalse || c[0].Reason != "Unschedulable" || c[0].Message != want || c[0].ObservedGeneration != 3 || patch.UID != "u1" {
		t.Errorf("patch is %+v", patch)
	}
	if e := a.event("FailedScheduling"); e.Note != want || e.Type != "Warning" || e.Action != "Scheduling" {
		t.Errorf("event is %+v", e)
	}
	// The condition comes back as an update, which is no reason to try again; a larger node is.
	pod2 := pod.DeepCopy()
	pod2.Status.Conditions = c
	a.pods.Update(pod, pod2)
	a.nodes.Update(testNode("n1", nil), testNode("n1", nil))
	if got := receive(t, a.bound); !strings.HasSuffix(got, "n1") {
		t.Errorf("bound %s", got)
	}
}

func TestRefusedBinding(t *testing.T) {
	a := start(t)
	a.refuse.Store(1)
	a.nodes.Add(testNode("n1", nil))
	pod := testPod("p", map[string]string{"cpu": "1"})
	pod.UID = "u1"
	a.pods.Add(pod)
	e := a.event("FailedScheduling")
	if want := `running Bind plugin "DefaultBinder": Internal error occurred: no luck`; e.Note != want {
		t.Errorf("note is %q, want %q", e.Note, want)
	}
	var patch v1.Pod
	if err := json.Unmarshal(receive(t, a.patched), &patch); err != nil || patch.Status.Conditions[0].Reason != "SchedulerError" {
		t.Errorf("patch is %+v (%v)", patch, err)
	}
	// The second try, after the backoff, succeeds.
	receive(t, a.bound)
	families, err := a.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "scheduler_schedule_attempts_total" {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "result" {
						got[l.GetValue()] = m.GetCounter().GetValue()
					}
				}
			}
		}
	}
	if got["error"] != 1 {
		t.Errorf("attempts are %v, want 1 error", got)
	}
}

// TestLeader: the scheduler binds once it holds the Lease, under its identity.
func TestLeader(t *testing.T) {
	a := start(t, func(o *Options) { o.LeaderElect, o.Identity = true, "me" })
	a.nodes.Add(testNode("n1", nil))
	pod := testPod("p", nil)
	pod.UID = "u1"
	a.pods.Add(pod)
	receive(t, a.bound)
	lease, err := a.client.CoordinationV1().Leases("kube-system").Get(t.Context(), "kube-scheduler", metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity != "me" {
		t.Errorf("lease is %+v (%v)", lease, err)
	}
}

// TestAlien: finished pods take no room; others' pods and gated ones are left alone.
func TestAlien(t *testing.T) {
	a := start(t)
	done := testPod("done", map[string]string{"cpu": "4", "node": "n1"})
	done.UID, done.Status.Phase = "u0", v1.PodSucceeded
	a.pods.Add(done)
	other := testPod("other", map[string]string{"scheduler": "mine"})
	other.UID = "u1"
	a.pods.Add(other)
	gated := testPod("gated", map[string]string{"gated": ""})
	gated.UID = "u2"
	a.pods.Add(gated)
	ours := testPod("ours", map[string]string{"cpu": "4"})
	ours.UID = "u3"
	a.pods.Add(ours)
	a.nodes.Add(testNode("n1", nil))
	if got, want := receive(t, a.bound), "default/ours(u3) -> Node n1"; got != want {
		t.Errorf("bound %s, want %s", got, want)
	}
}

func TestConditionPatch(t *testing.T) {
	old := metav1.NewTime(time.Unix(1000, 0))
	now := metav1.NewTime(time.Unix(2000, 0))
	with := func(c v1.PodCondition) *v1.Pod {
		c.Type, c.LastTransitionTime = v1.PodScheduled, old
		return &v1.Pod{Status: v1.PodStatus{Conditions: []v1.PodCondition{c}}}
	}
	for _, c := range []struct {
		name   string
		pod    *v1.Pod
		needed bool
		since  metav1.Time
	}{
		{"new", &v1.Pod{}, true, now},
		{"same", with(v1.PodCondition{Status: v1.ConditionFalse, Reason: "Unschedulable", Message: "m"}), false, old},
		{"other message", with(v1.PodCondition{Status: v1.ConditionFalse, Reason: "Unschedulable", Message: "x"}), true, old},
		{"was true", with(v1.PodCondition{Status: v1.ConditionTrue}), true, now},
	} {
		t.Run(c.name, func(t *testing.T) {
			patch, needed := conditionPatch(c.pod, "Unschedulable", "m", now)
			if needed != c.needed {
				t.Fatalf("needed is %v", needed)
			}
			if !needed {
				return
			}
			var got v1.Pod
			if err := json.Unmarshal(patch, &got); err != nil {
				t.Fatal(err)
			}
			if !got.Status.Conditions[0].LastTransitionTime.Equal(&c.since) {
				t.Errorf("lastTransitionTime is %v, want %v", got.Status.Conditions[0].LastTransitionTime, c.since)
			}
		})
	}
}
