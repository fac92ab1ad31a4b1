package scheduler

import (
	"context"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/tools/events"
)

// eventWriters bounds the Events being written at a time: the library writes
// each in a goroutine of its own, and thousands of "Scheduled" would crowd out
// the bindings that they tell of.
const eventWriters = 8

// boundedSink lets only some writes through at a time.
type boundedSink struct {
	events.EventSink
	slots chan struct{}
}

func newBoundedSink(sink events.EventSink) boundedSink {
	return boundedSink{EventSink: sink, slots: make(chan struct{}, eventWriters)}
}

// enter waits for a slot; leave must be called if it returns nil.
func (s boundedSink) enter(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s boundedSink) leave() { <-s.slots }

// Create implements events.EventSink.
func (s boundedSink) Create(ctx context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	return s.EventSink.Create(ctx, event)
}

// Update implements events.EventSink.
func (s boundedSink) Update(ctx context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	return s.EventSink.Update(ctx, event)
}

// Patch implements events.EventSink.
func (s boundedSink) Patch(ctx context.Context, event *eventsv1.Event, data []byte) (*eventsv1.Event, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	return s.EventSink.Patch(ctx, event, data)
}
