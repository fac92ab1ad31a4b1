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
	last map[types.NamespacedName]time.Time
}

// NewPacer returns a pacer.
func NewPacer(c clock.PassiveClock) *Pacer {
	return &Pacer{clock: c, last: map[types.NamespacedName]time.Time{}}
}

// paced is the time between two writes of an object with n entries.
func paced(n int) time.Duration {
	if n <= 10 {
		return 0
	}
	return min(time.Duration(n)*2*time.Millisecond, time.Second)
}

// Wait returns how long to put a write of an object with n entries off; 0 means
// write now, and that is noted. Small objects are never put off for long.
func (p *Pacer) Wait(key types.NamespacedName, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if last, ok := p.last[key]; ok {
		if wait := paced(n) - now.Sub(last); wait > 0 {
			return wait
		}
	}
	p.last[key] = now
	return 0
}

// Forget drops an object that is gone.
func (p *Pacer) Forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, key)
}
