package cri

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestOperation(t *testing.T) {
	for method, want := range map[string]string{
		"/runtime.v1.RuntimeService/RunPodSandbox":    "run_podsandbox",
		"/runtime.v1.RuntimeService/ListPodSandbox":   "list_podsandbox",
		"/runtime.v1.RuntimeService/PodSandboxStatus": "podsandbox_status",
		"/runtime.v1.RuntimeService/CreateContainer":  "create_container",
		"/runtime.v1.ImageService/PullImage":          "pull_image",
		"/runtime.v1.RuntimeService/ExecSync":         "exec_sync",
	} {
		if got := Operation(method); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
	}
}

func TestContainerSurvivesTheRoundTrip(t *testing.T) {
	grace := int64(7)
	pod := &v1.Pod{Spec: v1.PodSpec{TerminationGracePeriodSeconds: &grace}}
	pod.Namespace, pod.Name, pod.UID = "ns", "p", "u"
	c := &v1.Container{Name: "app", Image: "app:1", TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageFallbackToLogsOnError}
	got := ContainerOf("s", &runtimeapi.ContainerStatus{
		Id: "c", Metadata: &runtimeapi.ContainerMetadata{Name: "app", Attempt: 3}, State: runtimeapi.ContainerState_CONTAINER_EXITED,
		Image: &runtimeapi.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "app:1"}, Labels: ContainerLabels(pod, c.Name), Annotations: ContainerAnnotations(pod, c, 3),
		Mounts: []*runtimeapi.Mount{{ContainerPath: "/dev/termination-log", HostPath: "/x"}}, CreatedAt: 1, StartedAt: 2, FinishedAt: 3, ExitCode: 5,
		StopSignal: runtimeapi.Signal_SIGNAL_SIGINT,
	})
	if got.RestartCount != 3 || got.Hash != Hash(c) || got.Image != "app:1" || got.TerminationMessageHostPath != "/x" || *got.TerminationGracePeriod != 7 ||
		got.State != Exited || got.ExitCode != 5 || got.StopSignal != "SIGINT" || got.TerminationMessagePolicy != v1.TerminationMessageFallbackToLogsOnError {
		t.Errorf("got %+v", got)
	}
	other := *c
	other.Image = "app:2"
	if Hash(&other) == Hash(c) {
		t.Error("another image has the same hash")
	}
}

func TestPodIsAValue(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	var p *Pod
	a := p.With(&Sandbox{ID: "s1", Ready: true, IPs: []string{"10.0.0.1"}, Created: at(1)}, &Container{ID: "c1", Name: "app", SandboxID: "s1", State: Running, CreatedAt: at(2)})
	b := a.With(nil, &Container{ID: "c1", Name: "app", SandboxID: "s1", State: Exited, CreatedAt: at(2)}).With(nil, &Container{ID: "c2", Name: "app", SandboxID: "s1", State: Running, CreatedAt: at(3)})
	if a.Container("app").State != Running || len(a.Containers) != 1 {
		t.Errorf("With changed its receiver: %+v", a.Containers)
	}
	if b.Container("app").ID != "c2" || len(b.Containers) != 2 || a.Same(b) || !a.Same(a) {
		t.Errorf("containers %+v", b.Containers)
	}
	stopped := b.Stopped("s1")
	if stopped.IPs() != nil || b.IPs()[0] != "10.0.0.1" {
		t.Error("Stopped changed its receiver, or left the sandbox ready")
	}
	if gone := b.Without("s1"); !gone.Empty() {
		t.Errorf("with a sandbox go its containers: %+v", gone)
	}
}

func TestStale(t *testing.T) {
	var none *Pod
	p := none.With(&Sandbox{ID: "s1", Ready: true}, &Container{ID: "c1", Name: "app", SandboxID: "s1", State: Running})
	event := func(kind runtimeapi.ContainerEventType, ready runtimeapi.PodSandboxState, state runtimeapi.ContainerState) *runtimeapi.ContainerEventResponse {
		return &runtimeapi.ContainerEventResponse{ContainerEventType: kind, PodSandboxStatus: &runtimeapi.PodSandboxStatus{Id: "s1", State: ready},
			ContainersStatuses: []*runtimeapi.ContainerStatus{{Id: "c1", State: state}}}
	}
	started := runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT
	if p.Stale(event(started, runtimeapi.PodSandboxState_SANDBOX_READY, runtimeapi.ContainerState_CONTAINER_RUNNING)) {
		t.Error("what is known already is news")
	}
	if !p.Stale(event(started, runtimeapi.PodSandboxState_SANDBOX_READY, runtimeapi.ContainerState_CONTAINER_EXITED)) {
		t.Error("an exit is no news")
	}
	if !p.Stale(event(started, runtimeapi.PodSandboxState_SANDBOX_NOTREADY, runtimeapi.ContainerState_CONTAINER_RUNNING)) {
		t.Error("a dead sandbox is no news")
	}
	if !none.Stale(event(started, runtimeapi.PodSandboxState_SANDBOX_READY, runtimeapi.ContainerState_CONTAINER_RUNNING)) {
		t.Error("a new sandbox is no news")
	}
}

// The hash is upstream's, so that either agent can adopt the other's containers.
func TestHashIsUpstreams(t *testing.T) {
	if got := Hash(&v1.Container{Name: "test_container", Image: "foo/image:v1", Args: []string{"/bin/sh"}}); got != 0x8e45cbd0 {
		t.Errorf("hash %#x, want 0x8e45cbd0", got)
	}
}
