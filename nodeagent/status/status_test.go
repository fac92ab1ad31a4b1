package status

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func pod(policy v1.RestartPolicy, init []v1.Container, containers ...v1.Container) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", Generation: 3}, Spec: v1.PodSpec{RestartPolicy: policy, InitContainers: init, Containers: containers}}
}

func c(name string) v1.Container { return v1.Container{Name: name, Image: name + ":1"} }

func sidecar(name string) v1.Container {
	always := v1.ContainerRestartPolicyAlways
	out := c(name)
	out.RestartPolicy = &always
	return out
}

func got(name, id string, state cri.State, code int32, restarts int32) *cri.Container {
	out := &cri.Container{ID: id, Name: name, SandboxID: "s", State: state, ExitCode: code, RestartCount: restarts, Image: name + ":1", ImageRef: "sha256:" + name,
		CreatedAt: start.Add(time.Duration(restarts) * time.Second), StartedAt: start}
	if state == cri.Exited {
		out.FinishedAt = start.Add(time.Minute)
	}
	return out
}

func observed(containers ...*cri.Container) *cri.Pod {
	p := &cri.Pod{}
	p = p.With(&cri.Sandbox{ID: "s", Ready: true, IPs: []string{"10.0.0.1"}, Created: start}, nil)
	for _, x := range containers {
		p = p.With(nil, x)
	}
	return p
}

func TestPhaseAndConditions(t *testing.T) {
	for _, tc := range []struct {
		name     string
		pod      *v1.Pod
		observed *cri.Pod
		waiting  map[string]planner.Waiting
		probes   map[string]planner.Probe
		terminal bool
		failed   *planner.Failure
		phase    v1.PodPhase
		ready    string // status/reason of Ready
		init     string
		state    string // of the first container
	}{
		{name: "nothing yet", pod: pod(v1.RestartPolicyAlways, nil, c("a")), observed: &cri.Pod{}, phase: v1.PodPending, ready: "False/ContainersNotReady", init: "True/", state: "waiting ContainerCreating"},
		{name: "running", pod: pod(v1.RestartPolicyAlways, nil, c("a")), observed: observed(got("a", "1", cri.Running, 0, 0)), phase: v1.PodRunning, ready: "True/", init: "True/", state: "running"},
		{name: "init runs", pod: pod(v1.RestartPolicyAlways, []v1.Container{c("i")}, c("a")), observed: observed(got("i", "1", cri.Running, 0, 0)),
			phase: v1.PodPending, ready: "False/ContainersNotReady", init: "False/ContainersNotInitialized", state: "waiting PodInitializing"},
		{name: "init failed for good", pod: pod(v1.RestartPolicyNever, []v1.Container{c("i")}, c("a")), observed: observed(got("i", "1", cri.Exited, 1, 0)), terminal: true,
			phase: v1.PodFailed, ready: "False/PodFailed", init: "False/ContainersNotInitialized", state: "waiting PodInitializing"},
		{name: "readiness probe not yet", pod: pod(v1.RestartPolicyAlways, nil, v1.Container{Name: "a", ReadinessProbe: &v1.Probe{}}), observed: observed(got("a", "1", cri.Running, 0, 0)),
			probes: map[string]planner.Probe{"1": {Started: true}}, phase: v1.PodRunning, ready: "False/ContainersNotReady", init: "True/", state: "running"},
		{name: "ready", pod: pod(v1.RestartPolicyAlways, nil, v1.Container{Name: "a", ReadinessProbe: &v1.Probe{}}), observed: observed(got("a", "1", cri.Running, 0, 0)),
			probes: map[string]planner.Probe{"1": {Started: true, Ready: true}}, phase: v1.PodRunning, ready: "True/", init: "True/", state: "running"},
		{name: "crash loop", pod: pod(v1.RestartPolicyAlways, nil, c("a")), observed: observed(got("a", "1", cri.Exited, 1, 4)), waiting: map[string]planner.Waiting{"a": {Reason: "CrashLoopBackOff"}},
			phase: v1.PodRunning, ready: "False/ContainersNotReady", init: "True/", state: "waiting CrashLoopBackOff"},
		{name: "never: succeeded", pod: pod(v1.RestartPolicyNever, nil, c("a")), observed: observed(got("a", "1", cri.Exited, 0, 0)), terminal: true,
			phase: v1.PodSucceeded, ready: "False/PodCompleted", init: "True/PodCompleted", state: "terminated Completed 0"},
		{name: "never: failed", pod: pod(v1.RestartPolicyNever, nil, c("a"), c("b")), observed: observed(got("a", "1", cri.Exited, 0, 0), got("b", "2", cri.Exited, 2, 0)),
			phase: v1.PodFailed, ready: "False/PodFailed", init: "True/", state: "terminated Completed 0"},
		{name: "on failure: comes back", pod: pod(v1.RestartPolicyOnFailure, nil, c("a")), observed: observed(got("a", "1", cri.Exited, 2, 0)),
			phase: v1.PodRunning, ready: "False/ContainersNotReady", init: "True/", state: "terminated Error 2"},
		{name: "deleted: everything ended", pod: pod(v1.RestartPolicyAlways, nil, c("a")), observed: observed(got("a", "1", cri.Exited, 0, 0)), terminal: true,
			phase: v1.PodSucceeded, ready: "False/PodCompleted", init: "True/PodCompleted", state: "terminated Completed 0"},
		{name: "sidecar starting", pod: pod(v1.RestartPolicyAlways, []v1.Container{sidecar("i")}, c("a")), observed: observed(got("i", "1", cri.Running, 0, 0)),
			probes: map[string]planner.Probe{"1": {}}, phase: v1.PodPending, ready: "False/ContainersNotReady", init: "False/ContainersNotInitialized", state: "waiting PodInitializing"},
		{name: "sidecar and container", pod: pod(v1.RestartPolicyAlways, []v1.Container{sidecar("i")}, c("a")), observed: observed(got("i", "1", cri.Running, 0, 0), got("a", "2", cri.Running, 0, 0)),
			phase: v1.PodRunning, ready: "True/", init: "True/", state: "running"},
		{name: "deadline", pod: pod(v1.RestartPolicyAlways, nil, c("a")), observed: observed(got("a", "1", cri.Exited, 137, 0)), terminal: true, failed: &planner.Failure{Reason: "DeadlineExceeded"},
			phase: v1.PodFailed, ready: "False/PodFailed", init: "True/", state: "terminated Error 137"},
		{name: "image missing", pod: pod(v1.RestartPolicyAlways, nil, c("a")), observed: observed(), waiting: map[string]planner.Waiting{"a": {Reason: "ErrImagePull", Message: "no"}},
			phase: v1.PodPending, ready: "False/ContainersNotReady", init: "True/", state: "waiting ErrImagePull"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Generate(Input{Pod: tc.pod, Observed: tc.observed, Waiting: tc.waiting, Probes: tc.probes, Terminal: tc.terminal, Failed: tc.failed, HostIPs: []string{"192.0.2.1"}, Now: start})
			if s.Phase != tc.phase {
				t.Errorf("phase %s, want %s", s.Phase, tc.phase)
			}
			if got := cond(s, v1.PodReady); got != tc.ready {
				t.Errorf("Ready %s, want %s", got, tc.ready)
			}
			if got := cond(s, v1.PodInitialized); got != tc.init {
				t.Errorf("Initialized %s, want %s", got, tc.init)
			}
			if got := state(s.ContainerStatuses[0].State); got != tc.state {
				t.Errorf("state %s, want %s", got, tc.state)
			}
			if s.ObservedGeneration != 3 {
				t.Errorf("observedGeneration %d", s.ObservedGeneration)
			}
		})
	}
}

func cond(s v1.PodStatus, kind v1.PodConditionType) string {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return string(c.Status) + "/" + c.Reason
		}
	}
	return "none"
}

func state(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("terminated %s %d", s.Terminated.Reason, s.Terminated.ExitCode)
	case s.Waiting != nil:
		return "waiting " + s.Waiting.Reason
	}
	return "none"
}

func TestRestartedContainerHasItsLastState(t *testing.T) {
	p := pod(v1.RestartPolicyAlways, nil, c("a"))
	s := Generate(Input{Pod: p, Observed: observed(got("a", "1", cri.Exited, 3, 0), got("a", "2", cri.Running, 0, 1)), Now: start})
	st := s.ContainerStatuses[0]
	if st.RestartCount != 1 || st.State.Running == nil || st.LastTerminationState.Terminated == nil || st.LastTerminationState.Terminated.ExitCode != 3 {
		t.Errorf("got %+v", st)
	}
	if st.ContainerID != "containerd://2" || st.ImageID != "sha256:a" {
		t.Errorf("ids %q %q", st.ContainerID, st.ImageID)
	}
	// The dead one has been collected: what was reported of it stays.
	s2 := Generate(Input{Pod: p, Old: &s, Observed: observed(got("a", "2", cri.Running, 0, 1)), Now: start.Add(time.Hour)})
	if !Same(&s, &s2) {
		t.Errorf("status changed: %+v", s2.ContainerStatuses[0])
	}
}

func TestContainerThatIsStartingIsWaiting(t *testing.T) {
	s := Generate(Input{Pod: pod(v1.RestartPolicyAlways, nil, c("a")), Observed: observed(got("a", "1", cri.Running, 0, 0)),
		Starting: func(string) bool { return true }, Now: start})
	if got := state(s.ContainerStatuses[0].State); got != "waiting ContainerCreating" || s.Phase != v1.PodPending {
		t.Errorf("%s %s", got, s.Phase)
	}
}

func TestOthersConditionsAndGates(t *testing.T) {
	p := pod(v1.RestartPolicyAlways, nil, c("a"))
	p.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.org/lb"}}
	in := Input{Pod: p, Observed: observed(got("a", "1", cri.Running, 0, 0)), Now: start}
	s := Generate(in)
	if got := cond(s, v1.PodReady); got != "False/ReadinessGatesNotReady" {
		t.Errorf("Ready %s", got)
	}
	p.Status.Conditions = []v1.PodCondition{{Type: "example.org/lb", Status: v1.ConditionTrue}}
	if s = Generate(in); cond(s, v1.PodReady) != "True/" || cond(s, "example.org/lb") != "True/" {
		t.Errorf("conditions %v", s.Conditions)
	}
}

func TestTerminalPhaseStays(t *testing.T) {
	p := pod(v1.RestartPolicyNever, nil, c("a"))
	p.Status.Phase, p.Status.Reason = v1.PodFailed, "Evicted"
	if s := Generate(Input{Pod: p, Observed: observed(got("a", "1", cri.Running, 0, 0)), Now: start}); s.Phase != v1.PodFailed || s.Reason != "Evicted" {
		t.Errorf("%s %s", s.Phase, s.Reason)
	}
}

func TestQOS(t *testing.T) {
	r := func(cpu, mem string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(mem)}
	}
	for _, tc := range []struct {
		name string
		res  []v1.ResourceRequirements
		want v1.PodQOSClass
	}{
		{"none", []v1.ResourceRequirements{{}}, v1.PodQOSBestEffort},
		{"equal", []v1.ResourceRequirements{{Requests: r("1", "1Gi"), Limits: r("1", "1Gi")}}, v1.PodQOSGuaranteed},
		{"lower requests", []v1.ResourceRequirements{{Requests: r("500m", "1Gi"), Limits: r("1", "1Gi")}}, v1.PodQOSBurstable},
		{"one container without", []v1.ResourceRequirements{{Requests: r("1", "1Gi"), Limits: r("1", "1Gi")}, {}}, v1.PodQOSBurstable},
	} {
		p := pod(v1.RestartPolicyAlways, nil)
		for _, x := range tc.res {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: x})
		}
		if got := QOS(p); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
