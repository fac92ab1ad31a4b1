package plugins

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"proa/controllers/scheduler/framework"
)

// wideFixture is one pod against several nodes.
type wideFixture struct {
	name string
	// nodes are "name label=value …"; the label host is there by itself, and a
	// word "tainted" taints.
	nodes []string
	// pods are "node [namespace/]label=value,…"; with a "!" in front, terminating.
	pods   []string
	labels string
	spec   v1.PodSpec
	// existing, by position in pods, gives existing pods affinities.
	existing map[int]*v1.Affinity
	// namespaces maps names to labels.
	namespaces map[string]string
	// want has, per node in order, "name=score" or "name: reason".
	want []string
}

func labelSet(s string) map[string]string {
	m := map[string]string{}
	for _, pair := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		k, v, _ := strings.Cut(pair, "=")
		m[k] = v
	}
	return m
}

func runWide(t *testing.T, plugin framework.Plugin, cases []wideFixture) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cluster := framework.NewCluster()
			for name, set := range c.namespaces {
				cluster.SetNamespace(name, labelSet(set))
			}
			var names []string
			for _, line := range c.nodes {
				name, rest, _ := strings.Cut(line, " ")
				names = append(names, name)
				n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labelSet(rest)}}
				n.Labels[v1.LabelHostname] = name
				if _, ok := n.Labels["tainted"]; ok {
					n.Spec.Taints = []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoSchedule}}
				}
				cluster.SetNode(n)
			}
			for i, line := range c.pods {
				node, rest, _ := strings.Cut(line, " ")
				p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint(i)), Namespace: "default"}}
				if node, ok := strings.CutPrefix(node, "!"); ok {
					p.DeletionTimestamp = &metav1.Time{}
					p.Spec.NodeName = node
				} else {
					p.Spec.NodeName = node
				}
				if ns, more, ok := strings.Cut(rest, "/"); ok {
					p.Namespace, rest = ns, more
				}
				p.Labels, p.Spec.Affinity = labelSet(rest), c.existing[i]
				cluster.SetPod(framework.NewPod(p), p.Spec.NodeName)
			}
			pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "new", Namespace: "default", Labels: labelSet(c.labels)}, Spec: c.spec}
			prepared := plugin.Prepare(framework.NewPending(pod), cluster)
			got := verdicts(prepared, cluster, names)
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

func verdicts(p framework.Prepared, cluster *framework.Cluster, names []string) []string {
	var feasible []*framework.Node
	out := map[string]string{}
	var order []*framework.Node
	for _, name := range names {
		i, _ := cluster.Index(name)
		order = append(order, cluster.At(i))
		if p.Observe != nil {
			p.Observe(nil, cluster.At(i))
		}
	}
	for _, n := range order {
		if p.Filter != nil {
			if status := p.Filter(n); status != nil {
				out[n.Name()] = fmt.Sprintf("%s: %s", n.Name(), strings.Join(status.Reasons, ", "))
				if status.Code == framework.UnschedulableAndUnresolvable {
					out[n.Name()] += " (for good)"
				}
				continue
			}
		}
		feasible = append(feasible, n)
	}
	scores := slices.Repeat([]int64{7}, len(feasible)) // ScoreAll must write them
	if p.ScoreAll != nil {
		p.ScoreAll(feasible, scores)
	}
	for i, n := range feasible {
		out[n.Name()] = n.Name()
		if p.ScoreAll != nil {
			out[n.Name()] = fmt.Sprintf("%s=%d", n.Name(), scores[i])
		}
	}
	return slices.Collect(func(yield func(string) bool) {
		for _, name := range slices.Sorted(maps.Keys(out)) {
			if !yield(out[name]) {
				return
			}
		}
	})
}

func selectingLabels(s string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: labelSet(s)}
}

func spreading(key string, skew int32, action v1.UnsatisfiableConstraintAction, change func(*v1.TopologySpreadConstraint)) v1.PodSpec {
	c := v1.TopologySpreadConstraint{MaxSkew: skew, TopologyKey: key, WhenUnsatisfiable: action, LabelSelector: selectingLabels("app=web")}
	if change != nil {
		change(&c)
	}
	return v1.PodSpec{TopologySpreadConstraints: []v1.TopologySpreadConstraint{c}}
}

func TestPodTopologySpread(t *testing.T) {
	const skewed = "node(s) didn't match pod topology spread constraints"
	zones := []string{"a zone=1", "b zone=1", "c zone=2", "d zone=3"}
	inZones12 := func(s v1.PodSpec) v1.PodSpec {
		s.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
			NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{"1", "2"}}}}},
		}}}
		return s
	}
	hard := func(change func(*v1.TopologySpreadConstraint)) v1.PodSpec {
		return spreading("zone", 1, v1.DoNotSchedule, change)
	}
	runWide(t, PodTopologySpread{}, []wideFixture{
		{name: "no constraints", nodes: zones, want: []string{"a", "b", "c", "d"}},
		{name: "fullest zone is out", nodes: zones, labels: "app=web", spec: hard(nil), pods: []string{"a app=web"},
			want: []string{"a: " + skewed, "b: " + skewed, "c", "d"}},
		{name: "even", nodes: zones, labels: "app=web", spec: hard(nil), pods: []string{"b app=web", "c app=web", "d app=web"},
			want: []string{"a", "b", "c", "d"}},
		{name: "other namespaces, labels and terminating pods do not count", nodes: zones, labels: "app=web", spec: hard(nil),
			pods: []string{"a other/app=web", "a app=db", "!a app=web"}, want: []string{"a", "b", "c", "d"}},
		{name: "a pod that does not select itself", nodes: zones, labels: "app=db", spec: hard(nil), pods: []string{"a app=web"},
			want: []string{"a", "b", "c", "d"}},
		{name: "larger skew", nodes: zones, labels: "app=web", spec: spreading("zone", 2, v1.DoNotSchedule, nil), pods: []string{"a app=web"},
			want: []string{"a", "b", "c", "d"}},
		{name: "missing label", nodes: []string{"a zone=1", "x"}, labels: "app=web", spec: hard(nil), pods: []string{"x app=web"},
			want: []string{"a", "x: " + skewed + " (missing required label) (for good)"}},
		{name: "too few domains: the minimum is 0", nodes: zones, labels: "app=web", spec: hard(func(c *v1.TopologySpreadConstraint) { c.MinDomains = new(int32(4)) }),
			pods: []string{"a app=web", "c app=web", "d app=web"}, want: []string{"a: " + skewed, "b: " + skewed, "c: " + skewed, "d: " + skewed}},
		{name: "enough domains", nodes: zones, labels: "app=web", spec: hard(func(c *v1.TopologySpreadConstraint) { c.MinDomains = new(int32(3)) }),
			pods: []string{"a app=web", "c app=web", "d app=web"}, want: []string{"a", "b", "c", "d"}},
		{name: "zones that node affinity rules out do not count", nodes: zones, labels: "app=web", spec: inZones12(hard(nil)),
			pods: []string{"a app=web", "c app=web"}, want: []string{"a", "b", "c", "d"}},
		{name: "unless they shall", nodes: zones, labels: "app=web", spec: inZones12(hard(func(c *v1.TopologySpreadConstraint) { c.NodeAffinityPolicy = new(v1.NodeInclusionPolicyIgnore) })),
			pods: []string{"a app=web", "c app=web"}, want: []string{"a: " + skewed, "b: " + skewed, "c: " + skewed, "d"}},
		{name: "tainted nodes count", nodes: []string{"a zone=1", "b zone=2 tainted=y"}, labels: "app=web", spec: hard(nil), pods: []string{"a app=web"},
			want: []string{"a: " + skewed, "b"}},
		{name: "unless they shall not", nodes: []string{"a zone=1", "b zone=2 tainted=y"}, labels: "app=web",
			spec: hard(func(c *v1.TopologySpreadConstraint) { c.NodeTaintsPolicy = new(v1.NodeInclusionPolicyHonor) }), pods: []string{"a app=web"},
			want: []string{"a", "b"}},
		{name: "matchLabelKeys", nodes: zones, labels: "app=web,rev=2", spec: hard(func(c *v1.TopologySpreadConstraint) { c.MatchLabelKeys = []string{"rev", "none"} }),
			pods: []string{"a app=web,rev=1", "c app=web,rev=2"}, want: []string{"a", "b", "c: " + skewed, "d"}},

		{name: "soft: zones", nodes: zones, labels: "app=web", spec: spreading("zone", 1, v1.ScheduleAnyway, nil),
			pods: []string{"a app=web", "b app=web", "c app=web"}, want: []string{"a=0", "b=0", "c=33", "d=100"}},
		{name: "soft: nodes", nodes: zones, labels: "app=web", spec: spreading(v1.LabelHostname, 1, v1.ScheduleAnyway, nil),
			pods: []string{"a app=web", "a app=web", "c app=web"}, want: []string{"a=0", "b=100", "c=50", "d=100"}},
		{name: "soft: nobody there yet", nodes: zones, labels: "app=web", spec: spreading("zone", 1, v1.ScheduleAnyway, nil),
			want: []string{"a=100", "b=100", "c=100", "d=100"}},
		{name: "soft: a node without the label gets nothing", nodes: []string{"a zone=1", "x"}, labels: "app=web", spec: spreading("zone", 1, v1.ScheduleAnyway, nil),
			pods: []string{"a app=web"}, want: []string{"a=100", "x=0"}},
	})
}

func TestInterPodAffinity(t *testing.T) {
	const (
		near     = "node(s) didn't match pod affinity rules"
		far      = "node(s) didn't match pod anti-affinity rules"
		existing = "node(s) didn't satisfy existing pods anti-affinity rules"
	)
	zones := []string{"a zone=1", "b zone=1", "c zone=2", "x"}
	term := func(key, selector string, change ...func(*v1.PodAffinityTerm)) v1.PodAffinityTerm {
		out := v1.PodAffinityTerm{TopologyKey: key, LabelSelector: selectingLabels(selector)}
		for _, c := range change {
			c(&out)
		}
		return out
	}
	to := func(terms ...v1.PodAffinityTerm) *v1.Affinity {
		return &v1.Affinity{PodAffinity: &v1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}}
	}
	from := func(terms ...v1.PodAffinityTerm) *v1.Affinity {
		return &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}}
	}
	like := func(weight int32, t v1.PodAffinityTerm) *v1.Affinity {
		return &v1.Affinity{PodAffinity: &v1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{Weight: weight, PodAffinityTerm: t}}}}
	}
	dislike := func(weight int32, t v1.PodAffinityTerm) *v1.Affinity {
		return &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{Weight: weight, PodAffinityTerm: t}}}}
	}
	with := func(a *v1.Affinity) v1.PodSpec { return v1.PodSpec{Affinity: a} }
	team := func(t *v1.PodAffinityTerm) { t.NamespaceSelector = selectingLabels("team=red") }
	anywhere := func(t *v1.PodAffinityTerm) { t.NamespaceSelector = &metav1.LabelSelector{} }
	runWide(t, InterPodAffinity{}, []wideFixture{
		{name: "nobody wants anything", nodes: zones, labels: "app=web", pods: []string{"a app=db"}, want: []string{"a", "b", "c", "x"}},
		{name: "near", nodes: zones, labels: "app=web", spec: with(to(term("zone", "app=db"))), pods: []string{"a app=db"},
			want: []string{"a=0", "b=0", "c: " + near + " (for good)", "x: " + near + " (for good)"}},
		{name: "near one pod that matches all terms", nodes: zones, labels: "app=web", spec: with(to(term("zone", "app=db"), term("zone", "tier=1"))),
			pods: []string{"a app=db", "a tier=1", "c app=db,tier=1"},
			want: []string{"a: " + near + " (for good)", "b: " + near + " (for good)", "c=0", "x: " + near + " (for good)"}},
		{name: "nobody to be near to", nodes: zones, labels: "app=web", spec: with(to(term("zone", "app=db"))),
			want: []string{"a: " + near + " (for good)", "b: " + near + " (for good)", "c: " + near + " (for good)", "x: " + near + " (for good)"}},
		{name: "the first of a group", nodes: zones, labels: "app=web", spec: with(to(term("zone", "app=web"))),
			want: []string{"a=0", "b=0", "c=0", "x: " + near + " (for good)"}},
		{name: "the second of a group", nodes: zones, labels: "app=web", spec: with(to(term("zone", "app=web"))), pods: []string{"c app=web"},
			want: []string{"a: " + near + " (for good)", "b: " + near + " (for good)", "c=0", "x: " + near + " (for good)"}},
		{name: "far; a node without the label is far from all", nodes: zones, labels: "app=web", spec: with(from(term("zone", "app=web"))), pods: []string{"a app=web", "x app=web"},
			want: []string{"a: " + far, "b: " + far, "c=0", "x=0"}},
		{name: "terminating pods count", nodes: zones, spec: with(from(term("zone", "app=web"))), pods: []string{"!a app=web"},
			want: []string{"a: " + far, "b: " + far, "c=0", "x=0"}},
		{name: "other namespaces do not count", nodes: zones, spec: with(from(term("zone", "app=web"))), pods: []string{"a other/app=web"},
			want: []string{"a=0", "b=0", "c=0", "x=0"}},
		{name: "unless named", nodes: zones, spec: with(from(term("zone", "app=web", func(t *v1.PodAffinityTerm) { t.Namespaces = []string{"other"} }))),
			pods: []string{"a other/app=web", "c app=web"}, want: []string{"a: " + far, "b: " + far, "c=0", "x=0"}},
		{name: "or selected", nodes: zones, spec: with(from(term("zone", "app=web", team))), namespaces: map[string]string{"r": "team=red", "b": "team=blue"},
			pods: []string{"a r/app=web", "c b/app=web"}, want: []string{"a: " + far, "b: " + far, "c=0", "x=0"}},
		{name: "or all", nodes: zones, spec: with(from(term("zone", "app=web", anywhere))),
			pods: []string{"a r/app=web", "c b/app=web"}, want: []string{"a: " + far, "b: " + far, "c: " + far, "x=0"}},
		{name: "existing pods' anti-affinity", nodes: zones, labels: "app=web", pods: []string{"a app=db"}, existing: map[int]*v1.Affinity{0: from(term("zone", "app=web"))},
			want: []string{"a: " + existing, "b: " + existing, "c=0", "x=0"}},
		{name: "is against others", nodes: zones, labels: "app=cache", pods: []string{"a app=db"}, existing: map[int]*v1.Affinity{0: from(term("zone", "app=web"))},
			want: []string{"a", "b", "c", "x"}},
		{name: "is in another namespace", nodes: zones, labels: "app=web", pods: []string{"a other/app=db"}, existing: map[int]*v1.Affinity{0: from(term("zone", "app=web"))},
			want: []string{"a", "b", "c", "x"}},
		{name: "selects this namespace", nodes: zones, labels: "app=web", pods: []string{"a other/app=db"}, existing: map[int]*v1.Affinity{0: from(term("zone", "app=web", team))},
			namespaces: map[string]string{"default": "team=red"}, want: []string{"a: " + existing, "b: " + existing, "c=0", "x=0"}},

		{name: "likes", nodes: zones, spec: with(like(10, term("zone", "app=db"))), pods: []string{"a app=db", "b app=db", "c app=db"},
			want: []string{"a=100", "b=100", "c=50", "x=0"}},
		{name: "dislikes", nodes: zones, spec: with(dislike(10, term("zone", "app=db"))), pods: []string{"a app=db", "b app=db", "c app=db"},
			want: []string{"a=0", "b=0", "c=50", "x=100"}},
		{name: "existing pods like and dislike", nodes: zones, labels: "app=web", pods: []string{"a app=1", "c app=2"},
			existing: map[int]*v1.Affinity{0: like(30, term("zone", "app=web")), 1: dislike(10, term("zone", "app=web"))},
			want:     []string{"a=100", "b=100", "c=0", "x=25"}},
		{name: "a required affinity of existing pods counts 1", nodes: zones, labels: "app=web", pods: []string{"a app=1", "c app=2"},
			existing: map[int]*v1.Affinity{0: to(term("zone", "app=web")), 1: like(2, term("zone", "app=web"))},
			want:     []string{"a=50", "b=50", "c=100", "x=0"}},
	})
}
