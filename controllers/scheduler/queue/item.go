package queue

import (
	"strings"
	"time"

	"proa/controllers/scheduler/framework"
)

// Item is one waiting pod.
type Item struct {
	Pod *framework.Pending
	// Shape is the pod's class key; pods of one shape are rejected and helped alike.
	Shape string
	// Attempts counts how often the pod was popped.
	Attempts int
	// FirstAttempt is when it was popped first; zero before.
	FirstAttempt time.Time
	// RejectedBy names the plugins that rejected it last.
	RejectedBy []string

	since  time.Time // when it was added, or tried last
	number uint64    // order of since among equals
	failed bool      // the last attempt ended with an error, not a rejection
	place  place
	index  int // in its heap
}

type place uint8

const (
	inFlight place = iota
	inActive
	inBackoff
	inUnschedulable
	inGated
)

func (i *Item) group() string { return i.Shape + "\x00" + strings.Join(i.RejectedBy, "\x00") }

// readyAt is when the item's backoff ends: initial, doubled for every attempt after the first.
func (i *Item) readyAt(o Options) time.Time {
	if i.Attempts == 0 {
		return i.since
	}
	wait := o.InitialBackoff
	for n := 1; n < i.Attempts && wait < o.MaxBackoff; n++ {
		wait *= 2
	}
	return i.since.Add(min(wait, o.MaxBackoff))
}
