package apps

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control/controltest"
)

func testDaemonSet() *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "agent"},
		Spec: appsv1.DaemonSetSpec{
			Selector:             &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}},
			RevisionHistoryLimit: ptr.To(int32(1)),
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type:          appsv1.RollingUpdateDaemonSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: ptr.To(intstr.FromInt32(1))},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "agent"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}},
			},
		},
	}
}

func testNode(name string, taints ...corev1.Taint) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}, Spec: corev1.NodeSpec{Taints: taints}}
}

func daemonWorld(t *testing.T, objs ...client.Object) (*controltest.World, *DaemonSet) {
	w := controltest.New(t)
	r := NewDaemonSet(w.Client, w.Client, w.Recorder(), w.Clock)
	w.WatchSelf(&appsv1.DaemonSet{})
	w.Watch(&corev1.Pod{}, r.podEvents())
	w.Watch(&corev1.Node{}, r.nodeEvents())
	w.Do(func() {
		for _, obj := range objs {
			if err := w.Client.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
		}
	})
	return w, r
}

// bind acts as scheduler and node: pods run, ready, on the node they are for.
func bind(w *controltest.World) {
	for _, p := range w.Pods("default") {
		if p.Spec.NodeName == "" {
			controltest.Update(w, p, func(p *corev1.Pod) { p.Spec.NodeName = targetNode(p) })
			w.SetReady(p)
		}
	}
}

// daemons prints which image runs on which node.
func daemons(w *controltest.World) string {
	var out []string
	for _, p := range w.Pods("default") {
		out = append(out, targetNode(p)+"="+p.Spec.Containers[0].Image)
	}
	// Pod names follow creation; order by node for reading.
	for i := range out {
		for j := i + 1; j < len(out); j++ {
			if out[j] < out[i] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return strings.Join(out, " ")
}

func TestDaemonSetFollowsNodes(t *testing.T) {
	taint := corev1.Taint{Key: "only", Value: "me", Effect: corev1.TaintEffectNoExecute}
	pressure := corev1.Taint{Key: corev1.TaintNodeMemoryPressure, Effect: corev1.TaintEffectNoSchedule}
	w, r := daemonWorld(t, testNode("a"), testNode("b", pressure), testNode("c", taint), testDaemonSet())
	got := w.Run(r)
	for _, line := range []string{
		"create ControllerRevision agent-",
		"status DaemonSet agent: status.desiredNumberScheduled=2 status.numberUnavailable=2 status.observedGeneration=1",
		"status.currentNumberScheduled=2",
		"event Normal SuccessfulCreate Created pod: agent-",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in:\n%s", line, got)
		}
	}
	if got := daemons(w); got != "a=v1 b=v1" {
		t.Errorf("pods %q", got)
	}
	bind(w)
	want(t, w.Run(r), `status DaemonSet agent: status.numberAvailable=2 status.numberReady=2 status.numberUnavailable=-`)

	// A taint with NoExecute takes the pod away, its removal brings one.
	controltest.Update(w, testNode("a"), func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{taint} })
	controltest.Update(w, testNode("c"), func(n *corev1.Node) { n.Spec.Taints = nil })
	w.Run(r)
	if got := daemons(w); got != "b=v1 c=v1" {
		t.Errorf("pods after the taints moved: %q", got)
	}
}

func TestDaemonSetRollingUpdate(t *testing.T) {
	for name, tc := range map[string]struct {
		surge, unavailable int32
		want               string
	}{
		"one at a time": {0, 1, `
a=v1 b=v1 c=v1
b=v1 c=v1 a=v2
c=v1 a=v2 b=v2
a=v2 b=v2 c=v2`},
		"surge of two": {2, 0, `
a=v1 b=v1 c=v1
a=v1 a=v2 b=v1 b=v2 c=v1
c=v1 c=v2 a=v2 b=v2
a=v2 b=v2 c=v2`},
	} {
		t.Run(name, func(t *testing.T) {
			ds := testDaemonSet()
			ds.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{
				MaxSurge: ptr.To(intstr.FromInt32(tc.surge)), MaxUnavailable: ptr.To(intstr.FromInt32(tc.unavailable)),
			}
			w, r := daemonWorld(t, testNode("a"), testNode("b"), testNode("c"), ds)
			w.Run(r)
			bind(w)
			w.Run(r)
			var steps []string
			steps = append(steps, daemons(w))
			controltest.Update(w, ds, func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.Containers[0].Image = "v2" })
			for range 10 {
				w.Run(r)
				s := daemons(w)
				if s == steps[len(steps)-1] {
					break
				}
				steps = append(steps, s)
				bind(w)
			}
			got := map[string]bool{}
			for _, s := range steps {
				got[fmt.Sprint(sortedWords(s))] = true
			}
			for _, line := range strings.Split(strings.TrimSpace(tc.want), "\n") {
				if !got[fmt.Sprint(sortedWords(line))] {
					t.Errorf("step %q was not seen; steps:\n%s", line, strings.Join(steps, "\n"))
				}
			}
		})
	}
}

func sortedWords(s string) []string {
	f := strings.Fields(s)
	for i := range f {
		for j := i + 1; j < len(f); j++ {
			if f[j] < f[i] {
				f[i], f[j] = f[j], f[i]
			}
		}
	}
	return f
}

func TestDaemonSetReplacesFailedPodsWithBackoff(t *testing.T) {
	w, r := daemonWorld(t, testNode("a"), testDaemonSet())
	w.Run(r)
	w.SetPhase(w.Pods("default")[0], corev1.PodFailed)
	got := w.Run(r)
	if !strings.Contains(got, "event Warning FailedDaemonPod Found failed daemon pod default/agent-") || !strings.Contains(got, "delete Pod") {
		t.Errorf("first failure: %s", got)
	}
	w.SetPhase(w.Pods("default")[0], corev1.PodFailed)
	if got := w.Run(r); strings.Contains(got, "delete Pod") {
		t.Errorf("no backoff: %s", got)
	}
	if wait := w.Queue.Waiting(); wait <= 0 {
		t.Errorf("nothing is planned for the end of the backoff: %v", wait)
	}
	w.Advance(w.Queue.Waiting() + 1)
	if got := w.Run(r); !strings.Contains(got, "delete Pod") {
		t.Errorf("after the backoff: %s", got)
	}
}
