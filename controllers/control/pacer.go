package control

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Pacer spaces the writes of objects that are computed from many others: the
// first change is written at once, those that follow it closely are collected.
// Without it a thousand pods that come up one by one would mean a thousand
// writes of an object with a thousand entries. Safe for concurrent use.
type Pacer struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	last map[types.NamespacedName]write
}

type write struct {
	at      time.Time
	entries int
}

// NewPacer returns a pacer.
func NewPacer(c clock.PassiveClock) *Pacer {
	return &Pacer{clock: c, last: map[types.NamespacedName]write{}}
}

// paced is the time between two writes of an object with n entries.
func paced(n int) time.Duration {
	if n <= 10 {
		return 0
	}
	return min(time.Duration(n)*2*time.Millisecond, time.Second)
}

// Due returns how long to put the next write off, and with it the reading of
// what it is computed from; 0 means write now. Small objects are never put off.
func (p *Pacer) Due(key types.NamespacedName) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.last[key]
	if !ok {
		return 0
	}
	return max(0, paced(w.entries)-p.clock.Since(w.at))
}

// Note says that the object is written now, with n entries.
func (p *Pacer) Note(key types.NamespacedName, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[key] = write{p.clock.Now(), n}
}

// Forget drops an object that is gone.
func (p *Pacer) Forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, key)
}
