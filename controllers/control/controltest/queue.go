package controltest

import (
	"sort"
	"time"

	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Queue is a workqueue of requests under the fake clock. One request is queued
// at most once; the earliest time counts.
type Queue struct {
	clock *clocktesting.FakeClock
	items []item
	seq   int
}

type item struct {
	req reconcile.Request
	at  time.Time
	seq int
}

var _ workqueue.TypedRateLimitingInterface[reconcile.Request] = &Queue{}

// Add queues the request for now.
func (q *Queue) Add(req reconcile.Request) { q.AddAfter(req, 0) }

// AddAfter queues the request for later.
func (q *Queue) AddAfter(req reconcile.Request, d time.Duration) {
	at := q.clock.Now().Add(d)
	for i := range q.items {
		if q.items[i].req == req {
			if at.Before(q.items[i].at) {
				q.items[i].at = at
			}
			return
		}
	}
	q.seq++
	q.items = append(q.items, item{req, at, q.seq})
}

// AddRateLimited queues the request in a second.
func (q *Queue) AddRateLimited(req reconcile.Request) { q.AddAfter(req, time.Second) }

// Waiting returns how long until the next request is due, or -1.
func (q *Queue) Waiting() time.Duration {
	if len(q.items) == 0 {
		return -1
	}
	q.sort()
	return q.items[0].at.Sub(q.clock.Now())
}

func (q *Queue) sort() {
	sort.SliceStable(q.items, func(i, j int) bool {
		if q.items[i].at.Equal(q.items[j].at) {
			return q.items[i].seq < q.items[j].seq
		}
		return q.items[i].at.Before(q.items[j].at)
	})
}

func (q *Queue) next() (reconcile.Request, bool) {
	q.sort()
	if len(q.items) == 0 || q.items[0].at.After(q.clock.Now()) {
		return reconcile.Request{}, false
	}
	req := q.items[0].req
	q.items = q.items[1:]
	return req, true
}

// Len is the number of requests queued.
func (q *Queue) Len() int { return len(q.items) }

// Get is not used: World.Run takes requests itself.
func (q *Queue) Get() (reconcile.Request, bool) { r, ok := q.next(); return r, !ok }

// Done does nothing.
func (q *Queue) Done(reconcile.Request) {}

// Forget does nothing.
func (q *Queue) Forget(reconcile.Request) {}

// NumRequeues is always 0.
func (q *Queue) NumRequeues(reconcile.Request) int { return 0 }

// ShutDown does nothing.
func (q *Queue) ShutDown() {}

// ShutDownWithDrain does nothing.
func (q *Queue) ShutDownWithDrain() {}

// ShuttingDown is always false.
func (q *Queue) ShuttingDown() bool { return false }
