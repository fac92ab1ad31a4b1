package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// part is a component of the lifecycle tests; it notes what happens to it.
type part struct {
	name  string
	log   *transcript
	ready chan struct{}
	fail  chan error
}

func (p *part) Name() string           { return p.name }
func (p *part) Ready() <-chan struct{} { return p.ready }
func (p *part) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		p.log.note("stop " + p.name)
		return nil
	case err := <-p.fail:
		return err
	}
}

type transcript struct {
	mu    sync.Mutex
	lines []string
}

func (t *transcript) note(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, ", ")
}

func lifecycle(log *transcript, names ...string) ([]Step, map[string]*part) {
	parts := map[string]*part{}
	var steps []Step
	for _, name := range names {
		p := &part{name: name, log: log, ready: make(chan struct{}), fail: make(chan error, 1)}
		parts[name] = p
		steps = append(steps, Step{Name: name, Start: func(context.Context) (Component, error) { return p, nil }})
	}
	return steps, parts
}

func runner(log *transcript) Runner {
	return Runner{Now: time.Now, Report: func(name string, _ time.Duration) { log.note("ready " + name) }}
}

func TestRunnerStartsInOrderAndStopsInReverse(t *testing.T) {
	log := &transcript{}
	steps, parts := lifecycle(log, "a", "b", "c")
	steps[0].Background = true
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- runner(log).Run(ctx, steps, func() { log.note("started"); cancel() }) }()
	close(parts["b"].ready)
	close(parts["c"].ready)
	close(parts["a"].ready)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := log.String()
	for _, want := range []string{"ready b, ", "ready c, ready a, started, stop c, stop b, stop a"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

func TestRunnerTreatsAnEarlyEndAsFatal(t *testing.T) {
	for _, failure := range []error{nil, errors.New("broken")} {
		t.Run(fmt.Sprint(failure), func(t *testing.T) {
			log := &transcript{}
			steps, parts := lifecycle(log, "a", "b")
			close(parts["a"].ready)
			parts["b"].fail <- failure
			err := runner(log).Run(context.Background(), steps, nil)
			if err == nil || !strings.HasPrefix(err.Error(), "b: ") {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(log.String(), "stop a") {
				t.Errorf("a was not stopped: %s", log)
			}
		})
	}
}

func TestRunnerStopsWhatRunsWhenAStepCannotStart(t *testing.T) {
	log := &transcript{}
	steps, parts := lifecycle(log, "a")
	close(parts["a"].ready)
	steps = append(steps, Step{Name: "b", Start: func(context.Context) (Component, error) { return nil, errors.New("no root") }})
	err := runner(log).Run(context.Background(), steps, nil)
	if err == nil || err.Error() != "b: no root" {
		t.Errorf("error %v", err)
	}
	if !strings.HasSuffix(log.String(), "stop a") {
		t.Errorf("a was not stopped: %s", log)
	}
}
