package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Component is one part of proa that runs until told to stop.
type Component interface {
	// Name is how steps and errors call it.
	Name() string
	// Run blocks until ctx ends and then returns nil; any earlier return stops proa.
	Run(ctx context.Context) error
}

// readier is a component that needs time before others may build on it.
type readier interface{ Ready() <-chan struct{} }

// Step makes one component when its turn comes, from what earlier ones offer.
type Step struct {
	Name string
	// Start builds the component; nil with a nil error leaves the step out.
	Start func(ctx context.Context) (Component, error)
	// Background lets the next step start before this one is ready; only the end
	// of the start waits for it.
	Background bool
}

// Runner starts steps in order, each ready before the next, and stops them in reverse.
type Runner struct {
	// Report is called when a step is ready, with the time it took.
	Report func(name string, took time.Duration)
	Now    func() time.Time
}

type running struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// waiting is a background step whose readiness is still awaited.
type waiting struct {
	name  string
	begin time.Time
	ready <-chan struct{}
}

// Run returns when ctx ends (nil), or when a step fails or returns early (its
// error). started is called once all steps are ready.
func (r Runner) Run(ctx context.Context, steps []Step, started func()) error {
	var up []*running
	failed := make(chan *running, len(steps))
	var pending []waiting
	stopAll := func() error {
		var errs []error
		for i := len(up) - 1; i >= 0; i-- {
			up[i].stop()
			<-up[i].done
			if up[i].err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", up[i].name, up[i].err))
			}
		}
		return errors.Join(errs...)
	}
	for _, s := range steps {
		begin := r.Now()
		// Components outlive ctx: they stop in order, not all at once.
		stepCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		c, err := s.Start(stepCtx)
		if err != nil || c == nil {
			stop()
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", s.Name, err), stopAll())
			}
			continue
		}
		run := &running{name: s.Name, stop: stop, done: make(chan struct{})}
		up = append(up, run)
		go func() {
			run.err = c.Run(stepCtx)
			early := stepCtx.Err() == nil
			if early && run.err == nil {
				run.err = errors.New("stopped by itself")
			}
			close(run.done)
			if early {
				failed <- run
			}
		}()
		w, waits := c.(readier)
		if waits && s.Background {
			pending = append(pending, waiting{s.Name, begin, w.Ready()})
			continue
		}
		if waits {
			select {
			case <-w.Ready():
			case <-failed:
				return stopAll()
			case <-ctx.Done():
				return stopAll()
			}
		}
		r.Report(s.Name, r.Now().Sub(begin))
	}
	for _, p := range pending {
		select {
		case <-p.ready:
			r.Report(p.name, r.Now().Sub(p.begin))
		case <-failed:
			return stopAll()
		case <-ctx.Done():
			return stopAll()
		}
	}
	if started != nil {
		started()
	}
	select {
	case <-ctx.Done():
	case <-failed:
	}
	return stopAll()
}

// reportTo prints a line per step.
func reportTo(w io.Writer) func(string, time.Duration) {
	return func(name string, took time.Duration) {
		fmt.Fprintf(w, "  %-16s ready in %6d ms\n", name, took.Milliseconds())
	}
}
