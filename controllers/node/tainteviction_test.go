package node

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func tolerating(name string, tolerations ...corev1.Toleration) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Finalizers: []string{"example.com/keep"}},
		Spec:       corev1.PodSpec{NodeName: "a", Tolerations: tolerations},
	}
}

func forSeconds(key string, seconds int64) corev1.Toleration {
	return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds}
}

func TestTolerates(t *testing.T) {
	forever := corev1.Toleration{Operator: corev1.TolerationOpExists}
	taints := func(keys ...string) (out []corev1.Taint) {
		for _, k := range keys {
			out = append(out, corev1.Taint{Key: k, Effect: corev1.TaintEffectNoExecute})
		}
		return out
	}
	for _, c := range []struct {
		name    string
		pod     *corev1.Pod
		taints  []corev1.Taint
		stay    time.Duration
		forever bool
	}{
		{"no toleration", tolerating("p"), taints("k"), 0, false},
		{"forever", tolerating("p", forever), taints("k", "l"), 0, true},
		{"some time", tolerating("p", forSeconds("k", 300)), taints("k"), 300 * time.Second, false},
		{"the shortest", tolerating("p", forSeconds("k", 300), forSeconds("l", 20), forever), taints("k", "l", "m"), 20 * time.Second, false},
		{"one is not tolerated", tolerating("p", forSeconds("k", 300)), taints("k", "l"), 0, false},
		{"negative", tolerating("p", forSeconds("k", -1)), taints("k"), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stay, forever := tolerates(c.pod, c.taints)
			if stay != c.stay || forever != c.forever {
				t.Errorf("got %v, %v, want %v, %v", stay, forever, c.stay, c.forever)
			}
		})
	}
}

func TestTaintEviction(t *testing.T) {
	n := readyNode("a", corev1.ConditionTrue)
	n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoExecute}, {Key: "x", Effect: corev1.TaintEffectNoSchedule}}
	c := newCluster(t, n, tolerating("now"), tolerating("later", forSeconds("k", 60)), tolerating("latest", forSeconds("k", 300)), tolerating("never", corev1.Toleration{Operator: corev1.TolerationOpExists}))
	r := NewTaintEviction(c.client, c.clock, c.events)
	look := func() time.Duration {
		t.Helper()
		res, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		return res.RequeueAfter
	}
	deleted := func(name string) bool {
		t.Helper()
		var p corev1.Pod
		err := c.client.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: name}, &p)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if p.DeletionTimestamp == nil {
			return false
		}
		if cond := p.Status.Conditions[0]; cond.Type != corev1.DisruptionTarget || cond.Status != corev1.ConditionTrue || cond.Reason != "DeletionByTaintManager" || cond.Message != "Taint manager: deleting due to NoExecute taint" {
			t.Errorf("condition of %s is %+v", name, cond)
		}
		return true
	}
	if after := look(); after != time.Minute || !deleted("now") || deleted("later") {
		t.Fatalf("back in %v, now deleted: %v, later deleted: %v", after, deleted("now"), deleted("later"))
	}
	if got := c.recorded(); !slices.Equal(got, []string{"Normal TaintManagerEviction Marking for deletion Pod default/now"}) {
		t.Errorf("events are %q", got)
	}
	// Looking again does not start the time anew; nor does another pod.
	c.advance(40 * time.Second)
	if err := c.client.Create(t.Context(), tolerating("late", forSeconds("k", 60))); err != nil {
		t.Fatal(err)
	}
	if after := look(); after != 20*time.Second {
		t.Errorf("back in %v, want 20s", after)
	}
	c.advance(20 * time.Second)
	if after := look(); after != 40*time.Second || !deleted("later") || deleted("late") {
		t.Errorf("back in %v, later deleted: %v, late deleted: %v", after, deleted("later"), deleted("late"))
	}
	c.recorded()
	// The taint goes: what was decided is off.
	node := c.node("a")
	node.Spec.Taints = node.Spec.Taints[1:]
	if err := c.client.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if after := look(); after != 0 {
		t.Errorf("back in %v, want never", after)
	}
	got := c.recorded()
	slices.Sort(got)
	if !slices.Equal(got, []string{"Normal TaintManagerEviction Cancelling deletion of Pod default/late", "Normal TaintManagerEviction Cancelling deletion of Pod default/latest"}) {
		t.Errorf("events are %q", got)
	}
	c.advance(time.Hour)
	look()
	if deleted("latest") || deleted("never") || len(r.due) != 0 {
		t.Errorf("latest deleted: %v, never deleted: %v, due: %v", deleted("latest"), deleted("never"), r.due)
	}
	var pods corev1.PodList
	if err := c.client.List(t.Context(), &pods, client.InNamespace("default")); err != nil || len(pods.Items) != 5 {
		t.Errorf("%d pods (%v)", len(pods.Items), err)
	}
}
