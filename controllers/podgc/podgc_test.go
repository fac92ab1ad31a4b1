package podgc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func pod(name, node string, change func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(epoch)}}
	p.Spec.NodeName, p.Status.Phase = node, corev1.PodRunning
	if change != nil {
		change(&p)
	}
	return p
}

func deleting(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: epoch} }

func finished(age time.Duration, reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.CreationTimestamp = corev1.PodFailed, reason, metav1.NewTime(epoch.Add(-age))
	}
}

func TestSweep(t *testing.T) {
	node := func(ready corev1.ConditionStatus, taint string) *corev1.Node {
		n := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
		if taint != "" {
			n.Spec.Taints = []corev1.Taint{{Key: taint, Effect: corev1.TaintEffectNoExecute}}
		}
		return n
	}
	nodes := map[string]*corev1.Node{
		"up": node(corev1.ConditionTrue, ""), "down": node(corev1.ConditionUnknown, ""),
		"dead": node(corev1.ConditionUnknown, corev1.TaintNodeOutOfService), "undead": node(corev1.ConditionTrue, corev1.TaintNodeOutOfService),
	}
	ago := map[string]time.Time{"lost": epoch.Add(-quarantine), "slow": epoch.Add(-quarantine), "new": epoch.Add(-quarantine / 2)}
	gone := func(name string) bool { return name != "slow" }
	for _, c := range []struct {
		name    string
		pods    []corev1.Pod
		want    string
		missing string
	}{
		{"nothing", []corev1.Pod{pod("a", "up", nil), pod("b", "", nil), pod("c", "up", deleting)}, "", ""},
		{"deleted without a node", []corev1.Pod{pod("a", "", deleting)}, "a:unscheduled", ""},
		{"out of service", []corev1.Pod{pod("a", "dead", deleting), pod("b", "dead", nil), pod("c", "down", deleting), pod("d", "undead", deleting)}, "a:outOfService", ""},
		{"node missing", []corev1.Pod{pod("a", "lost", nil), pod("b", "slow", nil), pod("c", "new", nil), pod("d", "other", deleting)}, "a:orphaned", "lost new other slow"},
		{"kept", []corev1.Pod{pod("a", "up", finished(1, "")), pod("b", "up", finished(2, ""))}, "", ""},
		{"evicted, then oldest", []corev1.Pod{
			pod("young", "up", finished(1, "")), pod("old", "up", finished(3, "")), pod("evicted", "up", finished(0, "Evicted")),
			pod("older", "up", finished(4, "")), pod("also old", "up", finished(3, "")),
		}, "evicted:terminated older:terminated also old:terminated", ""},
		{"once", []corev1.Pod{pod("a", "lost", finished(5, "")), pod("b", "up", finished(1, "")), pod("c", "up", finished(1, ""))}, "a:orphaned", "lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sweep(c.pods, nodes, ago, gone, 2, epoch)
			var got []string
			for _, v := range p.victims {
				got = append(got, v.pod.Name+":"+[]string{"terminated", "outOfService", "orphaned", "unscheduled"}[v.why])
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("victims are %q, want %q", s, c.want)
			}
			if s := strings.Join(slices.Sorted(maps.Keys(p.missing)), " "); s != c.missing {
				t.Errorf("missing nodes are %q, want %q", s, c.missing)
			}
		})
	}
}

// TestCollect: an orphan is set Failed with the condition, and deleted, after the quarantine.
func TestCollect(t *testing.T) {
	p := pod("p", "lost", func(p *corev1.Pod) { p.Finalizers = []string{"example.com/keep"} })
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithStatusSubresource(&corev1.Pod{}).WithObjects(&p).Build()
	clock := clocktesting.NewFakePassiveClock(epoch)
	r := New(c, c, clock, DefaultThreshold)
	ctx := context.Background()
	if !r.suspicious(ctx, &p) {
		t.Fatal("a pod on an unknown node is not suspicious")
	}
	var got corev1.Pod
	for i, want := range []corev1.PodPhase{corev1.PodRunning, corev1.PodRunning, corev1.PodFailed} {
		res, err := r.Reconcile(ctx, ctrl.Request{})
		if err != nil || res.RequeueAfter != period {
			t.Fatalf("sweep %d: %+v, %v", i, res, err)
		}
		if err := c.Get(ctx, client.ObjectKeyFromObject(&p), &got); err != nil || got.Status.Phase != want {
			t.Fatalf("after sweep %d the pod is %s (%v), want %s", i, got.Status.Phase, err, want)
		}
		clock.SetTime(clock.Now().Add(res.RequeueAfter))
	}
	condition := got.Status.Conditions[0]
	if got.DeletionTimestamp == nil || condition.Type != corev1.DisruptionTarget || condition.Reason != "DeletionByPodGC" || condition.Message != "PodGC: node no longer exists" {
		t.Errorf("pod is %+v", got)
	}
	got.Finalizers = nil
	if err := c.Update(ctx, &got); err != nil {
		t.Fatal(err)
	}
	if res, err := r.Reconcile(ctx, ctrl.Request{}); err != nil || res.RequeueAfter != 0 {
		t.Errorf("with nothing left: %+v, %v", res, err)
	}
}

// TestManyTerminated: exactly the excess is deleted.
func TestManyTerminated(t *testing.T) {
	var objs []client.Object
	for i := range 30 {
		p := pod(fmt.Sprintf("p%02d", i), "up", finished(time.Duration(-i)*time.Second, ""))
		objs = append(objs, &p)
	}
	objs = append(objs, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "up"}})
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithStatusSubresource(&corev1.Pod{}).WithObjects(objs...).Build()
	r := New(c, c, clocktesting.NewFakePassiveClock(epoch), 10)
	if _, err := r.Reconcile(t.Context(), ctrl.Request{}); err != nil {
		t.Fatal(err)
	}
	var left corev1.PodList
	if err := c.List(t.Context(), &left); err != nil || len(left.Items) != 10 || left.Items[0].Name != "p20" {
		t.Errorf("%d pods are left (%v), want the 10 youngest", len(left.Items), err)
	}
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "p19"}, &corev1.Pod{}); !apierrors.IsNotFound(err) {
		t.Errorf("p19: %v", err)
	}
}
