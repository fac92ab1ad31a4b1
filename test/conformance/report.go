package main

import (
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// results are the outcomes of the conformance tests by name.
type results map[string]outcome

// outcome is what became of a test; one that was filtered out has none.
type outcome string

const (
	passed    outcome = "passed"
	failed    outcome = "failed"
	skipped   outcome = "skipped" // by the test itself
	unchecked outcome = ""
)

// readJUnit reads a report of ginkgo's, which lists all tests of the suite,
// those filtered out as skipped without a reason.
func readJUnit(file string) (results, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Status  string `xml:"status,attr"`
				Skipped *struct {
					Message string `xml:"message,attr"`
				} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(content, &report); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	r := results{}
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			if !strings.Contains(c.Name, "[Conformance]") {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(c.Name, "[It] "), " [Conformance]")
			switch c.Status {
			case "passed":
				r[name] = passed
			case "skipped", "pending":
				r[name] = unchecked
				if c.Skipped != nil && strings.HasPrefix(c.Skipped.Message, "skipped - ") {
					r[name] = skipped
				}
			default: // failed, timedout, panicked, interrupted, aborted
				r[name] = failed
			}
		}
	}
	return r, nil
}

// merge takes over the outcomes of a later run.
func (r *results) merge(later results) {
	if *r == nil {
		*r = results{}
	}
	for name, o := range later {
		if _, known := (*r)[name]; !known || o != unchecked {
			(*r)[name] = o
		}
	}
}

var area = regexp.MustCompile(`^\[(sig-[a-z-]+)\] `)

// table is the results by area, in Markdown, with the names of what failed.
func (r results) table() string {
	type row struct{ passed, failed, skipped, of int }
	rows := map[string]*row{}
	var all row
	var failures []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		key := "other"
		if m := area.FindStringSubmatch(name); m != nil {
			key = m[1]
		}
		if rows[key] == nil {
			rows[key] = &row{}
		}
		for _, row := range []*row{rows[key], &all} {
			row.of++
			switch r[name] {
			case passed:
				row.passed++
			case failed:
				row.failed++
			case skipped:
				row.skipped++
			}
		}
		if r[name] == failed {
			failures = append(failures, name)
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, "| area | passed | failed | skipped | not run | of |")
	fmt.Fprintln(&b, "|---|--:|--:|--:|--:|--:|")
	line := func(name string, r row) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", name, r.passed, r.failed, r.skipped, r.of-r.passed-r.failed-r.skipped, r.of)
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		line(key, *rows[key])
	}
	line("all", all)
	if len(failures) > 0 {
		fmt.Fprint(&b, "\nFailed:\n\n")
		for _, name := range failures {
			fmt.Fprintf(&b, "- %s\n", name)
		}
	}
	return b.String()
}
