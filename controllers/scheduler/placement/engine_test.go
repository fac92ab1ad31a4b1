package placement

import (
	"fmt"
	"math/rand/v2"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"proa/controllers/scheduler/framework"
	"proa/controllers/scheduler/plugins"
)

func node(i int, cpu int64) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{"zone": fmt.Sprint(i % 3), v1.LabelHostname: fmt.Sprint(i)}},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU:    *resource.NewQuantity(cpu, resource.DecimalSI),
			v1.ResourceMemory: *resource.NewQuantity(cpu<<32, resource.BinarySI),
			v1.ResourcePods:   *resource.NewQuantity(110, resource.DecimalSI),
		}},
	}
}

func pod(i int, cpu int64, change func(*v1.PodSpec)) *framework.Pending {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("pod-%d", i), UID: types.UID(fmt.Sprint(i))}}
	p.Spec.Containers = []v1.Container{{Name: "c", Image: "app:1", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{
		v1.ResourceCPU:    *resource.NewMilliQuantity(cpu, resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(cpu<<20, resource.BinarySI),
	}}}}
	if change != nil {
		change(&p.Spec)
	}
	return framework.NewPending(p)
}

// TestIncremental lets two shapes of pods and random changes of nodes and pods
// mix, and compares each class with one computed from scratch.
func TestIncremental(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	cluster := framework.NewCluster()
	engine := New(plugins.All(), cluster, random)
	shapes := []func(*v1.PodSpec){
		nil,
		func(s *v1.PodSpec) {
			s.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.PreferredSchedulingTerm{
				{Weight: 3, Preference: zone("1")}, {Weight: 7, Preference: zone("2")},
			}}}
		},
		func(s *v1.PodSpec) {
			s.TopologySpreadConstraints = []v1.TopologySpreadConstraint{
				{MaxSkew: 2, TopologyKey: "zone", WhenUnsatisfiable: v1.DoNotSchedule, LabelSelector: selecting("app", "a"), MinDomains: new(int32(2))},
				{MaxSkew: 1, TopologyKey: v1.LabelHostname, WhenUnsatisfiable: v1.ScheduleAnyway, LabelSelector: selecting("app", "a")},
				{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: v1.ScheduleAnyway, LabelSelector: selecting("app", "b")},
			}
		},
		func(s *v1.PodSpec) {
			s.Affinity = &v1.Affinity{
				PodAntiAffinity: &v1.PodAntiAffinity{
					RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{{TopologyKey: v1.LabelHostname, LabelSelector: selecting("app", "a")}},
				},
				PodAffinity: &v1.PodAffinity{
					PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{Weight: 5, PodAffinityTerm: v1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: selecting("app", "b")}}},
				},
			}
		},
		func(s *v1.PodSpec) {
			s.Affinity = &v1.Affinity{PodAffinity: &v1.PodAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{{TopologyKey: "zone", LabelSelector: selecting("app", "b")}},
			}}
		},
	}
	rejected := 0
	defer func() {
		if rejected == 0 {
			t.Error("no pod was rejected")
		}
	}()
	placed := map[types.UID]bool{}
	for step := range 4000 {
		switch i := random.IntN(24); random.IntN(8) {
		case 0:
			n := node(i, 1+random.Int64N(4))
			if random.IntN(3) == 0 {
				n.Spec.Taints = []v1.Taint{{Key: "k", Effect: v1.TaintEffectPreferNoSchedule}}
			}
			if random.IntN(4) == 0 {
				n.Status.Images = []v1.ContainerImage{{Names: []string{"app:1"}, SizeBytes: 700 << 20}}
			}
			cluster.SetNode(n)
		case 1:
			cluster.RemoveNode(fmt.Sprintf("node-%d", i))
		case 2:
			for uid := range placed {
				cluster.RemovePod(uid)
				delete(placed, uid)
				break
			}
		default:
			p := labeled(pod(step, 300, shapes[random.IntN(len(shapes))]), "app", []string{"a", "b"}[random.IntN(2)])
			shape := engine.Shape(p)
			found, fit := engine.Place(p, shape)
			if cluster.Len() == 0 {
				continue
			}
			compare(t, step, engine, p, shape)
			if fit != nil {
				rejected++
			} else {
				cluster.SetPod(p.Pod, found.Node)
				placed[p.UID] = true
			}
		}
		if err := cluster.Check(); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	// Spreading and affinity care whether the pod selects itself, and about
	// each shape and label the terms of existing pods may say something or not.
	if least, most := len(shapes)+2, 60; engine.Classes() < least || engine.Classes() > most {
		t.Errorf("%d classes, want between %d and %d", engine.Classes(), least, most)
	}
}

func selecting(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func labeled(p *framework.Pending, key, value string) *framework.Pending {
	p.Object.Labels = map[string]string{key: value}
	return framework.NewPending(p.Object)
}

func zone(value string) v1.NodeSelectorTerm {
	return v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{value}}}}
}

func compare(t *testing.T, step int, engine *Engine, p *framework.Pending, shape string) {
	t.Helper()
	got := engine.classes[engine.situate(p, shape)]
	want := newClass(prepare(engine.plugins, p, engine.cluster), engine.cluster, engine.maxScore)
	want.sync()
	for i := range engine.cluster.Slots() {
		if got.ranking.score[i] != want.ranking.score[i] {
			t.Fatalf("step %d, node %d: score is %d, computed anew %d", step, i, got.ranking.score[i], want.ranking.score[i])
		}
	}
	if got.ranking.members != want.ranking.members {
		t.Fatalf("step %d: %d feasible nodes, computed anew %d", step, got.ranking.members, want.ranking.members)
	}
}

// TestEviction: more shapes than fit in memory still get placed.
func TestEviction(t *testing.T) {
	cluster := framework.NewCluster()
	for i := range 3000 {
		cluster.SetNode(node(i, 8))
	}
	engine := New(plugins.All(), cluster, rand.New(rand.NewPCG(1, 1)))
	limit := maxCells / 3000
	for i := range limit + 10 {
		p := pod(i, int64(i+1), nil)
		if _, fit := engine.Place(p, engine.Shape(p)); fit != nil {
			t.Fatalf("pod %d: %v", i, fit)
		}
	}
	if engine.Classes() > limit {
		t.Errorf("%d classes are remembered, want at most %d", engine.Classes(), limit)
	}
}

// TestTies: equally good nodes are chosen about equally often.
func TestTies(t *testing.T) {
	cluster := framework.NewCluster()
	for i := range 4 {
		cluster.SetNode(node(i, 8))
	}
	engine := New(plugins.All(), cluster, rand.New(rand.NewPCG(1, 1)))
	count := map[string]int{}
	p := pod(0, 100, nil)
	for range 4000 {
		found, _ := engine.Place(p, engine.Shape(p))
		count[found.Node]++
	}
	for name, n := range count {
		if n < 900 || n > 1100 {
			t.Errorf("%s was chosen %d times of 4000, want about 1000", name, n)
		}
	}
	if len(count) != 4 {
		t.Errorf("only %d of 4 nodes were chosen", len(count))
	}
}

// BenchmarkPlace places 10,000 equal pods on 5,000 nodes, from the API object
// to the assumption.
func BenchmarkPlace(b *testing.B) {
	benchmark(b, func(i int) *framework.Pending { return pod(i, 100, nil) })
}

// BenchmarkPlaceShapes does the same with 100 shapes of pods.
func BenchmarkPlaceShapes(b *testing.B) {
	benchmark(b, func(i int) *framework.Pending { return pod(i, 100+int64(i%100), nil) })
}

// BenchmarkPlaceDaemon places pods that each name their node.
func BenchmarkPlaceDaemon(b *testing.B) {
	benchmark(b, func(i int) *framework.Pending {
		return pod(i, 100, func(s *v1.PodSpec) {
			s.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
				NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchFields: []v1.NodeSelectorRequirement{{
					Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{fmt.Sprintf("node-%d", i%5000)},
				}}}},
			}}}
		})
	})
}

// BenchmarkPlaceSpread places pods that spread over zones and nodes.
func BenchmarkPlaceSpread(b *testing.B) {
	benchmark(b, func(i int) *framework.Pending {
		return labeled(pod(i, 100, func(s *v1.PodSpec) {
			s.TopologySpreadConstraints = []v1.TopologySpreadConstraint{
				{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: v1.DoNotSchedule, LabelSelector: selecting("app", "a")},
				{MaxSkew: 1, TopologyKey: v1.LabelHostname, WhenUnsatisfiable: v1.ScheduleAnyway, LabelSelector: selecting("app", "a")},
			}
		}), "app", "a")
	})
}

// BenchmarkPlaceApart places pods of which no two may be on one node, until half
// of the nodes have one.
func BenchmarkPlaceApart(b *testing.B) {
	benchmark(b, func(i int) *framework.Pending {
		app := fmt.Sprint(i / 2500)
		return labeled(pod(i, 100, func(s *v1.PodSpec) {
			s.Affinity = &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{{TopologyKey: v1.LabelHostname, LabelSelector: selecting("app", app)}},
			}}
		}), "app", app)
	})
}

func benchmark(b *testing.B, make func(i int) *framework.Pending) {
	const nodes, pods = 5000, 10000
	for b.Loop() {
		cluster := framework.NewCluster()
		for i := range nodes {
			cluster.SetNode(node(i, 32))
		}
		engine := New(plugins.All(), cluster, rand.New(rand.NewPCG(1, 2)))
		for i := range pods {
			p := make(i)
			found, fit := engine.Place(p, engine.Shape(p))
			if fit != nil {
				b.Fatal(fit)
			}
			cluster.SetPod(p.Pod, found.Node)
		}
	}
	b.ReportMetric(float64(pods*b.N)/b.Elapsed().Seconds(), "pods/s")
}
