package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"proa/controllers/control"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// cluster is a fake API with a fake clock.
type cluster struct {
	t      *testing.T
	client client.Client
	clock  *clocktesting.FakePassiveClock
	events *record.FakeRecorder
}

func newCluster(t *testing.T, objs ...client.Object) *cluster {
	return &cluster{
		t: t, clock: clocktesting.NewFakePassiveClock(epoch), events: record.NewFakeRecorder(100),
		client: fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).
			WithStatusSubresource(&corev1.Pod{}, &corev1.Node{}).
			WithIndex(&corev1.Pod{}, control.NodeIndex, control.ByNode).WithObjects(objs...).Build(),
	}
}

func (c *cluster) advance(d time.Duration) { c.clock.SetTime(c.clock.Now().Add(d)) }

func (c *cluster) recorded() []string {
	var out []string
	for {
		select {
		case e := <-c.events.Events:
			out = append(out, e)
		default:
			return out
		}
	}
}

func (c *cluster) node(name string) *corev1.Node {
	c.t.Helper()
	var n corev1.Node
	if err := c.client.Get(context.Background(), types.NamespacedName{Name: name}, &n); err != nil {
		c.t.Fatal(err)
	}
	return &n
}

// look reconciles the node and returns what it looks like then, and when to come back.
func (c *cluster) look(r *Lifecycle, name string) (*corev1.Node, time.Duration) {
	c.t.Helper()
	res, err := r.Reconcile(context.Background(), ctrl.Request{NamespacedName: types.NamespacedName{Name: name}})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.node(name), res.RequeueAfter
}

func (c *cluster) renew(name string) {
	c.t.Helper()
	now := metav1.NewMicroTime(c.clock.Now())
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}}
	err := c.client.Get(context.Background(), client.ObjectKeyFromObject(lease), lease)
	lease.Spec.RenewTime = &now
	if err != nil {
		err = c.client.Create(context.Background(), lease)
	} else {
		err = c.client.Update(context.Background(), lease)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func readyNode(name string, status corev1.ConditionStatus) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(epoch), Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
	if status != "" {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(epoch), LastTransitionTime: metav1.NewTime(epoch)}}
	}
	return n
}

func taintsOf(n *corev1.Node) string {
	var out []string
	for _, t := range n.Spec.Taints {
		out = append(out, strings.TrimPrefix(t.Key, "node.kubernetes.io/")+":"+string(t.Effect))
	}
	return strings.Join(out, " ")
}

func status(n *corev1.Node, t corev1.NodeConditionType) string {
	c := nodeCondition(n, t)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s %q", c.Status, c.Reason, c.Message)
}

// TestSilentNode follows a node that falls silent, with its pod, and comes back.
func TestSilentNode(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "p"}, Spec: corev1.PodSpec{NodeName: "a"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	c := newCluster(t, readyNode("a", corev1.ConditionTrue), readyNode("b", corev1.ConditionTrue), pod)
	r := NewLifecycle(c.client, c.clock, c.events, DefaultSettings())
	n, after := c.look(r, "a")
	c.look(r, "b")
	if taintsOf(n) != "" || after < 50*time.Second || after > 51*time.Second || n.Labels["beta.kubernetes.io/os"] != "linux" {
		t.Fatalf("healthy node: taints %q, back in %v, labels %v", taintsOf(n), after, n.Labels)
	}
	if got := c.recorded(); len(got) != 2 || got[0] != "Normal RegisteredNode Node a event: Registered Node a in Controller" {
		t.Errorf("events are %q", got)
	}

	// A renewed lease counts from when it was seen.
	c.advance(30 * time.Second)
	c.renew("a")
	if _, after = c.look(r, "a"); after < 50*time.Second {
		t.Errorf("back in %v after a renewal", after)
	}
	c.advance(49 * time.Second)
	c.renew("b")
	c.look(r, "b")
	if n, after = c.look(r, "a"); status(n, corev1.NodeReady) != `True  ""` || after > 2*time.Second {
		t.Errorf("just before: %s, back in %v", status(n, corev1.NodeReady), after)
	}
	c.advance(after)
	n, after = c.look(r, "a")
	if got, want := status(n, corev1.NodeReady), `Unknown NodeStatusUnknown "Kubelet stopped posting node status."`; got != want {
		t.Errorf("Ready is %s, want %s", got, want)
	}
	if got, want := status(n, corev1.NodePIDPressure), `Unknown NodeStatusNeverUpdated "Kubelet never posted node status."`; got != want {
		t.Errorf("PIDPressure is %s, want %s", got, want)
	}
	if got := taintsOf(n); got != "unreachable:NoSchedule unreachable:NoExecute" || n.Spec.Taints[1].TimeAdded == nil {
		t.Errorf("taints are %q", got)
	}
	if after != 5*time.Second {
		t.Errorf("back in %v, want the monitor period", after)
	}
	var p corev1.Pod
	if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(pod), &p); err != nil || p.Status.Conditions[0].Status != corev1.ConditionFalse {
		t.Errorf("pod is %+v (%v), want it not ready", p.Status, err)
	}
	if got := c.recorded(); !slices.Equal(got, []string{"Normal NodeNotReady Node a status is now: NodeNotReady", "Warning NodeNotReady Node is not ready"}) {
		t.Errorf("events are %q", got)
	}

	// The agent reports again: first not ready, then ready.
	for _, step := range []struct {
		status corev1.ConditionStatus
		want   string
	}{
		{corev1.ConditionFalse, "not-ready:NoExecute not-ready:NoSchedule"},
		{corev1.ConditionTrue, ""},
	} {
		c.advance(time.Second)
		n = c.node("a")
		n.Status.Conditions = readyNode("a", step.status).Status.Conditions
		n.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(c.clock.Now())
		if err := c.client.Status().Update(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		n, _ = c.look(r, "a")
		got := strings.Split(taintsOf(n), " ")
		slices.Sort(got)
		if strings.Join(got, " ") != step.want {
			t.Errorf("ready %s: taints are %q, want %q", step.status, taintsOf(n), step.want)
		}
	}
	if err := c.client.Delete(t.Context(), c.node("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	if got := c.recorded(); !slices.Equal(got, []string{"Normal RemovingNode Node a event: Removing Node a from Controller"}) {
		t.Errorf("events are %q", got)
	}
}

// TestNeverReported: a node without any status gets the longer grace period, from its creation.
func TestNeverReported(t *testing.T) {
	c := newCluster(t, readyNode("a", ""))
	r := NewLifecycle(c.client, c.clock, c.events, DefaultSettings())
	c.advance(59 * time.Second)
	n, after := c.look(r, "a")
	if len(n.Status.Conditions) != 0 || after > 2*time.Second {
		t.Fatalf("too early: %+v, back in %v", n.Status.Conditions, after)
	}
	c.advance(after)
	n, _ = c.look(r, "a")
	if got, want := status(n, corev1.NodeReady), `Unknown NodeStatusNeverUpdated "Kubelet never posted node status."`; got != want {
		t.Errorf("Ready is %s, want %s", got, want)
	}
	// The only node: nothing is evicted.
	if got := taintsOf(n); got != "unreachable:NoSchedule" {
		t.Errorf("taints are %q", got)
	}
}

// TestHeartbeatOnly: an update that only moves the heartbeat is noted, not reconciled.
func TestHeartbeatOnly(t *testing.T) {
	c := newCluster(t, readyNode("a", corev1.ConditionTrue))
	r := NewLifecycle(c.client, c.clock, c.events, DefaultSettings())
	c.look(r, "a")
	c.advance(40 * time.Second)
	old, next := c.node("a"), c.node("a")
	next.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(c.clock.Now())
	if r.nodeChanged(event.UpdateEvent{ObjectOld: old, ObjectNew: next}) {
		t.Error("a heartbeat is reconciled")
	}
	if got := r.nodes["a"].heard; !got.Equal(c.clock.Now()) {
		t.Errorf("heard of at %v, want now", got)
	}
	next.Spec.Unschedulable = true
	if !r.nodeChanged(event.UpdateEvent{ObjectOld: old, ObjectNew: next}) {
		t.Error("a cordon is not reconciled")
	}
}

func TestNextTaints(t *testing.T) {
	now := metav1.NewTime(epoch)
	with := func(change func(*corev1.Node), conditions ...string) *corev1.Node {
		n := &corev1.Node{}
		for _, s := range conditions {
			kind, value, _ := strings.Cut(s, "=")
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(kind), Status: corev1.ConditionStatus(value)})
		}
		if change != nil {
			change(n)
		}
		return n
	}
	tainted := func(keys ...string) func(*corev1.Node) {
		return func(n *corev1.Node) {
			for _, k := range keys {
				key, effect, _ := strings.Cut(k, ":")
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffect(effect)})
			}
		}
	}
	const unreachable, notReady = corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady
	for _, c := range []struct {
		name    string
		node    *corev1.Node
		do      execution
		want    string
		changed bool
	}{
		{"fine", with(nil, "Ready=True"), leave, "", false},
		{"not ready", with(nil, "Ready=False"), leave, "not-ready:NoSchedule", true},
		{"not ready, evict", with(nil, "Ready=False"), evict, "not-ready:NoSchedule not-ready:NoExecute", true},
		{"all pressures", with(nil, "Ready=True", "MemoryPressure=True", "DiskPressure=True", "PIDPressure=True", "NetworkUnavailable=True"), leave,
			"disk-pressure:NoSchedule memory-pressure:NoSchedule network-unavailable:NoSchedule pid-pressure:NoSchedule", true},
		{"unknown pressure is none", with(nil, "Ready=True", "MemoryPressure=Unknown"), leave, "", false},
		{"cordoned", with(func(n *corev1.Node) { n.Spec.Unschedulable = true }, "Ready=True"), leave, "unschedulable:NoSchedule", true},
		{"uncordoned", with(tainted("node.kubernetes.io/unschedulable:NoSchedule", "mine:NoSchedule"), "Ready=True"), leave, "mine:NoSchedule", true},
		{"registered", with(tainted(notReady+":NoSchedule"), "Ready=True"), leave, "", true},
		{"recovered", with(tainted("mine:NoExecute", unreachable+":NoSchedule", unreachable+":NoExecute"), "Ready=True"), leave, "mine:NoExecute", true},
		{"swapped at once", with(tainted(unreachable+":NoSchedule", unreachable+":NoExecute"), "Ready=False"), leave, "not-ready:NoSchedule not-ready:NoExecute", true},
		{"kept", with(tainted(unreachable+":NoSchedule", unreachable+":NoExecute"), "Ready=Unknown"), leave, "unreachable:NoSchedule unreachable:NoExecute", false},
		{"spared", with(tainted(unreachable+":NoSchedule", unreachable+":NoExecute"), "Ready=Unknown"), spare, "unreachable:NoSchedule", true},
		{"never reported", with(tainted(notReady+":NoExecute", notReady+":NoSchedule")), leave, "not-ready:NoExecute", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			taints, changed := nextTaints(c.node, c.do, now)
			got := taintsOf(&corev1.Node{Spec: corev1.NodeSpec{Taints: taints}})
			if got != c.want || changed != c.changed {
				t.Errorf("taints are %q (changed %v), want %q (%v)", got, changed, c.want, c.changed)
			}
		})
	}
}

func TestDisruption(t *testing.T) {
	s := DefaultSettings()
	nodes := func(zone string, ready, not int) []corev1.Node {
		var out []corev1.Node
		for i := range ready + not {
			n := readyNode(fmt.Sprint(zone, i), corev1.ConditionTrue)
			if i >= ready {
				n = readyNode(fmt.Sprint(zone, i), corev1.ConditionUnknown)
			}
			n.Labels[corev1.LabelTopologyZone] = zone
			out = append(out, *n)
		}
		return out
	}
	zone := func(z string) string { return zoneOf(&nodes(z, 1, 0)[0]) }
	for _, c := range []struct {
		name     string
		nodes    []corev1.Node
		allFull  bool
		interval time.Duration // in zone x
	}{
		{"healthy", nodes("x", 3, 1), false, 10 * time.Second},
		{"one node down", nodes("x", 0, 1), true, 10 * time.Second},
		{"a zone down", append(nodes("x", 0, 5), nodes("y", 1, 0)...), false, 10 * time.Second},
		{"most of a small cluster", nodes("x", 2, 3), false, 0},
		{"most of a large cluster", nodes("x", 20, 40), false, 100 * time.Second},
		{"two of three", nodes("x", 1, 2), false, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := countZones(c.nodes)
			if got := z.allFull(s); got != c.allFull {
				t.Errorf("all zones down is %v, want %v", got, c.allFull)
			}
			if got := z.interval(zone("x"), s); got != c.interval {
				t.Errorf("interval is %v, want %v", got, c.interval)
			}
		})
	}
}

// TestEvictionRate: of two nodes that fail together, the second is tainted later.
func TestEvictionRate(t *testing.T) {
	c := newCluster(t, readyNode("a", corev1.ConditionFalse), readyNode("b", corev1.ConditionFalse), readyNode("c", corev1.ConditionTrue), readyNode("d", corev1.ConditionTrue))
	r := NewLifecycle(c.client, c.clock, c.events, DefaultSettings())
	a, _ := c.look(r, "a")
	b, _ := c.look(r, "b")
	if !hasExecute(a, corev1.TaintNodeNotReady) || hasExecute(b, corev1.TaintNodeNotReady) {
		t.Errorf("taints are %q and %q", taintsOf(a), taintsOf(b))
	}
	c.advance(10 * time.Second)
	if b, _ = c.look(r, "b"); !hasExecute(b, corev1.TaintNodeNotReady) {
		t.Errorf("after 10 s the taints are %q", taintsOf(b))
	}
}
