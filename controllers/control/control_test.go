package control

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

var (
	key = types.NamespacedName{Namespace: "ns", Name: "owner"}
	now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

func TestExpectations(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	e := NewExpectations(clk)
	check := func(step string, want bool) {
		t.Helper()
		if ok, _ := e.Satisfied(key); ok != want {
			t.Errorf("%s: satisfied %v, want %v", step, ok, want)
		}
	}
	check("nothing expected", true)
	e.ExpectCreations(key, 2)
	check("two creations", false)
	e.CreationObserved(key)
	check("one seen", false)
	e.CreationObserved(key)
	check("both seen", true)
	e.CreationObserved(key)
	check("one more than expected", true)

	e.ExpectDeletions(key, "a", "b")
	e.DeletionObserved(key, "x")
	e.DeletionObserved(key, "a")
	e.DeletionObserved(key, "a")
	check("a seen twice", false)
	e.DeletionObserved(key, "b")
	check("b seen", true)

	e.ExpectCreations(key, 1)
	clk.Step(ExpectationsTimeout - time.Second)
	if ok, wait := e.Satisfied(key); ok || wait != time.Second {
		t.Errorf("before the timeout: %v %v", ok, wait)
	}
	clk.Step(time.Second)
	check("timed out", true)
	e.ExpectCreations(key, 1)
	e.Forget(key)
	check("forgotten", true)
}

func TestSlowStart(t *testing.T) {
	for name, tc := range map[string]struct {
		count, failAt       int
		wantCalls, wantGood int
	}{
		"all good":          {10, -1, 10, 10},
		"first fails":       {10, 0, 1, 0},
		"third batch fails": {10, 3, 7, 6},
		"nothing to do":     {0, -1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			calls := 0
			good, err := SlowStart(tc.count, 1, func(i int) error {
				mu.Lock()
				defer mu.Unlock()
				calls++
				if i == tc.failAt {
					return errors.New("no")
				}
				return nil
			})
			if calls != tc.wantCalls || good != tc.wantGood || (err != nil) != (tc.failAt >= 0) {
				t.Errorf("calls %d, good %d, err %v; want %d, %d", calls, good, err, tc.wantCalls, tc.wantGood)
			}
		})
	}
}

func TestRankForDeletion(t *testing.T) {
	ready := func(name, node string, since time.Duration) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(now.Add(-since))},
			Spec:       corev1.PodSpec{NodeName: node},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-since))},
			}},
		}
	}
	change := func(p *corev1.Pod, f func(*corev1.Pod)) *corev1.Pod { f(p); return p }
	for name, tc := range map[string]struct {
		pods []*corev1.Pod
		want string
	}{
		"state": {[]*corev1.Pod{
			ready("ready", "n1", time.Hour),
			change(ready("running", "n2", time.Hour), func(p *corev1.Pod) { p.Status.Conditions = nil }),
			change(ready("unknown", "n3", time.Hour), func(p *corev1.Pod) { p.Status.Phase = corev1.PodUnknown }),
			change(ready("pending", "n4", time.Hour), func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }),
			change(ready("unassigned", "", time.Hour), func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }),
		}, "unassigned pending unknown running ready"},
		"cost before neighbours": {[]*corev1.Pod{
			ready("a", "n1", time.Hour), ready("b", "n1", time.Hour),
			change(ready("cheap", "n2", time.Hour), func(p *corev1.Pod) { p.Annotations = map[string]string{PodDeletionCost: "-5"} }),
		}, "cheap a b"},
		"neighbours":                     {[]*corev1.Pod{ready("alone", "n1", time.Minute), ready("a", "n2", time.Hour), ready("b", "n2", time.Hour)}, "a b alone"},
		"younger":                        {[]*corev1.Pod{ready("old", "n1", 100*time.Hour), ready("young", "n2", time.Minute)}, "young old"},
		"about the same age goes by UID": {[]*corev1.Pod{ready("b", "n1", 60*time.Minute), ready("a", "n2", 61*time.Minute)}, "a b"},
		"restarts": {[]*corev1.Pod{
			ready("calm", "n1", time.Hour),
			change(ready("restless", "n2", time.Hour), func(p *corev1.Pod) {
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 3}}
			}),
		}, "restless calm"},
	} {
		t.Run(name, func(t *testing.T) {
			RankForDeletion(tc.pods, tc.pods, now)
			var got []string
			for _, p := range tc.pods {
				got = append(got, p.Name)
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got %q, want %q", s, tc.want)
			}
		})
	}
}

func TestTemplateHash(t *testing.T) {
	template := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	seen := map[string]bool{}
	one := int32(1)
	for _, h := range []string{TemplateHash(template, nil), TemplateHash(template.DeepCopy(), nil), TemplateHash(template, &one)} {
		seen[h] = true
	}
	template.Spec.Containers[0].Image = "j"
	seen[TemplateHash(template, nil)] = true
	if len(seen) != 3 {
		t.Errorf("equal templates hash alike, others do not: %v", seen)
	}
}

func TestPacer(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	p := NewPacer(clk)
	var got []string
	for _, step := range []struct {
		after time.Duration
		n     int
	}{{0, 100}, {50 * time.Millisecond, 100}, {150 * time.Millisecond, 100}, {0, 5}, {0, 5000}, {time.Second, 5000}} {
		clk.Step(step.after)
		wait := p.Due(key)
		got = append(got, fmt.Sprint(wait))
		if wait == 0 {
			p.Note(key, step.n)
		}
	}
	if s, want := strings.Join(got, " "), "0s 150ms 0s 200ms 200ms 0s"; s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

func TestNamePrefix(t *testing.T) {
	long := strings.Repeat("a", 260)
	got := []string{NamePrefix("web"), NamePrefix(long)}
	sort.Strings(got)
	if got[1] != "web-" || got[0] != long {
		t.Errorf("prefixes %q", got)
	}
}
