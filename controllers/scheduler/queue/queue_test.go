package queue

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"proa/controllers/scheduler/framework"
	"proa/controllers/scheduler/plugins"
)

func waiting(i int) *framework.Pending {
	return framework.NewPending(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), UID: types.UID(fmt.Sprint(i))}})
}

// TestBackoff: 1s, doubled per attempt, never more than 10s.
func TestBackoff(t *testing.T) {
	q := New(plugins.All(), Options{})
	now := time.Unix(0, 0)
	q.Add(now, waiting(1), "shape")
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		item := q.Pop(now)
		if item == nil {
			t.Fatal("nothing to pop")
		}
		q.Fail(now, item)
		at, ok := q.Next()
		if got := at.Sub(now); !ok || got != want*time.Second {
			t.Fatalf("backoff after attempt %d is %v, want %v", item.Attempts, got, want*time.Second)
		}
		if q.Pop(at.Add(-1)) != nil {
			t.Fatal("popped before its backoff ended")
		}
		now = at
	}
}

// TestGroups: one event wakes all pods of a shape, in the order they came.
func TestGroups(t *testing.T) {
	q := New(plugins.All(), Options{})
	now := time.Unix(0, 0)
	for i := range 100 {
		q.Add(now, waiting(i), fmt.Sprint("shape ", i%2))
	}
	for range 100 {
		by := "NodeResourcesFit"
		item := q.Pop(now)
		if item.Shape == "shape 1" {
			by = "NodeAffinity"
		}
		q.Reject(now, item, []string{by})
	}
	gone := framework.Event{Kind: framework.PodGone, Pod: framework.NewPod(&v1.Pod{})}
	if woken := q.Event(now, gone); woken != 50 {
		t.Fatalf("the event woke %d pods, want the 50 that lacked room", woken)
	}
	for i := 0; i < 100; i += 2 {
		if item := q.Pop(now); item == nil || item.Pod.Name != fmt.Sprint(i) {
			t.Fatalf("popped %+v, want pod %d", item, i)
		}
	}
	if item := q.Pop(now); item != nil {
		t.Fatalf("popped %s, want nothing", item.Pod.Name)
	}
	if counts := q.Counts(); counts["unschedulable"] != 50 {
		t.Errorf("counts are %v, want 50 unschedulable", counts)
	}
	for i := 1; i < 100; i += 2 {
		q.Delete(types.UID(fmt.Sprint(i)))
	}
	if counts := q.Counts(); counts["unschedulable"] != 0 {
		t.Errorf("counts are %v after deleting all", counts)
	}
	if at, ok := q.Next(); ok {
		t.Errorf("the empty queue wants to be woken at %v", at)
	}
}
