package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// progress receives what the suite's processes post (the framework's
// --progress-report-url) and prints a line for each test that ended. Each
// process counts for itself, so the sums are made here.
type progress struct {
	mu             sync.Mutex
	out            io.Writer
	began          time.Time
	passed, failed int
}

func newProgress(out io.Writer) *progress { return &progress{out: out, began: time.Now()} }

func (p *progress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var update struct {
		Message string `json:"msg"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&update); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case strings.HasPrefix(update.Message, "PASSED "):
		p.passed++
	case strings.HasPrefix(update.Message, "FAILED "):
		p.failed++
	default:
		return
	}
	fmt.Fprintf(p.out, "%6.0f s  %3d passed %3d failed  %s\n", time.Since(p.began).Seconds(), p.passed, p.failed, update.Message)
}
