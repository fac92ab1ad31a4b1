package planner

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"proa/nodeagent/cri"
)

var update = flag.Bool("update", false, "write the transcripts as they come out")

// A transcript is a pod (YAML up to a line "---") and a play: commands at the
// margin, what the planner answers indented below them. Commands are
//
//	at 10s              the clock, counted from the start
//	plan                nothing happens
//	done KEY [k=v …]    an action ends: err=TEXT, reason=R, exit=CODE (a container
//	                    that ends at once), made (a container made though err)
//	settle              everything under way ends well, until nothing is
//	exit ID CODE        a container ends by itself
//	dies ID             a sandbox dies by itself
//	probe ID WHAT       started, ready, unready, liveness, startup
//	image NAME=IMAGE    the pod's spec changes
//	resize NAME=CPU     the spec asks for other CPU, which the node has not granted
//	grant               the node grants what the spec asks for
//	debug NAME TARGET   an ephemeral container is added
//	delete SECONDS      the pod is deleted with that grace
//	gone                the API has the pod no more
//	forget              the agent restarts: it knows the pod and the runtime only
//	network up|down
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			spec, play, ok := strings.Cut(string(raw), "\n---\n")
			if !ok {
				t.Fatalf("%s: no line \"---\"", file)
			}
			got := spec + "\n---\n" + run(t, spec, play)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(raw), got); d != "" {
				t.Errorf("%s (-want +got; go test -update writes it):\n%s", file, d)
			}
		})
	}
}

type stage struct {
	t     *testing.T
	s     *State
	start time.Time
	now   time.Time
	n     int
	out   strings.Builder
}

func run(t *testing.T, spec, play string) string {
	pod := &v1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(spec), pod); err != nil {
		t.Fatalf("pod: %v", err)
	}
	pod.Namespace, pod.Name, pod.UID = "ns", "p", "u"
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	st := &stage{t: t, start: start, now: start}
	st.s = &State{Pod: pod, Observed: &cri.Pod{}, NetworkReady: true, StartTime: start, Probes: map[string]Probe{}}
	for _, line := range strings.Split(strings.TrimRight(play, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "  "):
			continue // an old answer
		case line == "", strings.HasPrefix(line, "#"):
			fmt.Fprintln(&st.out, line)
			continue
		}
		fmt.Fprintln(&st.out, line)
		st.command(strings.Fields(line))
	}
	return st.out.String()
}

func (st *stage) command(f []string) {
	pod := st.s.Pod.DeepCopy()
	st.s.Pod = pod
	switch f[0] {
	case "start", "plan":
	case "at":
		d, err := time.ParseDuration(f[1])
		st.must(err)
		st.now = st.start.Add(d)
	case "done":
		st.done(f[1], f[2:])
	case "settle":
		for st.s.Busy() {
			for _, key := range slices.Sorted(maps.Keys(st.s.underWay)) {
				st.done(key, nil)
			}
			st.plan()
		}
		return
	case "exit":
		code, err := strconv.Atoi(f[2])
		st.must(err)
		st.exit(f[1], int32(code), "")
	case "dies":
		st.s.Observed = st.s.Observed.Stopped(f[1])
	case "probe":
		p := st.s.Probes[f[1]]
		switch f[2] {
		case "started":
			p.Started = true
		case "ready":
			p.Ready = true
		case "unready":
			p.Ready = false
		case "liveness":
			p.Failed = KillLiveness
		case "startup":
			p.Failed = KillStartup
		}
		st.s.Probes[f[1]] = p
	case "image":
		name, image, _ := strings.Cut(f[1], "=")
		for i := range pod.Spec.Containers {
			if pod.Spec.Containers[i].Name == name {
				pod.Spec.Containers[i].Image = image
			}
		}
	case "resize":
		name, cpu, _ := strings.Cut(f[1], "=")
		next := pod.DeepCopy()
		next.Generation++
		for i := range next.Spec.Containers {
			if c := &next.Spec.Containers[i]; c.Name == name {
				c.Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
			}
		}
		st.s.Follow(next)
	case "grant":
		st.s.Allocation = AllocationOf(pod)
	case "debug":
		e := v1.EphemeralContainer{TargetContainerName: f[2]}
		e.Name, e.Image = f[1], "debug"
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, e)
	case "delete":
		grace, err := strconv.ParseInt(f[1], 10, 64)
		st.must(err)
		at := metav1.NewTime(st.now)
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &at, &grace
	case "gone":
		st.s.Gone = true
	case "forget":
		st.s = &State{Pod: pod, Observed: st.s.Observed, NetworkReady: true, StartTime: st.s.StartTime, Probes: map[string]Probe{}}
	case "network":
		st.s.NetworkReady = f[1] == "up"
	default:
		st.t.Fatalf("unknown command %q", f)
	}
	st.plan()
}

func (st *stage) must(err error) {
	st.t.Helper()
	if err != nil {
		st.t.Fatal(err)
	}
}

// done ends an action, well unless the arguments say otherwise.
func (st *stage) done(key string, args []string) {
	a, ok := st.s.underWay[key]
	if !ok {
		st.t.Fatalf("nothing under way with key %q; there is %v", key, slices.Sorted(maps.Keys(st.s.underWay)))
	}
	opt := map[string]string{}
	for _, arg := range args {
		k, v, _ := strings.Cut(arg, "=")
		opt[k] = v
	}
	r := Result{Reason: opt["reason"]}
	if e := opt["err"]; e != "" {
		r.Err = errors.New(e)
	}
	_, made := opt["made"]
	switch {
	case r.Err != nil && !made:
	case a.Verb == CreateSandbox:
		st.n++
		r.Sandbox = &cri.Sandbox{ID: fmt.Sprintf("s%d", st.n), Attempt: uint32(a.Attempt), Ready: true, Created: st.now.Add(time.Duration(st.n)),
			HostNetwork: st.s.Pod.Spec.HostNetwork, IPs: []string{fmt.Sprintf("10.0.0.%d", st.n)}}
	case a.Verb == EnsureImage:
		if _, missing := opt["missing"]; !missing {
			r.ImageRef = "id-of-" + a.Container
		}
	case a.Verb == StartContainer:
		st.n++
		c := &cri.Container{ID: fmt.Sprintf("c%d", st.n), Name: a.Container, SandboxID: a.SandboxID, State: cri.Running, RestartCount: a.Attempt,
			CreatedAt: st.now.Add(time.Duration(st.n)), StartedAt: st.now, Hash: st.hash(a.Container)}
		if code, ok := opt["exit"]; ok {
			n, err := strconv.Atoi(code)
			st.must(err)
			c.State, c.ExitCode, c.FinishedAt = cri.Exited, int32(n), st.now
		}
		r.Container = c
	case a.Verb == ResizePod:
		r.Resized = a.Resources
	case a.Verb == KillContainer:
		r.Container = st.ended(a.ID, 137)
	}
	st.s.Done(a, r, st.now)
}

func (st *stage) hash(name string) uint64 {
	for _, list := range [][]v1.Container{st.s.Pod.Spec.Containers, st.s.Pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return cri.Hash(&list[i])
			}
		}
	}
	return 0
}

func (st *stage) ended(id string, code int32) *cri.Container {
	for _, c := range st.s.Observed.Containers {
		if c.ID == id {
			d := *c
			d.State, d.ExitCode, d.FinishedAt = cri.Exited, code, st.now
			return &d
		}
	}
	st.t.Fatalf("no container %q", id)
	return nil
}

func (st *stage) exit(id string, code int32, _ string) {
	st.s.Observed = st.s.Observed.With(nil, st.ended(id, code))
}

// plan plans and writes down what came of it.
func (st *stage) plan() {
	p := st.s.Plan(st.now)
	for _, a := range p.Actions {
		fmt.Fprintf(&st.out, "  %s\n", a)
	}
	for _, e := range p.Events {
		fmt.Fprintf(&st.out, "  event %s %s %s %q\n", e.Container, e.Type, e.Reason, e.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Waiting)) {
		fmt.Fprintf(&st.out, "  waiting %s: %s %q\n", name, p.Waiting[name].Reason, p.Waiting[name].Message)
	}
	if p.Failed != nil {
		fmt.Fprintf(&st.out, "  failed %s\n", p.Failed.Reason)
	}
	if p.Terminal {
		fmt.Fprintln(&st.out, "  terminal")
	}
	if p.Finished {
		fmt.Fprintln(&st.out, "  finished")
	}
	if !p.Wake.IsZero() {
		fmt.Fprintf(&st.out, "  wake %s\n", p.Wake.Sub(st.start))
	}
}
