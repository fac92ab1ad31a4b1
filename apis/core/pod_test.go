package core

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func podOf(containers ...string) *corev1.Pod {
	p := &corev1.Pod{}
	p.Name, p.Namespace = "web", "default"
	for _, name := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name, Image: name})
	}
	DefaultPod(p)
	return p
}

func TestSummarize(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	ended := func(reason string, code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code}}
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	now := metav1.Now()
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"pending": {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, "0/1 Pending 0"},
		"gated": {func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Reason: corev1.PodReasonSchedulingGated}}
		}, "0/1 SchedulingGated 0"},
		"evicted": {func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" }, "0/1 Evicted 0"},
		"running": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", Ready: true, State: running}}
		}, "1/1 Running 0"},
		"restarted": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", Ready: true, State: running, RestartCount: 2,
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(time.Now().Add(-90 * time.Minute))}}}}
		}, "1/1 Running 2 (90m ago)"},
		"crashing": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: waiting("CrashLoopBackOff"), RestartCount: 3}}
		}, "0/1 CrashLoopBackOff 3"},
		"init failed": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "a"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "a", State: ended("", 3)}}
		}, "0/1 Init:ExitCode:3 0"},
		"init second": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "a"}, {Name: "b"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "a", State: ended("Completed", 0)}, {Name: "b", State: waiting("PodInitializing")}}
		}, "0/1 Init:1/2 0"},
		"sidecar": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "a", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}}
			p.Status.Phase = corev1.PodRunning
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "a", Started: ptr.To(true), Ready: true, State: running}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", Ready: true, State: running}}
		}, "2/2 Running 0"},
		"completed": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodSucceeded
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: ended("Completed", 0)}}
		}, "0/1 Completed 0"},
		"one failed": {func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "b"})
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: ended("Completed", 0)}, {Name: "b", State: ended("Error", 1)}}
		}, "0/2 Error 0"},
		"half done": {func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "b"})
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: ended("Completed", 0)}, {Name: "b", Ready: true, State: running}}
		}, "1/2 NotReady 0"},
		"terminating": {func(p *corev1.Pod) { p.Status.Phase, p.DeletionTimestamp = corev1.PodRunning, &now }, "0/1 Terminating 0"},
		"lost":        {func(p *corev1.Pod) { p.Status.Reason, p.DeletionTimestamp = "NodeLost", &now }, "0/1 Unknown 0"},
	} {
		p := podOf("web")
		c.change(p)
		s := summarize(p)
		if got := s.ready + " " + s.reason + " " + s.restarts; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestPodGrace(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Pod, *metav1.DeleteOptions)
		want   int64
	}{
		"the pod's own":     {func(*corev1.Pod, *metav1.DeleteOptions) {}, 30},
		"the request's":     {func(_ *corev1.Pod, o *metav1.DeleteOptions) { o.GracePeriodSeconds = ptr.To(int64(5)) }, 5},
		"at once":           {func(_ *corev1.Pod, o *metav1.DeleteOptions) { o.GracePeriodSeconds = ptr.To(int64(0)) }, 0},
		"negative":          {func(_ *corev1.Pod, o *metav1.DeleteOptions) { o.GracePeriodSeconds = ptr.To(int64(-1)) }, 1},
		"not scheduled":     {func(p *corev1.Pod, _ *metav1.DeleteOptions) { p.Spec.NodeName = "" }, 0},
		"already succeeded": {func(p *corev1.Pod, _ *metav1.DeleteOptions) { p.Status.Phase = corev1.PodSucceeded }, 0},
	} {
		p, o := podOf("web"), &metav1.DeleteOptions{}
		p.Spec.NodeName = "n1"
		c.change(p, o)
		if !podGrace(context.Background(), p, o) || *o.GracePeriodSeconds != c.want {
			t.Errorf("%s: %d seconds, want %d", name, *o.GracePeriodSeconds, c.want)
		}
	}
	if podGrace(context.Background(), podOf("web"), nil) {
		t.Error("graceful without options")
	}
}

func TestBindPod(t *testing.T) {
	b := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	b.Labels = map[string]string{"zone": "a"}
	p := podOf("web")
	p.Status.NominatedNodeName = "n9"
	if err := bindPod(p, b); err != nil {
		t.Fatal(err)
	}
	if p.Spec.NodeName != "n1" || p.Labels["zone"] != "a" || p.Status.NominatedNodeName != "" || !hasPodCondition(p, corev1.PodScheduled) {
		t.Errorf("bound pod: %+v", p)
	}
	now := metav1.Now()
	for want, change := range map[string]func(*corev1.Pod){
		`pod web is already assigned to node "n0"`:               func(p *corev1.Pod) { p.Spec.NodeName = "n0" },
		"pod web is being deleted, cannot be assigned to a host": func(p *corev1.Pod) { p.DeletionTimestamp = &now },
		"pod web has non-empty .spec.schedulingGates":            func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "a"}} },
	} {
		p := podOf("web")
		change(p)
		if err := bindPod(p, b); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if errs := validateBinding(&corev1.Binding{Target: corev1.ObjectReference{Kind: "Pod"}}); len(errs) != 2 {
		t.Errorf("binding to nothing: %v", errs)
	}
}

func TestPickContainer(t *testing.T) {
	for _, c := range []struct {
		pod        *corev1.Pod
		name, want string
		err        string
	}{
		{podOf("a"), "", "a", ""},
		{podOf("a", "b"), "b", "b", ""},
		{podOf("a", "b"), "", "", "a container name must be specified for pod web, choose one of: [a b]"},
		{podOf("a"), "x", "", "container x is not valid for pod web"},
	} {
		got, err := pickContainer(c.pod, c.name)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%q: %q, %v", c.name, got, err)
		}
	}
}

func TestPodLocation(t *testing.T) {
	p := podOf("a")
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
	for ip, want := range map[string]string{"10.0.0.5": "http://10.0.0.5:8080", "fd00::5": "http://[fd00::5]:8080", "127.0.0.1": "", "169.254.1.1": "", "": ""} {
		p.Status.PodIPs = []corev1.PodIP{{IP: ip}}
		u, err := podLocation(p, "http", "")
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "address not allowed") {
				t.Errorf("%q: %v, %v", ip, u, err)
			}
		} else if err != nil || u.String() != want {
			t.Errorf("%q: %v, %v; want %s", ip, u, err, want)
		}
	}
}

func TestPodStatusUpdate(t *testing.T) {
	old := podOf("a")
	old.Spec.RestartPolicy = corev1.RestartPolicyNever
	old.Status.QOSClass = corev1.PodQOSBestEffort
	old.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "a", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	p := old.DeepCopy()
	p.Spec.NodeName = "elsewhere"
	p.Status.QOSClass = ""
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "10.0.0.2"}}
	preparePodStatus(p, old)
	if p.Spec.NodeName != "" || p.Status.QOSClass != corev1.PodQOSBestEffort {
		t.Errorf("a status write changed the spec or lost the QoS class: %+v", p)
	}
	errs := validatePodStatusUpdate(p, old)
	if len(errs) != 2 || errs[0].Field != "status.containerStatuses[0].state" || errs[1].Field != "status.podIPs" {
		t.Errorf("errors %v", errs)
	}
}

func TestResizeKeepsTheRest(t *testing.T) {
	old := podOf("a")
	p := old.DeepCopy()
	p.Spec.NodeName = "n1"
	p.Spec.Containers[0].Image = "other"
	p.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.NotRequired}}
	prepareResize(p, old)
	if p.Spec.NodeName != "" || p.Spec.Containers[0].Image != "a" || len(p.Spec.Containers[0].ResizePolicy) != 1 || p.Generation != 1 {
		t.Errorf("resized: %+v", p)
	}
}
