package main

import (
	"context"
	"errors"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
)

func TestRenewalRenewsWhenDueAndTriesAgain(t *testing.T) {
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := testingclock.NewFakeClock(begin)
	due := begin.Add(48 * time.Hour)
	renewed := make(chan time.Time)
	failures := 1
	r := renewal{clock: clock, next: func() time.Time { return due }, renew: func() error {
		if failures > 0 {
			failures--
			renewed <- clock.Now()
			return errors.New("the disk is full")
		}
		due = due.Add(365 * 24 * time.Hour)
		renewed <- clock.Now()
		return nil
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for _, want := range []time.Duration{48 * time.Hour, 49 * time.Hour} {
		for !clock.HasWaiters() {
			select {
			case err := <-done:
				t.Fatalf("ended early: %v", err)
			case <-time.After(time.Millisecond):
			}
		}
		clock.SetTime(begin.Add(want))
		if at := <-renewed; !at.Equal(begin.Add(want)) {
			t.Errorf("renewed at %v, want %v", at, begin.Add(want))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
