package control

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// ExpectationsTimeout is how long a controller waits to see what it did come
// back through the cache before it acts again regardless.
const ExpectationsTimeout = 5 * time.Minute

// Expectations remembers, per owner, how many of its creations and which of
// its deletions the cache has not shown yet. A controller that counts pods in
// the cache must not act while an expectation is open, or it would create or
// delete the same pod twice. Safe for concurrent use.
type Expectations struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	open map[types.NamespacedName]*expectation
}

type expectation struct {
	creations int
	deletions map[types.UID]struct{}
	since     time.Time
}

// NewExpectations returns an empty set.
func NewExpectations(c clock.PassiveClock) *Expectations {
	return &Expectations{clock: c, open: map[types.NamespacedName]*expectation{}}
}

func (e *Expectations) get(owner types.NamespacedName) *expectation {
	x := e.open[owner]
	if x == nil {
		x = &expectation{deletions: map[types.UID]struct{}{}}
		e.open[owner] = x
	}
	x.since = e.clock.Now()
	return x
}

// ExpectCreations adds n creations that the owner is about to make.
func (e *Expectations) ExpectCreations(owner types.NamespacedName, n int) {
	if n <= 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.get(owner).creations += n
}

// ExpectDeletions adds the objects that the owner is about to delete.
func (e *Expectations) ExpectDeletions(owner types.NamespacedName, uids ...types.UID) {
	if len(uids) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.get(owner)
	for _, uid := range uids {
		x.deletions[uid] = struct{}{}
	}
}

// CreationObserved closes one creation: it was seen in the cache, or failed.
func (e *Expectations) CreationObserved(owner types.NamespacedName) { e.CreationsObserved(owner, 1) }

// CreationsObserved closes n creations.
func (e *Expectations) CreationsObserved(owner types.NamespacedName, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.open[owner]; x != nil {
		x.creations = max(0, x.creations-n)
		e.forgetIfMet(owner, x)
	}
}

// DeletionObserved closes the deletion of uid; one that was not expected is ignored.
func (e *Expectations) DeletionObserved(owner types.NamespacedName, uid types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.open[owner]; x != nil {
		delete(x.deletions, uid)
		e.forgetIfMet(owner, x)
	}
}

func (e *Expectations) forgetIfMet(owner types.NamespacedName, x *expectation) {
	if x.creations == 0 && len(x.deletions) == 0 {
		delete(e.open, owner)
	}
}

// Satisfied reports whether the owner may act. If not, wait is how long until
// the expectation times out, so that a lost event cannot stop an owner for
// ever.
func (e *Expectations) Satisfied(owner types.NamespacedName) (ok bool, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.open[owner]
	if x == nil {
		return true, 0
	}
	wait = x.since.Add(ExpectationsTimeout).Sub(e.clock.Now())
	if wait <= 0 {
		delete(e.open, owner)
		return true, 0
	}
	return false, wait
}

// Forget drops what is expected for an owner that is gone.
func (e *Expectations) Forget(owner types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, owner)
}
