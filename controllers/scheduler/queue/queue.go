package queue

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"proa/controllers/scheduler/framework"
)

// Options are the queue's times; zero values mean upstream's defaults.
type Options struct {
	InitialBackoff time.Duration // 1s
	MaxBackoff     time.Duration // 10s
	// FlushAfter is how long a rejected pod waits for an event that helps
	// before it is tried anyway: 5 minutes.
	FlushAfter time.Duration
}

// Queue orders waiting pods. It is not safe for concurrent use.
type Queue struct {
	options Options
	hints   map[string][]framework.EventHint

	active        *itemHeap // by priority, then by time
	backoff       *itemHeap // by end of backoff
	unschedulable map[string]*group
	items         map[types.UID]*Item // all but those popped
	numbers       uint64
	gated         int
	waiting       int       // unschedulable items
	flushAt       time.Time // no unschedulable item is to be flushed before; zero: there is none
}

// group holds rejected pods of one shape, rejected by the same plugins: one
// look at an event decides for all of them.
type group struct {
	items map[types.UID]*Item
	since time.Time           // not after the oldest item's
	kinds framework.EventKind // that any of the plugins names
}

// New returns an empty queue. The plugins tell which events help whom.
func New(plugins []framework.Weighted, options Options) *Queue {
	if options.InitialBackoff == 0 {
		options.InitialBackoff = time.Second
	}
	if options.MaxBackoff == 0 {
		options.MaxBackoff = 10 * time.Second
	}
	if options.FlushAfter == 0 {
		options.FlushAfter = 5 * time.Minute
	}
	q := &Queue{
		options: options, hints: map[string][]framework.EventHint{},
		unschedulable: map[string]*group{}, items: map[types.UID]*Item{},
	}
	for _, p := range plugins {
		q.hints[p.Name()] = p.Events()
	}
	q.active = &itemHeap{less: func(a, b *Item) bool {
		if a.Pod.Priority != b.Pod.Priority {
			return a.Pod.Priority > b.Pod.Priority
		}
		if !a.since.Equal(b.since) {
			return a.since.Before(b.since)
		}
		return a.number < b.number
	}}
	q.backoff = &itemHeap{less: func(a, b *Item) bool {
		x, y := a.readyAt(options), b.readyAt(options)
		if !x.Equal(y) {
			return x.Before(y)
		}
		return a.number < b.number
	}}
	return q
}

// Has reports whether the pod waits in the queue (and is not popped).
func (q *Queue) Has(uid types.UID) bool { return q.items[uid] != nil }

// Add puts a new pod in, or takes over the changes of one that waits already.
// Pods with scheduling gates wait until an update without them.
func (q *Queue) Add(now time.Time, pod *framework.Pending, shape string) {
	item := q.items[pod.UID]
	if item == nil {
		q.put(now, &Item{Pod: pod, Shape: shape}, q.entry(pod))
		return
	}
	was := item.place
	if was == inUnschedulable && item.Shape == shape && item.Pod.Equal(pod.Pod) {
		item.Pod = pod
		return
	}
	q.take(item)
	item.Pod, item.Shape = pod, shape
	switch {
	case len(pod.Object.Spec.SchedulingGates) > 0:
		q.keep(item, inGated)
	case was == inGated:
		q.keep(item, inActive)
	case was == inUnschedulable && q.helps(item, framework.Event{Kind: framework.PodSelf}):
		q.wake(now, item)
	default:
		q.keep(item, was)
	}
}

func (q *Queue) entry(pod *framework.Pending) place {
	if len(pod.Object.Spec.SchedulingGates) > 0 {
		return inGated
	}
	return inActive
}

// Delete forgets the pod.
func (q *Queue) Delete(uid types.UID) {
	if item := q.items[uid]; item != nil {
		q.take(item)
		delete(q.items, uid)
	}
}

// Pop returns the next pod to try, nil if none is ready. When no pod is ready,
// a rejected one does not have to sit out its backoff: the wait only exists so
// that it does not stand in the way of others (KEP-5142).
func (q *Queue) Pop(now time.Time) *Item {
	q.Tick(now)
	item := q.active.first()
	if item == nil {
		if item = q.backoff.first(); item == nil || item.failed {
			return nil
		}
	}
	q.take(item)
	delete(q.items, item.Pod.UID)
	item.place = inFlight
	item.Attempts++
	if item.FirstAttempt.IsZero() {
		item.FirstAttempt = now
	}
	return item
}

// Reject puts back a popped pod that no node can take; it waits for an event
// that one of the plugins which rejected it names.
func (q *Queue) Reject(now time.Time, item *Item, rejectedBy []string) {
	item.RejectedBy, item.failed = rejectedBy, false
	q.put(now, item, inUnschedulable)
}

// Fail puts back a popped pod after an error; it is tried again after its backoff.
func (q *Queue) Fail(now time.Time, item *Item) {
	item.RejectedBy, item.failed = nil, true
	q.put(now, item, inBackoff)
}

// Event wakes the rejected pods that the event may help, and returns their number.
func (q *Queue) Event(now time.Time, event framework.Event) int {
	woken := 0
	for key, g := range q.unschedulable {
		if g.kinds&event.Kind == 0 {
			continue
		}
		var sample *Item
		for _, sample = range g.items {
			break
		}
		if sample == nil || !q.helps(sample, event) {
			continue
		}
		delete(q.unschedulable, key)
		q.waiting -= len(g.items)
		woken += len(g.items)
		for _, item := range g.items {
			q.wake(now, item)
		}
	}
	return woken
}

// Tick moves pods whose time has come. Pop does it too.
func (q *Queue) Tick(now time.Time) {
	if !q.flushAt.IsZero() && !q.flushAt.After(now) {
		q.flush(now)
	}
	for item := q.backoff.first(); item != nil && !item.readyAt(q.options).After(now); item = q.backoff.first() {
		q.take(item)
		q.keep(item, inActive)
	}
}

// flush wakes the pods that no event has helped for long.
func (q *Queue) flush(now time.Time) {
	q.flushAt = time.Time{}
	for key, g := range q.unschedulable {
		oldest := now
		for uid, item := range g.items {
			if now.Sub(item.since) >= q.options.FlushAfter {
				delete(g.items, uid)
				q.waiting--
				q.wake(now, item)
			} else if item.since.Before(oldest) {
				oldest = item.since
			}
		}
		g.since = oldest
		if len(g.items) == 0 {
			delete(q.unschedulable, key)
			continue
		}
		q.flushBy(g.since)
	}
}

func (q *Queue) flushBy(since time.Time) {
	if t := since.Add(q.options.FlushAfter); q.flushAt.IsZero() || t.Before(q.flushAt) {
		q.flushAt = t
	}
}

// Next returns when Tick has something to do without any event; ok is false for never.
func (q *Queue) Next() (at time.Time, ok bool) {
	if item := q.backoff.first(); item != nil {
		at, ok = item.readyAt(q.options), true
	}
	if q.waiting > 0 && (!ok || q.flushAt.Before(at)) {
		at, ok = q.flushAt, true
	}
	return at, ok
}

// Counts returns the number of pods per part of the queue, by upstream's names.
func (q *Queue) Counts() map[string]int {
	return map[string]int{
		"active": q.active.Len(), "backoff": q.backoff.Len(),
		"unschedulable": q.waiting, "gated": q.gated,
	}
}

// helps reports whether the event may change the mind of a plugin that rejected the pod.
func (q *Queue) helps(item *Item, event framework.Event) bool {
	return slices.ContainsFunc(item.RejectedBy, func(name string) bool {
		return slices.ContainsFunc(q.hints[name], func(h framework.EventHint) bool {
			return h.Kind&event.Kind != 0 && (h.Helps == nil || event.Kind == framework.PodSelf || h.Helps(item.Pod, event))
		})
	})
}

// wake makes a rejected pod, which is in no part of the queue, ready, or lets it sit out its backoff.
func (q *Queue) wake(now time.Time, item *Item) {
	if item.readyAt(q.options).After(now) {
		q.keep(item, inBackoff)
	} else {
		q.keep(item, inActive)
	}
}

// put files the item at place from now on.
func (q *Queue) put(now time.Time, item *Item, at place) {
	q.numbers++
	item.since, item.number = now, q.numbers
	q.keep(item, at)
}

// keep files the item at place without changing its time.
func (q *Queue) keep(item *Item, at place) {
	item.place = at
	q.items[item.Pod.UID] = item
	switch at {
	case inActive:
		q.active.add(item)
	case inBackoff:
		q.backoff.add(item)
	case inGated:
		q.gated++
	case inUnschedulable:
		if q.waiting == 0 {
			q.flushAt = time.Time{}
		}
		key := item.group()
		g := q.unschedulable[key]
		if g == nil {
			g = &group{items: map[types.UID]*Item{}, since: item.since}
			for _, name := range item.RejectedBy {
				for _, h := range q.hints[name] {
					g.kinds |= h.Kind
				}
			}
			q.unschedulable[key] = g
		}
		if item.since.Before(g.since) {
			g.since = item.since
		}
		g.items[item.Pod.UID] = item
		q.waiting++
		q.flushBy(g.since)
	}
}

// take removes the item from its part of the queue.
func (q *Queue) take(item *Item) {
	switch item.place {
	case inActive:
		q.active.remove(item)
	case inBackoff:
		q.backoff.remove(item)
	case inGated:
		q.gated--
	case inUnschedulable:
		key := item.group()
		if g := q.unschedulable[key]; g != nil {
			if _, ok := g.items[item.Pod.UID]; ok {
				delete(g.items, item.Pod.UID)
				q.waiting--
			}
			if len(g.items) == 0 {
				delete(q.unschedulable, key)
			}
		}
	}
	item.place = inFlight
}
