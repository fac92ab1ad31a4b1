package plugins

import (
	"fmt"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"proa/controllers/scheduler/framework"
)

// fixture is one pod against one node that holds other pods.
type fixture struct {
	name string
	pod  v1.PodSpec
	node v1.Node
	with []v1.PodSpec
	// want is the reasons of the rejection; nil: it fits.
	want []string
	code framework.Code
	// score is the raw score, looked at when the pod fits and score is not -1.
	score int64
}

func list(cpu, memory, pods string, more ...string) v1.ResourceList {
	l := v1.ResourceList{}
	for name, q := range map[v1.ResourceName]string{v1.ResourceCPU: cpu, v1.ResourceMemory: memory, v1.ResourcePods: pods} {
		if q != "" {
			l[name] = resource.MustParse(q)
		}
	}
	for i := 0; i < len(more); i += 2 {
		l[v1.ResourceName(more[i])] = resource.MustParse(more[i+1])
	}
	return l
}

func nodeWith(allocatable v1.ResourceList, change func(*v1.Node)) v1.Node {
	n := v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"disk": "ssd"}}, Status: v1.NodeStatus{Allocatable: allocatable}}
	if change != nil {
		change(&n)
	}
	return n
}

func requesting(l v1.ResourceList) v1.PodSpec {
	return v1.PodSpec{Containers: []v1.Container{{Image: "app", Resources: v1.ResourceRequirements{Requests: l}}}}
}

func run(t *testing.T, plugin framework.Plugin, cases []fixture) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cluster := framework.NewCluster()
			cluster.SetNode(&c.node)
			for i, spec := range c.with {
				spec.NodeName = c.node.Name
				p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprintf("other-%d", i))}, Spec: spec}
				cluster.SetPod(framework.NewPod(p), c.node.Name)
			}
			prepared := plugin.Prepare(framework.NewPending(&v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "new"}, Spec: c.pod}), cluster)
			i, _ := cluster.Index(c.node.Name)
			n := cluster.At(i)
			var got *framework.Status
			if prepared.Reject != nil {
				got = prepared.Reject
			} else if prepared.Filter != nil {
				got = prepared.Filter(n)
			}
			if c.want != nil {
				if got == nil || !slices.Equal(got.Reasons, c.want) || got.Code != c.code || got.Plugin != plugin.Name() {
					t.Fatalf("verdict is %+v, want code %d, reasons %q", got, c.code, c.want)
				}
				return
			}
			if got != nil {
				t.Fatalf("rejected: %+v", got)
			}
			if c.score < 0 {
				if prepared.Score != nil {
					t.Fatalf("the plugin scores, want no opinion")
				}
				return
			}
			if prepared.Score == nil {
				t.Fatalf("no score, want %d", c.score)
			}
			if score := prepared.Score(n); score != c.score {
				t.Errorf("score is %d, want %d", score, c.score)
			}
		})
	}
}

func TestNodeResourcesFit(t *testing.T) {
	node := nodeWith(list("4", "8Gi", "3", "example.com/gpu", "2", "ephemeral-storage", "10Gi"), nil)
	run(t, NodeResourcesFit{}, []fixture{
		{name: "fits exactly", pod: requesting(list("4", "8Gi", "")), node: node, score: 0},
		{name: "half", pod: requesting(list("2", "4Gi", "")), node: node, score: 50},
		{name: "no requests count as some use", pod: requesting(nil), node: node, score: (97 + 97) / 2},
		{name: "cpu never fits", pod: requesting(list("5", "", "")), node: node,
			want: []string{"Insufficient cpu"}, code: framework.UnschedulableAndUnresolvable},
		{name: "cpu taken", pod: requesting(list("3", "", "")), node: node, with: []v1.PodSpec{requesting(list("2", "", ""))},
			want: []string{"Insufficient cpu"}, code: framework.Unschedulable},
		{name: "all short", pod: requesting(list("3", "7Gi", "", "example.com/gpu", "2", "ephemeral-storage", "9Gi")), node: node,
			with: []v1.PodSpec{requesting(list("2", "2Gi", "", "example.com/gpu", "1", "ephemeral-storage", "2Gi"))},
			want: []string{"Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage", "Insufficient example.com/gpu"}, code: framework.Unschedulable},
		{name: "unknown extended resource", pod: requesting(list("", "", "", "example.com/fpga", "1")), node: node,
			want: []string{"Insufficient example.com/fpga"}, code: framework.UnschedulableAndUnresolvable},
		{name: "too many pods", pod: requesting(nil), node: node, with: []v1.PodSpec{{}, {}, {}},
			want: []string{"Too many pods"}, code: framework.Unschedulable},
		{name: "init container is the widest", node: node, pod: v1.PodSpec{
			InitContainers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: list("5", "", "")}}},
			Containers:     []v1.Container{{Resources: v1.ResourceRequirements{Requests: list("1", "", "")}}},
		}, want: []string{"Insufficient cpu"}, code: framework.UnschedulableAndUnresolvable},
		{name: "overhead counts", node: node, pod: v1.PodSpec{
			Containers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: list("4", "", "")}}}, Overhead: list("1m", "", ""),
		}, want: []string{"Insufficient cpu"}, code: framework.UnschedulableAndUnresolvable},
	})
}

func TestBalancedAllocation(t *testing.T) {
	node := nodeWith(list("4", "8Gi", "110"), nil)
	run(t, NodeResourcesBalancedAllocation{}, []fixture{
		{name: "no requests, no opinion", pod: requesting(nil), node: node, score: -1},
		{name: "balanced before and after", pod: requesting(list("2", "4Gi", "")), node: node, score: 75},
		{name: "unbalances", pod: requesting(list("4", "", "")), node: node, score: 50},
		{name: "mends", pod: requesting(list("", "8Gi", "")), node: node, with: []v1.PodSpec{requesting(list("4", "", ""))}, score: 100},
	})
}

func TestTaintToleration(t *testing.T) {
	tainted := func(effects ...v1.TaintEffect) v1.Node {
		return nodeWith(nil, func(n *v1.Node) {
			for _, e := range effects {
				n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: "k", Value: "v", Effect: e})
			}
		})
	}
	tolerating := func(t v1.Toleration) v1.PodSpec { return v1.PodSpec{Tolerations: []v1.Toleration{t}} }
	reason := []string{"node(s) had untolerated taint(s)"}
	run(t, TaintToleration{}, []fixture{
		{name: "no taints", node: tainted(), score: 0},
		{name: "NoSchedule", node: tainted(v1.TaintEffectNoSchedule), want: reason, code: framework.UnschedulableAndUnresolvable},
		{name: "NoExecute", node: tainted(v1.TaintEffectNoExecute), want: reason, code: framework.UnschedulableAndUnresolvable},
		{name: "tolerated by value", node: tainted(v1.TaintEffectNoSchedule), pod: tolerating(v1.Toleration{Key: "k", Value: "v", Effect: v1.TaintEffectNoSchedule}), score: 0},
		{name: "wrong value", node: tainted(v1.TaintEffectNoSchedule), pod: tolerating(v1.Toleration{Key: "k", Value: "x"}), want: reason, code: framework.UnschedulableAndUnresolvable},
		{name: "wrong effect", node: tainted(v1.TaintEffectNoExecute), pod: tolerating(v1.Toleration{Key: "k", Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoSchedule}), want: reason, code: framework.UnschedulableAndUnresolvable},
		{name: "everything tolerated", node: tainted(v1.TaintEffectNoSchedule, v1.TaintEffectNoExecute), pod: tolerating(v1.Toleration{Operator: v1.TolerationOpExists}), score: 0},
		{name: "PreferNoSchedule counts", node: tainted(v1.TaintEffectPreferNoSchedule), score: 1},
		{name: "PreferNoSchedule tolerated", node: tainted(v1.TaintEffectPreferNoSchedule), pod: tolerating(v1.Toleration{Key: "k", Operator: v1.TolerationOpExists}), score: 0},
		{name: "a NoSchedule toleration does not cover PreferNoSchedule", node: tainted(v1.TaintEffectPreferNoSchedule), pod: tolerating(v1.Toleration{Key: "k", Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoSchedule}), score: 1},
	})
}

func TestNodeUnschedulable(t *testing.T) {
	cordoned := nodeWith(nil, func(n *v1.Node) { n.Spec.Unschedulable = true })
	run(t, NodeUnschedulable{}, []fixture{
		{name: "schedulable", node: nodeWith(nil, nil), score: -1},
		{name: "cordoned", node: cordoned, want: []string{"node(s) were unschedulable"}, code: framework.UnschedulableAndUnresolvable},
		{name: "tolerated", node: cordoned, score: -1, pod: v1.PodSpec{Tolerations: []v1.Toleration{{Key: v1.TaintNodeUnschedulable, Operator: v1.TolerationOpExists}}}},
	})
}

func TestNodeName(t *testing.T) {
	run(t, NodeName{}, []fixture{
		{name: "any", node: nodeWith(nil, nil), score: -1},
		{name: "this", node: nodeWith(nil, nil), pod: v1.PodSpec{NodeName: "n"}, score: -1},
		{name: "another", node: nodeWith(nil, nil), pod: v1.PodSpec{NodeName: "m"},
			want: []string{"node(s) didn't match the requested node name"}, code: framework.UnschedulableAndUnresolvable},
	})
}

func TestNodeAffinity(t *testing.T) {
	node := nodeWith(nil, nil)
	required := func(terms ...v1.NodeSelectorTerm) v1.PodSpec {
		return v1.PodSpec{Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: terms}}}}
	}
	label := func(op v1.NodeSelectorOperator, values ...string) v1.NodeSelectorTerm {
		return v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "disk", Operator: op, Values: values}}}
	}
	named := func(values ...[]string) v1.NodeSelectorTerm {
		var t v1.NodeSelectorTerm
		for _, v := range values {
			t.MatchFields = append(t.MatchFields, v1.NodeSelectorRequirement{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: v})
		}
		return t
	}
	mismatch := []string{"node(s) didn't match Pod's node affinity/selector"}
	run(t, NodeAffinity{}, []fixture{
		{name: "none", node: node, score: -1},
		{name: "selector", node: node, pod: v1.PodSpec{NodeSelector: map[string]string{"disk": "ssd"}}, score: -1},
		{name: "selector differs", node: node, pod: v1.PodSpec{NodeSelector: map[string]string{"disk": "tape"}}, want: mismatch, code: framework.UnschedulableAndUnresolvable},
		{name: "any term suffices", node: node, pod: required(label(v1.NodeSelectorOpIn, "tape"), label(v1.NodeSelectorOpExists)), score: -1},
		{name: "not in", node: node, pod: required(label(v1.NodeSelectorOpNotIn, "ssd")), want: mismatch, code: framework.UnschedulableAndUnresolvable},
		{name: "no term matches nothing", node: node, pod: required(), want: mismatch, code: framework.UnschedulableAndUnresolvable},
		{name: "by name", node: node, pod: required(named([]string{"n"})), score: -1},
		{name: "names conflict", node: node, pod: required(named([]string{"n"}, []string{"m"})), want: []string{"pod affinity terms conflict"}, code: framework.UnschedulableAndUnresolvable},
		{name: "preferred", node: node, score: 12, pod: v1.PodSpec{Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.PreferredSchedulingTerm{
			{Weight: 5, Preference: label(v1.NodeSelectorOpExists)}, {Weight: 7, Preference: label(v1.NodeSelectorOpIn, "ssd")}, {Weight: 100, Preference: label(v1.NodeSelectorOpIn, "tape")},
		}}}}},
	})
}

func TestNodePorts(t *testing.T) {
	node := nodeWith(nil, nil)
	with := func(ip string, protocol v1.Protocol, port int32) v1.PodSpec {
		return v1.PodSpec{Containers: []v1.Container{{Ports: []v1.ContainerPort{{HostIP: ip, Protocol: protocol, HostPort: port}}}}}
	}
	taken := []string{"node(s) didn't have free ports for the requested pod ports"}
	run(t, NodePorts{}, []fixture{
		{name: "none", node: node, with: []v1.PodSpec{with("", "TCP", 80)}, score: -1},
		{name: "free", node: node, pod: with("", "TCP", 81), with: []v1.PodSpec{with("", "TCP", 80)}, score: -1},
		{name: "taken", node: node, pod: with("", "", 80), with: []v1.PodSpec{with("", "TCP", 80)}, want: taken, code: framework.Unschedulable},
		{name: "other protocol", node: node, pod: with("", "UDP", 80), with: []v1.PodSpec{with("", "TCP", 80)}, score: -1},
		{name: "other address", node: node, pod: with("10.0.0.1", "TCP", 80), with: []v1.PodSpec{with("10.0.0.2", "TCP", 80)}, score: -1},
		{name: "all addresses", node: node, pod: with("0.0.0.0", "TCP", 80), with: []v1.PodSpec{with("10.0.0.2", "TCP", 80)}, want: taken, code: framework.Unschedulable},
	})
}

func TestImageLocality(t *testing.T) {
	having := func(size int64) v1.Node {
		return nodeWith(nil, func(n *v1.Node) {
			n.Status.Images = []v1.ContainerImage{{Names: []string{"app:latest", "app@sha256:1"}, SizeBytes: size}}
		})
	}
	run(t, ImageLocality{}, []fixture{
		{name: "absent", node: nodeWith(nil, nil), pod: requesting(nil), score: 0},
		{name: "small", node: having(22 << 20), pod: requesting(nil), score: 0},
		{name: "middle", node: having(500 << 20), pod: requesting(nil), score: 48},
		{name: "huge", node: having(5000 << 20), pod: requesting(nil), score: 100},
		{name: "one of two containers", node: having(1000 << 20), pod: v1.PodSpec{Containers: []v1.Container{{Image: "app:latest"}, {Image: "other"}}}, score: 49},
	})
}

// TestHints: which events may help a pod that a plugin rejected.
func TestHints(t *testing.T) {
	node := func(change func(*v1.Node)) *v1.Node {
		n := nodeWith(list("4", "8Gi", "10"), change)
		return &n
	}
	tainted := node(func(n *v1.Node) { n.Spec.Taints = []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoSchedule}} })
	cordoned := node(func(n *v1.Node) { n.Spec.Unschedulable = true })
	small := node(func(n *v1.Node) { n.Status.Allocatable = list("1", "8Gi", "10") })
	tape := node(func(n *v1.Node) { n.Labels = map[string]string{"disk": "tape"} })
	plain := node(nil)
	spec := requesting(list("2", "", ""))
	spec.NodeSelector = map[string]string{"disk": "ssd"}
	for _, c := range []struct {
		name      string
		plugin    framework.Plugin
		old, node *v1.Node
		want      bool
	}{
		{"taint removed", TaintToleration{}, tainted, plain, true},
		{"taint added", TaintToleration{}, plain, tainted, false},
		{"tainted node added", TaintToleration{}, nil, tainted, false},
		{"node added", TaintToleration{}, nil, plain, true},
		{"uncordoned", NodeUnschedulable{}, cordoned, plain, true},
		{"cordoned", NodeUnschedulable{}, plain, cordoned, false},
		{"grown", NodeResourcesFit{}, small, plain, true},
		{"shrunk", NodeResourcesFit{}, plain, small, false},
		{"too small a node added", NodeResourcesFit{}, nil, small, false},
		{"relabelled", NodeAffinity{}, tape, plain, true},
		{"label lost", NodeAffinity{}, plain, tape, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			event, ok := framework.NodeEvent(c.old, c.node)
			if !ok {
				t.Fatal("no event")
			}
			pending := framework.NewPending(&v1.Pod{Spec: spec})
			got := slices.ContainsFunc(c.plugin.Events(), func(h framework.EventHint) bool {
				return h.Kind&event.Kind != 0 && (h.Helps == nil || h.Helps(pending, event))
			})
			if got != c.want {
				t.Errorf("helps is %v, want %v", got, c.want)
			}
		})
	}
}
