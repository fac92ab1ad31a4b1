package scheduler

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"proa/controllers/scheduler/plugins"
	"proa/controllers/scheduler/queue"
)

var rewrite = flag.Bool("rewrite", false, "write what the transcripts print into testdata")

// TestTranscripts plays testdata/*.txt: blocks of commands, a line "----" and
// what they print. See player for the commands.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { play(t, file) })
	}
}

func play(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer()
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		commands, want, _ := strings.Cut(block+"\n", "----\n")
		var got strings.Builder
		for _, line := range strings.Split(strings.TrimSpace(commands), "\n") {
			if !strings.HasPrefix(line, "#") && line != "" {
				p.command(&got, line)
			}
		}
		if err := p.core.cluster.Check(); err != nil {
			t.Errorf("after\n%s%v", commands, err)
		}
		fmt.Fprintf(&out, "%s----\n%s\n", commands, got.String())
		if got.String() != want && !*rewrite {
			t.Errorf("%s\ngot:\n%swant:\n%s", commands, got.String(), want)
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// player understands:
//
//	add-node NAME [cpu=4] [memory=8Gi] [pods=110] [labels=k:v,…] [taints=k:v:Effect,…] [unschedulable] [image=name:MiB]
//	remove-node NAME
//	add-pod NAME [cpu=] [memory=] [priority=] [selector=k:v] [prefer=k:v] [pin=NODE] [tolerate=k] [port=80] [image=] [gated] [node=NAME] [never-preempt]
//		[namespace=] [labels=k:v] [spread=TOPOLOGY] [spread-soft=TOPOLOGY] [near=TOPOLOGY/k:v] [far=TOPOLOGY/k:v] [namespaces=k:v]
//	delete-pod NAME
//	namespace NAME [labels=k:v]
//	schedule [N]        try pods until none is ready (or N times)
//	bind-fails NAME     the API refuses the last placement
//	advance 5s
//	queue, nodes        print what is where
type player struct {
	core  *core
	now   time.Time
	items map[string]*queue.Item
	uid   map[string]types.UID
	made  int
}

func newPlayer() *player {
	return &player{
		core: newCore("default-scheduler", plugins.All(), rand.New(rand.NewPCG(1, 2))),
		now:  time.Unix(0, 0), items: map[string]*queue.Item{}, uid: map[string]types.UID{},
	}
}

func (p *player) command(out *strings.Builder, line string) {
	fields := strings.Fields(line)
	args := map[string]string{}
	name := ""
	for _, f := range fields[1:] {
		key, value, ok := strings.Cut(f, "=")
		if !ok && name == "" {
			name = f
			continue
		}
		args[key] = value
	}
	switch fields[0] {
	case "add-node":
		if woken, label := p.core.setNode(p.now, testNode(name, args)); woken > 0 {
			fmt.Fprintf(out, "%s wakes %d\n", label, woken)
		}
	case "remove-node":
		p.core.removeNode(p.now, name)
	case "add-pod":
		pod := testPod(name, args)
		if p.uid[name] == "" {
			p.made++
			p.uid[name] = types.UID(fmt.Sprintf("%s-%d", name, p.made))
		}
		pod.UID = p.uid[name]
		p.core.setPod(p.now, pod)
	case "namespace":
		p.core.setNamespace(p.now, name, pairs(args["labels"]))
	case "delete-pod":
		p.core.removePod(p.now, p.uid[name])
		delete(p.uid, name)
	case "schedule":
		limit, err := strconv.Atoi(name)
		for n := 0; err != nil || n < limit; n++ {
			a := p.core.next(p.now)
			if a == nil {
				break
			}
			p.items[a.item.Pod.Name] = a.item
			if a.fit != nil {
				fmt.Fprintf(out, "%s: %s\n", a.item.Pod.Name, a.fit.Error())
			} else {
				fmt.Fprintf(out, "%s -> %s\n", a.item.Pod.Name, a.node)
			}
		}
	case "bind-fails":
		fmt.Fprintf(out, "tried again: %v\n", p.core.bindFailed(p.now, p.items[name]))
	case "advance":
		d, err := time.ParseDuration(name)
		if err != nil {
			fmt.Fprintln(out, err)
		}
		p.now = p.now.Add(d)
	case "queue":
		counts := p.core.queue.Counts()
		for _, part := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(out, "%s=%d ", part, counts[part])
		}
		if at, ok := p.core.queue.Next(); ok {
			fmt.Fprintf(out, "next=+%v", at.Sub(p.now))
		}
		fmt.Fprintln(out)
	case "nodes":
		for i := range p.core.cluster.Slots() {
			if n := p.core.cluster.At(i); n != nil {
				fmt.Fprintf(out, "%s pods=%d cpu=%dm\n", n.Name(), len(n.Pods), n.Requested.MilliCPU)
			}
		}
	default:
		fmt.Fprintf(out, "unknown command %q\n", fields[0])
	}
}

func pairs(list string) map[string]string {
	if list == "" {
		return nil
	}
	m := map[string]string{}
	for _, pair := range strings.Split(list, ",") {
		k, v, _ := strings.Cut(pair, ":")
		m[k] = v
	}
	return m
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func testNode(name string, args map[string]string) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: pairs(args["labels"])}}
	n.Status.Allocatable = v1.ResourceList{
		v1.ResourceCPU:    resource.MustParse(or(args["cpu"], "4")),
		v1.ResourceMemory: resource.MustParse(or(args["memory"], "8Gi")),
		v1.ResourcePods:   resource.MustParse(or(args["pods"], "110")),
	}
	_, n.Spec.Unschedulable = args["unschedulable"]
	for _, taint := range strings.Split(args["taints"], ",") {
		if part := strings.Split(taint, ":"); len(part) == 3 {
			n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: part[0], Value: part[1], Effect: v1.TaintEffect(part[2])})
		}
	}
	for image, mib := range pairs(args["image"]) {
		size, _ := strconv.ParseInt(mib, 10, 64)
		n.Status.Images = append(n.Status.Images, v1.ContainerImage{Names: []string{image + ":latest"}, SizeBytes: size << 20})
	}
	return n
}

func testPod(name string, args map[string]string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: or(args["namespace"], "default"), Name: name, Labels: pairs(args["labels"])}}
	for arg, action := range map[string]v1.UnsatisfiableConstraintAction{"spread": v1.DoNotSchedule, "spread-soft": v1.ScheduleAnyway} {
		if args[arg] != "" {
			p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, v1.TopologySpreadConstraint{
				MaxSkew: 1, TopologyKey: args[arg], WhenUnsatisfiable: action, LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels},
			})
		}
	}
	p.Spec.SchedulerName = or(args["scheduler"], "default-scheduler")
	p.Spec.NodeName = args["node"]
	p.Spec.NodeSelector = pairs(args["selector"])
	c := v1.Container{Name: "c", Image: or(args["image"], "app"), Resources: v1.ResourceRequirements{Requests: v1.ResourceList{}}}
	for _, r := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if q := args[string(r)]; q != "" {
			c.Resources.Requests[r] = resource.MustParse(q)
		}
	}
	if port, err := strconv.ParseInt(args["port"], 10, 32); err == nil {
		c.Ports = []v1.ContainerPort{{HostPort: int32(port), ContainerPort: int32(port), Protocol: v1.ProtocolTCP}}
	}
	p.Spec.Containers = []v1.Container{c}
	if priority, err := strconv.ParseInt(args["priority"], 10, 32); err == nil {
		p.Spec.Priority = new(int32(priority))
	}
	if _, never := args["never-preempt"]; never {
		p.Spec.PreemptionPolicy = new(v1.PreemptNever)
	}
	if key := args["tolerate"]; key != "" {
		p.Spec.Tolerations = []v1.Toleration{{Key: key, Operator: v1.TolerationOpExists}}
	}
	if _, gated := args["gated"]; gated {
		p.Spec.SchedulingGates = []v1.PodSchedulingGate{{Name: "wait"}}
	}
	affinity := &v1.NodeAffinity{}
	if pin := args["pin"]; pin != "" {
		affinity.RequiredDuringSchedulingIgnoredDuringExecution = &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
			MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{pin}}},
		}}}
	}
	for key, value := range pairs(args["prefer"]) {
		affinity.PreferredDuringSchedulingIgnoredDuringExecution = append(affinity.PreferredDuringSchedulingIgnoredDuringExecution, v1.PreferredSchedulingTerm{
			Weight: 10, Preference: v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{{Key: key, Operator: v1.NodeSelectorOpIn, Values: []string{value}}}},
		})
	}
	p.Spec.Affinity = &v1.Affinity{NodeAffinity: affinity, PodAffinity: &v1.PodAffinity{}, PodAntiAffinity: &v1.PodAntiAffinity{}}
	for arg, list := range map[string]*[]v1.PodAffinityTerm{
		"near": &p.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution,
		"far":  &p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution,
	} {
		topology, selector, ok := strings.Cut(args[arg], "/")
		if !ok {
			continue
		}
		term := v1.PodAffinityTerm{TopologyKey: topology, LabelSelector: &metav1.LabelSelector{MatchLabels: pairs(selector)}}
		if team := args["namespaces"]; team != "" {
			term.NamespaceSelector = &metav1.LabelSelector{MatchLabels: pairs(team)}
		}
		*list = append(*list, term)
	}
	return p
}
