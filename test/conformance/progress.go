package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// progress reads ginkgo's verbose output and prints a line for each test that
// ended. In that output a test is
//
//   - [FAILED] [5.123 seconds]
//     [sig-cli] Kubectl client … should … [sig-cli, Conformance]
//
// without the word where it passed.
type progress struct {
	out            io.Writer
	began          time.Time
	rest           []byte // of a line that is not complete
	verdict        string // of the test that the next line names
	passed, failed int
}

func newProgress(out io.Writer) *progress { return &progress{out: out, began: time.Now()} }

func (p *progress) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		p.line(string(line))
		p.rest = append(p.rest[:0], rest...)
	}
}

func (p *progress) line(line string) {
	if p.verdict != "" {
		name, _, _ := strings.Cut(line, " [Conformance]")
		if p.verdict == "passed" {
			p.passed++
		} else {
			p.failed++
		}
		fmt.Fprintf(p.out, "%6.0f s  %3d passed %3d failed  %s  %s\n", time.Since(p.began).Seconds(), p.passed, p.failed, p.verdict, name)
		p.verdict = ""
		return
	}
	end, ok := strings.CutPrefix(line, "• [")
	if !ok {
		return
	}
	p.verdict = "passed"
	if verdict, _, _ := strings.Cut(end, "]"); !strings.HasSuffix(verdict, " seconds") {
		p.verdict = verdict
	}
}
